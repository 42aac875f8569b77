"""The page: safe whatever the data hold, self-contained, small, and true to the report."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest
from figure_samples import HOSTILE
from report_samples import ATTACK, Model, estimate, sample_report

from rmaudit.plots import visible
from rmaudit.report.document import Report
from rmaudit.report.marks import interval_plot, marked
from rmaudit.report.page import PAGE_BYTES, render, summary
from rmaudit.report.schema import MetricRecord
from rmaudit.report.verdict import verdict
from rmaudit.report.wording import digits, minus, number, slice_words, words
from rmaudit.results import OTHER_KIND, AuditResult, Estimate, Figure, Finding, Metric

VOID = {"meta", "link", "br", "wbr", "hr", "img", "input", "path", "use", "rect", "circle"}


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser's tokeniser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


@pytest.fixture(scope="module")
def text(report: Report) -> str:
    return render(report)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_page_is_well_formed(text: str, page: Page) -> None:
    assert text.startswith("<!doctype html>")
    assert page.faults == []
    assert page.open == []
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] or "" for tag, a in page.tags if tag == "a"]
    assert {h[1:] for h in links if h.startswith("#")} <= set(ids)
    assert all(h.startswith(("#", "https://arxiv.org/abs/")) for h in links)


def test_untrusted_text_is_text(text: str, page: Page) -> None:
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [tag for tag, _ in page.tags if tag in ("img", "iframe", "object", "b", "i", "form")]
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
    for untrusted in (ATTACK, HOSTILE, Model.name, "data/<i>prefs</i>\u202e.jsonl"):
        assert visible(untrusted) in page.text, untrusted
    assert "{{ 7*7 }}" in page.text
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]", text)


def test_only_the_own_script_may_run_and_nothing_is_fetched(text: str, page: Page) -> None:
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script.group(1).encode()).digest()).decode()
    policy = next(a["content"] for _, a in page.tags if "http-equiv" in a)
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"@import|url\((?!#)", text)
    assert not [
        t for t, a in page.tags if t == "link" or (t != "a" and "http" in str(a.get("href")))
    ]
    own = (files("rmaudit.report") / "templates" / "page.js").read_text()
    assert len(own.splitlines()) < 200


def test_the_first_screen_answers_the_question(report: Report, text: str) -> None:
    first = text.split('<section id="findings"')[0]
    assert "Can I optimise against this model?" in first
    assert "Not as it stands." in first
    for id_ in ("preference.accuracy", "calibration.overconfidence", "length.excess_preference"):
        assert id_ in first.replace("<wbr>", "")
    assert "69.1% to 73.3%" in first
    assert all(audit.title in first for audit in report.audits.values())


def test_every_number_finding_and_gap_is_on_the_page(report: Report, page: Page) -> None:
    for metric in report.metrics():
        assert metric.id in page.text
        assert words(metric).value in page.text
    for finding in report.findings:
        assert visible(finding.title) in page.text
        assert visible(finding.detail) in page.text
    assert "undefined: the mean margin is not positive" in page.text
    assert "needs --samples: k outputs a prompt from the policy" in page.text
    assert "style matrix: needs a column style" in page.text
    assert "reward not finite" in page.text
    assert "1,010 read = 1,000 used + 10 set aside" in page.text


def test_figures_can_be_read_aloud(report: Report, page: Page) -> None:
    named = [a["aria-label"] for tag, a in page.tags if tag == "svg" and a.get("role") == "img"]
    assert named == [f"{f.title}. {f.alt}" for a in report.audits.values() for f in a.figures]


def test_the_page_of_a_loaded_report_is_the_same(report: Report, text: str, tmp_path: Path) -> None:
    report.save(tmp_path)
    assert (tmp_path / "report.html").read_text() == text
    assert render(Report.load(tmp_path)) == text


def test_a_page_of_long_texts_stays_under_a_megabyte() -> None:
    row = {"id": "a", "prompt": "漢" * 30_000, "chosen": "x" * 30_000, "rejected": "y" * 30_000}
    findings = tuple(
        Finding("low", "length", "length.padding_effect", f"f{i}", "d", (row,) * 5)
        for i in range(40)
    )
    page = render(sample_report([AuditResult("length", findings=findings)]))
    assert len(page.encode()) < PAGE_BYTES
    assert "more characters in report.json" in page


def test_a_figure_that_cannot_be_drawn_costs_its_place_only(tmp_path: Path) -> None:
    figure = Figure("f", "bars", "t", "what it would show", {"labels": ["a"]})
    sample_report([AuditResult("length", figures=(figure,))]).save(tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert "This figure could not be drawn" in text
    assert "what it would show" in text
    assert not (tmp_path / "figures").exists()


def test_words_that_differ_are_marked_and_escaped() -> None:
    shown = marked("the <b>cat</b> sat here", "the dog sat here")
    assert shown == "the <mark>&lt;b&gt;cat&lt;/b&gt;</mark> sat here"
    assert marked("one two three", "quite other words") == "one two three"


def test_audits_for_other_rewards_do_not_push_what_could_be_measured_off_the_screen() -> None:
    other = AuditResult("tails", "not_run", f"{OTHER_KIND}: it gives logits")
    lacking = AuditResult("annotators", "not_run", "needs a column annotator_votes")
    text = render(sample_report([lacking, other]))
    fold = text.index("One audit is for another kind of reward")
    assert text.index('id="audit-annotators"') < fold < text.index('id="audit-tails"')
    assert "for another kind" not in render(sample_report([lacking]))


def test_where_a_text_is_cut_is_no_difference() -> None:
    cut = marked("the cat sat on the mat", "the dog sat on the mat", 11)
    assert cut == "the <mark>cat</mark> sat … (11 more characters in report.json)"
    assert marked("same words here", "same words here and more of them", 100) == "same words here"


def test_a_page_that_would_be_too_large_shows_fewer_examples_not_scraps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = " ".join(f"word{i}" for i in range(100))  # 790 characters
    row = {"id": "r", "prompt": "p", "chosen": words, "rejected": "other"}
    finding = Finding("high", "length", "length.padding_effect", "t", "d", (row,) * 5)
    report = sample_report([AuditResult("length", findings=(finding,))])
    whole = render(report)
    assert whole.count("word99") == 5
    monkeypatch.setattr("rmaudit.report.page.PAGE_BYTES", len(whole.encode()))
    less = render(report)
    assert less.count("word99") == 3
    assert "3 of 5 examples; all are in report.json" in less


def test_an_interval_is_drawn_to_scale() -> None:
    record = sample_report().metric("preference.accuracy")
    at = {"value": 0.5, "ci": (0.25, 0.75)}
    svg = str(interval_plot(record.model_copy(update=at)))
    # A share is drawn from 0 to 1 on 5 ... 127: a quarter is 35.5, a half is 66.
    assert all(part in svg for part in ('d="M35.5 8H96.5"', 'cx="66.0"', 'd="M66.0 1V15"'))
    assert interval_plot(record.model_copy(update={"value": None, "ci": (None, None)})) == ""


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.62134, 0.60134, 0.64134, "0.621"),  # half-width 0.020: three decimals
        (0.62134, 0.42, 0.82, "0.62"),
        (12.3456, 9.0, 15.0, "12.3"),
        (1234.5, 1000.0, 1500.0, "1,234"),
        (-0.5, -0.7, -0.3, "\u22120.50"),
        (-0.0001, -0.04, 0.04, "0.000"),  # not minus zero
        (3.1e-6, 3.0e-6, 3.2e-6, "3.1e\u221206"),
        (2.0, None, None, "2"),
        (0.012345, None, None, "0.0123"),
        (0.0, 0.0, 0.0, "0"),
    ],
)
def test_numbers_show_the_digits_that_mean_something(
    value: float, low: float | None, high: float | None, shown: str
) -> None:
    assert number(value, digits(value, low, high)) == shown


def test_an_audit_whose_numbers_are_all_undefined_is_not_without_finding() -> None:
    known, unknown = estimate(0.5, 0.02), Estimate.undefined("all rewards are NaN")
    for value, state in ((known, "no finding"), (unknown, "undefined")):
        results = [AuditResult("preference", metrics=(Metric("preference.accuracy", value),))]
        contents = render(sample_report(results)).partition("</nav>")[0]
        assert f'</a> <span class="clear">{state}</span>' in contents


def test_what_another_kind_of_reward_needs_is_nothing_to_do() -> None:
    for reason, told in (
        (f"{OTHER_KIND} logit; this one is of kind preference", False),
        ("needs --samples", True),
    ):
        results = [AuditResult("overoptimization", "not_run", reason)]
        actions = verdict(sample_report(results)).actions
        assert any("how hard" in action for action in actions) == told


def test_intervals_in_words() -> None:
    record = sample_report().metric("preference.accuracy")

    def interval(low: float | None, high: float | None) -> str:
        changed: MetricRecord = record.model_copy(update={"value": 0.5, "ci": (low, high)})
        return words(changed).interval

    assert interval(0.48, 0.52) == "48.0% to 52.0%"
    assert interval(0.4, None) == "40.0% to unbounded"
    assert interval(None, None) == ""
    assert interval(0.5, 0.5) == "50.0% to 50.0%"  # an estimate whose prompts are all alike
    record = record.model_copy(update={"method": "exact"})
    assert interval(0.5, 0.5) == "exact"
    record = record.model_copy(update={"method": "AR(1); one-sided bound of the turn"})
    assert interval(0.5, 0.5) == "lower bound"
    assert words(record).n == "1,000 in 240 prompts"


def test_an_auroc_is_no_percentage() -> None:
    record = sample_report().metric("preference.accuracy")
    area = {"id": "coverage.shift_auroc", "value": 0.5, "ci": (0.46, 0.53)}
    shown = words(record.model_copy(update=area))
    assert (shown.value, shown.interval) == ("0.500", "0.460 to 0.530")


def _luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_meet_the_contrast_of_wcag_aa(theme: int) -> None:
    css = (files("rmaudit.report") / "templates" / "page.css").read_text()
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[theme]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))

    def contrast(a: str, b: str) -> float:
        light, dark = sorted((_luminance(colors[a]), _luminance(colors[b])), reverse=True)
        return (light + 0.05) / (dark + 0.05)

    for name in ("ink", "muted", "link", "high", "medium", "low", "info"):
        for ground in ("surface", "soft"):
            assert contrast(name, ground) >= 4.5, (name, ground)
    for name in ("high", "medium", "low", "info"):
        assert contrast(name, f"{name}-soft") >= 4.5, name
    for i in range(1, 7):
        assert contrast(f"series-{i}", "surface") >= 3.0, i


def test_a_notebook_shows_the_first_screen(report: Report) -> None:
    shown = report._repr_html_()
    assert shown == summary(report)
    parsed = Page(shown)
    assert parsed.faults == []
    assert "Not as it stands." in shown
    assert "<script" not in shown


def test_sentences_have_a_true_minus_before_numbers_alone() -> None:
    said = "The lead is -3.4 (-5.1 to -0.2), [-1, 2] at -0; p=-1"
    assert minus(said) == said.replace("-", "\u2212")
    for kept in (
        "3-5 of 2026-11-29",
        "GPT-4",
        "--limit 5",
        "mpt-7b",
        "a - 3",
        "x-1",
        "-x",
        'says "-3 or -4"',
        "says '-3'",
    ):
        assert minus(kept) == kept


def test_counts_are_whole_and_our_own_names_are_words() -> None:
    record = MetricRecord(
        id="coverage.holes",
        value=1.0,
        ci=(0.0, 1.0),
        confidence=0.95,
        n=9,
        n_prompts=9,
        unit="count",
        better="zero",
        slice={},
        method="m",
        reason=None,
    )
    assert (words(record).value, words(record).interval, words(record).unit) == ("1", "0 to 1", "")
    assert slice_words({"attribute": "code_blocks"}) == "code blocks"
    assert slice_words({"subset": "code_blocks"}) == "code_blocks"  # a name of the data's own


def test_heads_of_a_table_stand_as_their_numbers_do_and_sentences_get_room() -> None:
    frame = pd.DataFrame(
        {
            "share_of_outputs": [0.5, None],
            "flag": [True, False],
            "note": ["the attribute does not vary within a prompt", None],
            "id": ["a" * 60, "b"],
            "reason": ["few", None],
            "remark": ["", ""],  # of words, and no row has one
        }
    )
    audit = AuditResult("coverage", tables={"ledger": frame})
    shown = render(sample_report([audit]))
    start = shown.index('id="table-coverage-ledger"')
    table = shown[start : shown.index("</table>", start)]
    assert "Table <bdi>coverage</bdi>: 2 rows" in table
    assert '<th scope="col" class="right"><bdi>share of responses</bdi></th>' in table
    assert '<th scope="col" class="prose"><bdi>note</bdi></th>' in table
    assert "remark" not in table
    for plain in ("flag", "id", "reason"):
        assert f'<th scope="col"><bdi>{plain}</bdi></th>' in table
    # A missing number stands among numbers, a missing text among texts.
    assert table.count('<td class="right">') == 2
    assert table.count("<td>\u2013</td>") == 2


def test_what_was_not_measured_is_said_once() -> None:
    report = sample_report([AuditResult("tails", "not_run", "needs samples")])
    config = {**report.record.config, "only": ["tails"]}
    record = report.record.model_copy(update={"config": config})
    said = " ".join(verdict(Report(record)).sentences)
    assert said.count("is not known to be safe") == 1
    assert "1 of 1 audits" in said
    assert "One audit was asked for" in said
