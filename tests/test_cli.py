"""The command line as a user meets it: exit codes, one clear line, files written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rmaudit.cli import app

ROOT = Path(__file__).parents[1]  # the tree under test, wherever the package is installed
PAIRS = [
    {
        "prompt": f"Question {i // 2}?",
        "chosen": f"A careful answer number {i}." + " More detail." * (i % 4),
        "rejected": f"Answer {i}." + " Filler." * (i % 3),
        "subset": "even" if i % 2 == 0 else "odd",
    }
    for i in range(60)
]
CALLABLE = """
def reward(pairs):
    return [len(output) / 10 + len(prompt) % 3 for prompt, output in pairs]
"""


AUDIT = ("audit", "-m", "python:my_reward:reward", "--eval", "prefs.jsonl")
NAMES = ("preflight", "data", "preference", "calibration", "length")
ONLY = ("--only", ",".join(NAMES))


def prepare(folder: Path, *more: str) -> Path:
    (folder / "prefs.jsonl").write_text("\n".join([*map(json.dumps, PAIRS), *more]) + "\n")
    (folder / "my_reward.py").write_text(CALLABLE)
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands run in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMAUDIT_STORE", "store.sqlite")
    return prepare(tmp_path)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an audit of pairs of which one row is damaged, in ``o``."""
    folder = prepare(tmp_path_factory.mktemp("audited"), "{not json")
    done = run(folder, *AUDIT, *ONLY, "--out", "o")
    assert done.returncode == 0, done.stderr
    return folder


def report(folder: Path, name: str = "o") -> dict[str, Any]:
    made: dict[str, Any] = json.loads((folder / name / "report.json").read_text())
    return made


def invoke(*arguments: str) -> Result:
    """A command in this process: importing everything again would take seconds."""
    return CliRunner().invoke(app, arguments)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rmaudit", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "RMAUDIT_STORE": "store.sqlite",
        },
    )


def test_an_audit_writes_the_report_and_a_second_run_scores_nothing(
    audited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(audited)
    monkeypatch.setenv("RMAUDIT_STORE", "store.sqlite")
    second = invoke(*AUDIT, *ONLY, "--out", "second")
    assert second.exit_code == 0, second.stderr
    one, two = report(audited), report(audited, "second")
    # Two outputs a pair, and what the audits add; all distinct texts are scored once.
    assert one["cost"]["texts_scored"] == one["cost"]["texts"] >= 120
    assert two["cost"]["texts_scored"] == 0
    assert {a for a, r in one["audits"].items() if r["status"] == "ok"} == set(NAMES)
    assert one["audits"] == two["audits"]
    for name in ("report.html", "scores.parquet", "set_aside.jsonl"):
        assert (audited / "o" / name).exists(), name


def test_accuracy_in_the_report_is_the_share_of_pairs_ranked_correctly(audited: Path) -> None:
    # Both sides share the prompt, so the margin is the difference of lengths over ten.
    longer = [len(p["chosen"]) - len(p["rejected"]) for p in PAIRS]
    expected = sum(1.0 if d > 0 else 0.5 if d == 0 else 0.0 for d in longer) / len(longer)
    measured = report(audited)["audits"]["preference"]["metrics"]
    metrics = {m["id"]: m for m in measured if m["slice"] == {}}
    assert metrics["preference.accuracy"]["value"] == pytest.approx(expected, abs=1e-12)


def test_a_bad_row_is_set_aside_and_said(audited: Path) -> None:
    done = run(audited, "validate", "prefs.jsonl")
    assert done.returncode == 1
    assert "61" in done.stdout
    source = report(audited)["inputs"]["eval"]
    assert (source["rows_read"], source["rows_used"], source["rows_set_aside"]) == (61, 60, 1)
    lines = (audited / "o" / "set_aside.jsonl").read_text().splitlines()
    aside = [json.loads(line) for line in lines]
    assert aside[0]["row"] == 61


def test_validate_exits_0_on_clean_data_and_2_on_nothing_usable(folder: Path) -> None:
    assert invoke("validate", "prefs.jsonl").exit_code == 0
    (folder / "empty.jsonl").write_text("")
    done = invoke("validate", "empty.jsonl")
    assert done.exit_code == 2
    assert "Traceback" not in done.stderr
    assert "empty.jsonl" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["audit", "--eval", "prefs.jsonl"], "--model"),
        (["audit", "-m", "python:my_reward:reward"], "--eval"),
        (["audit", "-m", "python:my_reward:rewards", "--eval", "prefs.jsonl"], "rewards"),
        (["audit", "-m", "no/such/model", "--eval", "prefs.jsonl"], "no/such/model"),
        (["audit", "-m", "python:my_reward:reward", "--eval", "none.jsonl"], "none.jsonl"),
        (
            ["audit", "-m", "python:my_reward:reward", "--eval", "prefs.jsonl", "--only", "lenght"],
            "length",
        ),
        (["audit", "-m", "recorded", "--eval", "prefs.jsonl"], "chosen_reward"),
    ],
)
def test_bad_usage_is_one_clear_line_and_exit_2(
    folder: Path, arguments: list[str], said: str
) -> None:
    done = invoke(*arguments)
    assert done.exit_code == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_flags_win_over_the_file(folder: Path) -> None:
    (folder / "audit.toml").write_text(
        'schema_version = 1\nmodel = "python:my_reward:reward"\neval = "prefs.jsonl"\nseed = 7\n'
    )
    settings = ["--config", "audit.toml", "--seed", "3", "--out", "o", "--only", "preference"]
    refused = invoke("audit", *settings)
    assert refused.exit_code == 2
    assert "--trust-code" in refused.stderr
    done = invoke("audit", *settings, "--trust-code")
    assert done.exit_code == 0, done.stderr
    assert report(folder)["seed"] == 3


