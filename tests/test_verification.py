"""`rmaudit verify`: numbers come out of the stored rewards again, or it says which do not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rmaudit.cli import app


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "verified.py").write_text(
        "def reward(pairs):\n    return [float(len(o)) for _, o in pairs]\n"
    )
    rows = [
        {"prompt": f"q {i % 40}", "chosen": f"yes, it is {i}", "rejected": "no " * (1 + i % 9)}
        for i in range(80)
    ]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    command = ("audit", "--model", "python:verified:reward", "--eval", "eval.jsonl")
    code, shown = run(
        *command, "--only", "preference,length", "--out", "report", "--store", "s.sqlite"
    )
    assert code == 0, shown
    return tmp_path


def test_the_same_numbers_come_out_of_the_store(folder: Path) -> None:
    report = json.loads((folder / "report" / "report.json").read_text())
    metrics = sum(len(audit["metrics"]) for audit in report["audits"].values())
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 0
    assert f"{metrics} of {metrics} numbers reproduced" in shown


def test_the_same_run_writes_the_same_report_but_for_times(folder: Path) -> None:
    def read(name: str) -> dict[str, object]:
        report = json.loads((folder / name / "report.json").read_text())
        del report["created"], report["cost"]["seconds"], report["cost"]["texts_scored"]
        del report["cost"]["tokens"]  # the second run scores nothing
        return report

    command = ("audit", "--model", "python:verified:reward", "--eval", "eval.jsonl")
    run(*command, "--only", "preference,length", "--out", "again", "--store", "s.sqlite")
    assert json.dumps(read("report")) == json.dumps(read("again"))


def test_a_number_that_was_changed_is_named(folder: Path) -> None:
    path = folder / "report" / "report.json"
    report = json.loads(path.read_text())
    metric = report["audits"]["preference"]["metrics"][0]
    metric["value"] = 0.125
    path.write_text(json.dumps(report))
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 1
    assert metric["id"] in shown
    assert "0.125" in shown


@pytest.mark.parametrize(
    ("name", "value"), [("n_prompts", 7), ("df", 1e6), ("bounds", [0.0, 2.0]), ("better", "zero")]
)
def test_what_a_gate_reads_beside_a_number_is_verified(
    folder: Path, name: str, value: object
) -> None:
    path = folder / "report" / "report.json"
    report = json.loads(path.read_text())
    report["audits"]["preference"]["metrics"][0][name] = value
    path.write_text(json.dumps(report))
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 1
    assert name in shown


def test_a_finding_that_was_taken_out_or_put_in_is_named(folder: Path) -> None:
    path = folder / "report" / "report.json"
    report = json.loads(path.read_text())
    taken = report["findings"].pop(0)
    path.write_text(json.dumps(report))
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 1
    assert f"{taken['metric']} ({taken['audit']}) is not in this report" in " ".join(shown.split())
    report["findings"][:0] = [taken, taken | {"metric": "length.made_up"}]
    path.write_text(json.dumps(report))
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 1
    assert "length.made_up (" in shown


def test_a_bound_with_an_open_end_is_shown() -> None:
    from rmaudit.cli.verify import _number
    from rmaudit.report.schema import MetricRecord

    metric = MetricRecord.model_validate(
        {
            **dict.fromkeys(("id", "unit", "method"), "a.b"),
            **{"value": 1.5, "ci": (1.5, None), "confidence": 0.95, "n": 3, "n_prompts": 3},
            **{"better": "higher", "slice": {}, "reason": None},
        }
    )
    assert _number(metric) == "1.5 [1.5, open]"


def test_an_input_that_was_changed_is_named(folder: Path) -> None:
    text = (folder / "eval.jsonl").read_text()
    (folder / "eval.jsonl").write_text(text.replace("yes, it is 3", "yes, it is not 3"))
    code, shown = run("verify", "report", "--rescore", "--trust-code")
    assert code == 1
    assert "--eval is not the file that was audited" in shown


def test_without_the_rewards_nothing_is_scored(folder: Path) -> None:
    code, shown = run("verify", "report", "--store", "empty.sqlite")
    assert code == 2
    assert "not in the score store" in shown
    assert "--rescore" in shown


def test_settings_that_are_none_are_said(folder: Path) -> None:
    path = folder / "report" / "report.json"
    report = json.loads(path.read_text())
    report["config"]["only"] = [3]
    path.write_text(json.dumps(report))
    code, shown = run("verify", "report", "--store", "s.sqlite")
    assert code == 2
    assert "report: config: only.0: Input should be a valid string" in shown


def test_another_process_writes_the_same_report_but_for_times(folder: Path) -> None:
    texts = []
    for seed in ("1", "2"):  # sets and hashes come in another order
        command = ["audit", "--model", "python:verified:reward", "--eval", "eval.jsonl"]
        command += ["--only", "data,preference", "--out", seed, "--no-cache", "--quiet"]
        subprocess.run(
            [sys.executable, "-m", "rmaudit", *command],
            cwd=folder,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(folder)},
            check=True,
        )
        text = (folder / seed / "report.json").read_text()
        origin = json.loads(text)["provenance"]
        assert origin["packages"]["numpy"]
        assert origin["command"] == (
            "rmaudit audit --model python:verified:reward --eval eval.jsonl "
            "--only data,preference --quiet"
        )
        texts.append(re.sub(r'"(created|seconds)": ("[^"]*"|[0-9.e-]+)', r'"\1": null', text))
    assert texts[0] == texts[1]
    assert texts[0].count(": null") >= 2
