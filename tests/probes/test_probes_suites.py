"""Suites: the shipped ones are sound; what is wrong with another is said in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import PluginError, SchemaError
from rmaudit.probes import load_suites
from rmaudit.probes.files import ITEMS_BYTES, YAML_BYTES
from rmaudit.probes.loading import load_suite
from rmaudit.probes.transforms import transforms

GOOD = """\
schema_version: 1
name: mine
version: 1
title: Mine
question: Is it moved?
kind: invariance
licence: CC0-1.0
sources: [own]
probes:
  - {name: caps, meaning: capitals, transform: upper_case, expected: same}
"""
CONTRAST = """\
schema_version: 1
name: mine
version: 1
title: Mine
question: Is it moved?
kind: contrast
licence: CC0-1.0
sources: [own]
items: items.jsonl
contrasts:
  - {name: tone, meaning: a tone, expected: not_lower}
"""


def item(**changes: Any) -> dict[str, Any]:
    row = {"probe": "tone", "item": "a", "prompt": "p", "neutral_prompt": "q"}
    return {**row, "better": "b", "worse": "w", **changes}


def written(folder: Path, text: str, items: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "suite.yaml").write_text(text)
    if items is not None:
        (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    return folder


def test_the_shipped_suites_are_complete() -> None:
    suites = load_suites()
    assert {"surface", "boilerplate", "damage", "sycophancy"} <= {suite.name for suite in suites}
    for suite in suites:
        assert suite.datasheet.startswith(f"# Data sheet: {suite.name}\n"), suite.name
        assert suite.file.licence == "Apache-2.0"
        for item in suite.items:
            assert item.better != item.worse
            assert item.prompt != item.neutral_prompt
        for contrast in suite.file.contrasts:
            names = [item.item for item in suite.items_of(contrast)]
            assert len(names) == len(set(names)) >= 8  # each a cluster of its own
    used = {probe.transform for suite in suites for probe in suite.file.probes}
    assert len(used) >= 15
    assert used <= set(transforms())


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    rows = [item(), item(item="b")]
    first = load_suite(written(tmp_path / "a", CONTRAST, rows))
    assert [row.item for row in first.items] == ["a", "b"]
    again = load_suite(written(tmp_path / "b", CONTRAST, rows))
    other = load_suite(written(tmp_path / "c", CONTRAST, [item(), item(item="b", better="c")]))
    assert first.sha256 == again.sha256 != other.sha256


def test_a_users_folder_adds_suites(tmp_path: Path) -> None:
    written(tmp_path / "one", GOOD)
    assert "mine" in {suite.name for suite in load_suites([tmp_path])}
    assert "mine" in {suite.name for suite in load_suites([tmp_path / "one", tmp_path])}
    written(tmp_path / "two", GOOD)
    with pytest.raises(SchemaError, match=r"mine.*rename one"):
        load_suites([tmp_path])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("upper_case", "uper_case", "did you mean upper_case"),
        ("schema_version: 1", "schema_version: 2", r"schema_version is 2; this rmaudit reads 1"),
        ("schema_version: 1\n", "", "schema_version is missing"),
        ("licence: CC0-1.0\n", "", "licence: missing"),
        ("title: Mine", "title: Mine\nmodule: os", "module: Extra"),
        ("title: Mine", "title: !!python/object/apply:os.system [ls]", r"line 4: tags"),
        ("title: Mine", "title: !!python/name:os.system", r"line 4: tags"),
        ("title: Mine", "title: &a Mine", "line 4: anchors and aliases"),
        ("title: Mine", "title: *a", "line 4: anchors and aliases"),
        ("title: Mine", "title: Mine\ntitle: Yours", "line 5: 'title' is given twice"),
        ("title: Mine", "title: [", "line"),
        ("title: Mine", "title: " + "[" * 5000, "nested too deeply|line"),
        ("title: Mine", "? [a]\n: b", "line 4"),
        ("name: mine", "name: ../mine", "name: String should match"),
        ("kind: invariance", "kind: contrast", "contrasts and no probes"),
        ("kind: invariance", "kind: invariance\nitems: items.jsonl", "items"),
        ("expected: same", "expected: higher", "expected"),
        ("expected: same}", "expected: same, parameters: {rate: 1}}", "caps.*takes none"),
        (
            "probes:\n",
            "probes:\n  - {name: caps, meaning: m, transform: typos, expected: same}\n",
            "two probes are named caps",
        ),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    folder = written(tmp_path / "s", GOOD.replace(old, new))
    with pytest.raises(SchemaError, match=said) as caught:
        load_suite(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(folder / "suite.yaml"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([item(), {k: v for k, v in item().items() if k != "worse"}], "line 2: worse: this column"),
        ([item(), item(probe="tune")], "line 2: probe: 'tune' is not one of tone"),
        ([item(), item(neutral_prompt=None)], "line 2: neutral_prompt: needed"),
        ([item()], "fewer than two items"),
        ([item(), item(better=3)], "line 2: better"),
        ([item(), item(code="x")], "line 2: code"),
    ],
)
def test_wrong_items_are_one_line(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(SchemaError, match=said) as caught:
        load_suite(written(tmp_path / "s", CONTRAST, rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../items.jsonl", "/etc/passwd", "a/../../items.jsonl", ".."])
def test_items_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "items.jsonl").write_text(json.dumps(item()) + "\n")
    text = CONTRAST.replace("items: items.jsonl", f"items: {name}")
    with pytest.raises(SchemaError, match="leads out of the suite's folder"):
        load_suite(written(tmp_path / "s", text))


def test_nor_do_they_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(json.dumps(item()) + "\n")
    folder = written(tmp_path / "s", CONTRAST)
    (folder / "items.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(SchemaError, match="leads out of the suite's folder"):
        load_suite(folder)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "s", CONTRAST)
    with (folder / "items.jsonl").open("wb") as file:
        file.truncate(100_000_000)  # a hole: takes no room
    with pytest.raises(SchemaError, match=f"larger than {ITEMS_BYTES:,} bytes"):
        load_suite(folder)
    with (folder / "suite.yaml").open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(SchemaError, match=f"larger than {YAML_BYTES:,} bytes"):
        load_suite(folder)


def test_other_files_that_cannot_be_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "s", CONTRAST)
    with pytest.raises(SchemaError, match=r"items.jsonl: no such file"):
        load_suite(folder)
    (folder / "items.jsonl").write_text("{not json\n")
    with pytest.raises(SchemaError, match="line 1: not JSON"):
        load_suite(folder)
    (folder / "suite.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(SchemaError, match=r"suite.yaml"):
        load_suite(folder)
    (folder / "suite.yaml").write_text("just words")
    with pytest.raises(SchemaError, match="not a mapping"):
        load_suite(folder)
    with pytest.raises(SchemaError, match="no such folder"):
        load_suites([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SchemaError, match="no probe suite"):
        load_suites([tmp_path / "empty"])


def test_a_plugin_gives_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rmaudit.probes import loading

    written(tmp_path / "s", GOOD)
    plugins: list[object] = [lambda: tmp_path]

    def given(group: str, use: Any) -> None:
        for plugin in plugins if group == "rmaudit.probes" else []:
            use(plugin)

    monkeypatch.setattr(loading, "load_plugins", given)
    assert "mine" in {suite.name for suite in load_suites()}
    plugins[:] = [3]
    with pytest.raises(PluginError, match="not the path of a folder"):
        load_suites()


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["probes", *arguments])


def test_the_commands(tmp_path: Path) -> None:
    written(tmp_path / "s", GOOD)
    listed = run("list", "--probe-path", str(tmp_path))
    assert listed.exit_code == 0
    assert "sycophancy" in listed.stdout
    assert "mine" in listed.stdout
    shown = run("show", "damage")
    assert shown.exit_code == 0
    assert "damage/negated" in shown.stdout.replace("\n", "")
    assert "# Data sheet: damage" in shown.stdout
    assert run("check", str(tmp_path)).exit_code == 0


def test_the_commands_say_what_is_wrong(tmp_path: Path) -> None:
    missing = run("show", "damages")
    assert missing.exit_code == 2
    assert missing.stderr.strip() == (
        "error: no probe suite is named 'damages'; did you mean damage, fairness?"
    )
    shutil.copytree(load_suites()[0].folder, tmp_path / "copy")
    text = (tmp_path / "copy" / "suite.yaml").read_text()
    (tmp_path / "copy" / "suite.yaml").write_text(text.replace("opening", "opnening"))
    wrong = run("check", str(tmp_path))
    assert wrong.exit_code == 2
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert "did you mean opening" in wrong.stderr