def test_score_writes_one_row_a_text(folder: Path) -> None:
    import pandas as pd

    arguments = ["-m", "python:my_reward:reward", "--data", "prefs.jsonl", "--out", "s.parquet"]
    done = invoke("score", *arguments)
    assert done.exit_code == 0, done.stderr
    frame = pd.read_parquet(folder / "s.parquet")
    assert len(frame) == 120
    first = frame[(frame["side"] == "chosen")].iloc[0]
    assert first["reward"] == len(PAIRS[0]["chosen"]) / 10 + len(PAIRS[0]["prompt"]) % 3
    refused = invoke("score", *arguments[:-1], "s.csv")
    assert refused.exit_code == 2
    assert "written as Parquet" in refused.stderr


def test_help_loads_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys\nfrom rmaudit.cli import app\n"
        "heavy = ('torch', 'matplotlib', 'pandas', 'scipy', 'numpy')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder
    )
    assert done.stdout.strip() == "[]"


def test_json_logs_are_json_lines(folder: Path) -> None:
    done = invoke("audit", "-m", "python:none:f", "--eval", "prefs.jsonl", "--json-logs")
    assert done.exit_code == 2
    assert json.loads(done.stderr.strip().splitlines()[-1])["level"] == "error"


@pytest.mark.parametrize("columns", ["80", "40", "200"])
def test_no_id_breaks_within_a_word(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    rows = [
        ["preflight.output_truncated_share", "inconclusive (warn)", "0.621 [0.605, 0.637]", "at 1"],
        [
            "overoptimization.gold_loss_after_peak",
            "pass",
            "-",
            "a note of several words that wraps",
        ],
    ]
    from rmaudit.console import Console

    Console().table("Rules", ["rule", "verdict", "value", "note"], rows)
    shown = capsys.readouterr().out
    for word in " ".join(cell for row in rows for cell in row if cell != "-").split():
        assert word in shown, (columns, word)


def test_scores_of_texts_that_were_cut_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    import pandas as pd

    from rmaudit.api import _tell_missing
    from rmaudit.console import Console

    frame = pd.DataFrame({"id": ["a", "b"], "side": "output", "reward": [0.5, 1.0]})
    _tell_missing(frame.assign(truncated=[True, False]), Console())
    assert "1 of 2 texts are longer than the model reads" in capsys.readouterr().err
    _tell_missing(frame.assign(truncated=False), Console())
    assert not capsys.readouterr().err
