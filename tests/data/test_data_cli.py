"""The commands on data: what they say, and their exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.data.layouts import layouts

RUN = CliRunner(env={"NO_COLOR": "1", "COLUMNS": "100"})
PAIRS = [
    {"frage": f"Was ist {i} plus 2?", "x": f"{i + 2}", "y": f"{i}", "besser": "x"} for i in range(6)
]
MAP = "prompt=frage,chosen=x,rejected=y,label=besser"
REWARDS = "def length(texts):\n    return [float(len(output)) for _, output in texts]\n"


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lengths.py").write_text(REWARDS)


def test_formats_lists_every_layout_with_an_example() -> None:
    shown = RUN.invoke(app, ["data", "formats"]).output
    flat = re.sub(r"\s", "", shown)
    for name in layouts:
        assert name in flat
    one = RUN.invoke(app, ["data", "formats", "shp"]).output
    assert "human_ref_A" in one
    missing = RUN.invoke(app, ["data", "formats", "shpp"])
    assert (missing.exit_code, "did you mean shp" in missing.output) == (2, True)


@pytest.mark.parametrize("command", ["validate", "audit", "score"])
def test_labels_that_are_not_understood_are_exit_2_until_they_are_mapped(
    command: str, tmp_path: Path
) -> None:
    path = str(write(tmp_path / "d.jsonl", PAIRS))
    model = ["--model", "python:lengths:length", "--no-cache"]
    rest = {
        "validate": [path],
        "audit": ["--eval", path, *model, "--only", "preference", "--out", str(tmp_path / "r")],
        "score": ["--data", path, *model, "--out", str(tmp_path / "s.parquet")],
    }[command]
    refused = RUN.invoke(app, [command, *rest])
    assert refused.exit_code == 2
    assert all(name in refused.output for name in ("frage", "besser", "--columns"))
    mapped = RUN.invoke(app, [command, *rest, "--columns", MAP])
    assert mapped.exit_code == 0, mapped.output
    if command == "score":
        scores = pd.read_parquet(tmp_path / "s.parquet")
        assert len(scores) == 12


def test_prompts_alone_are_nothing_to_audit_or_score(tmp_path: Path) -> None:
    path = str(write(tmp_path / "d.jsonl", [{"prompt": "p", "language": "en"}] * 3))
    model = ["--model", "python:lengths:length", "--no-cache"]
    for arguments in (["audit", "--eval", path], ["score", "--data", path]):
        done = RUN.invoke(app, [*arguments, *model])
        assert done.exit_code == 2
        assert "holds prompts without responses" in done.output
        assert "language" in done.output


def test_an_audit_that_measured_nothing_is_exit_2(tmp_path: Path) -> None:
    samples = {"prompt": "p", "outputs": ["a", "bb"], "rewards": [1.0, 2.0]}
    path = str(write(tmp_path / "d.jsonl", [samples] * 3))
    model = ["--model", "python:lengths:length", "--no-cache", "--resamples", "200"]
    done = RUN.invoke(app, ["audit", "--eval", path, *model, "--only", "preference"])
    assert done.exit_code == 2
    said = re.sub(r"\s+", " ", done.output)
    assert "preference not run: needs pairs, rankings, ratings or labels in --eval" in said
    assert "d.jsonl: nothing was measured on it" in said


def test_every_command_says_what_it_leaves_out(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "bb", "source": "s"} for i in range(5)]
    path = str(write(tmp_path / "d.jsonl", [*rows, {"prompt": "p", "chosen": 3}]))
    model = ["--model", "python:lengths:length", "--no-cache"]
    out = ["--out", str(tmp_path / "out.parquet")]
    audit = ["audit", "--eval", path, "--only", "preference", "--out", str(tmp_path / "r")]
    for arguments in (["score", "--data", path, *out, *model], [*audit, *model]):
        said = re.sub(r"\s+", " ", RUN.invoke(app, arguments).output)
        assert "1 of 6 rows set aside: wrong type (1)" in said
        assert "not used (kept as metadata): source" in said
        assert "set aside" not in RUN.invoke(app, [*arguments, "--quiet"]).output
    checked = RUN.invoke(app, ["validate", path])
    assert checked.exit_code == 1
    assert "source" in checked.output


def test_a_name_is_shown_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a:rocket:b.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    assert ":rocket:" in RUN.invoke(app, ["validate", str(path)]).output


def test_validate_takes_several_files_and_the_worst_decides(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    bad.write_text('{"prompt": "p", "chosen": "a"}\n')
    assert RUN.invoke(app, ["validate", str(good), str(good)]).exit_code == 0
    done = RUN.invoke(app, ["validate", str(bad), str(good), str(tmp_path / "none.jsonl")])
    assert done.exit_code == 2
    assert f"{good}: preference" in done.output.replace("\n", "")
    assert "none.jsonl" in done.output
