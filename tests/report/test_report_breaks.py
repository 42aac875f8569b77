"""Long ids go on in the next line between the parts of a name, and nowhere else."""

from __future__ import annotations

import re

import pytest

from rmaudit.report.breaks import breakable
from rmaudit.report.page import render


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("length.excess_preference", ["length.", "excess_", "preference"]),
        ("/home/someone/models/reward-v2.1", ["/home/", "someone/", "models/", "reward-v2.1"]),
        ("http://host:8000/classify_all", ["http://", "host:8000/", "classify_", "all"]),
        ("BoN_set/Harmlessness/S2", ["BoN_", "set/", "Harmlessness/", "S2"]),
        ("supercalifragilisticexpialidocious", ["supercalifragilisticexpialidocious"]),
        ("1,234,567.891234567", ["1,234,567.891234567"]),  # a number stays whole
        ("a.short_id", ["a.short_id"]),  # fits anywhere
        ("&lt;script&gt;alert(1)&lt;/script&gt;", None),
    ],
)
def test_places_to_break(text: str, parts: list[str] | None) -> None:
    page = breakable(f"<p>{text}</p>")
    assert page.replace("<wbr>", "") == f"<p>{text}</p>"
    if parts is not None:
        assert page.removeprefix("<p>").removesuffix("</p>").split("<wbr>") == parts
    for entity in re.findall(r"&[^;]*;", page):
        assert "<" not in entity


def test_an_option_of_a_command_stays_whole() -> None:
    whole = '<span class="option">{}</span>'.format
    for option in ("--eval", "--model-revision"):
        assert breakable(f"<p>in ({option})</p>") == f"<p>in ({whole(option)})</p>"
    # A dash, a table's rule, a sign within a word, and one that fits no column.
    for text in ("so -- he said", "|---|---|", "a--b", "--" + "x" * 40, "--Upper"):
        assert breakable(f"<p>{text}</p>") == f"<p>{text}</p>"
    assert breakable('<a href="--eval">') == '<a href="--eval">'


def test_only_running_text_is_changed() -> None:
    name = "length.excess_preference.of_all"
    kept = (
        f'<title>{name}</title><style>a{{b:url({name})}}</style><script>x="{name}<3"</script>'
        f'<svg><text>{name}</text></svg><option>{name}</option><a href="#{name}" id="{name}">'
    )
    assert breakable(kept) == kept
    assert breakable(f"{kept}{name}</a>") != f"{kept}{name}</a>"


def test_every_long_id_of_a_page_can_be_broken() -> None:
    from report_samples import sample_report

    page = re.sub(r"<(script|style|svg|title)\b.*?</\1>", "", render(sample_report()), flags=re.S)
    ids = re.findall(r"<code[^>]*>([^<]*(?:<wbr>[^<]*)*)</code>", page)
    long = [id_ for id_ in ids if len(id_) > 24 and "_" in id_.strip("_")]
    assert long
    assert all("<wbr>" in id_ for id_ in long)
