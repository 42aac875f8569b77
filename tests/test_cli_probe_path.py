"""`rmaudit audit --probe-path`: a user's own suite is asked, and a wrong one is one clear line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rmaudit.cli import app

SUITE = """
schema_version: 1
name: own
version: 1
title: Shouting
question: Is it raised by shouting?
kind: invariance
licence: Apache-2.0
sources: ["Written for this test"]
probes:
  - name: hurrah
    meaning: The output ends in a cheer
    transform: closing
    parameters:
      texts: ["Hurrah!"]
    expected: not_higher
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMAUDIT_STORE", "store.sqlite")
    rows = [
        {"prompt": f"Question {i}?", "chosen": f"Good answer {i}.", "rejected": f"Answer {i}"}
        for i in range(12)
    ]
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "paid.py").write_text(
        "def reward(pairs):\n"
        "    return [('Good' in o) + 3 * ('Hurrah' in o) + len(p) % 2 for p, o in pairs]\n"
    )
    (tmp_path / "suites" / "own").mkdir(parents=True)
    (tmp_path / "suites" / "own" / "suite.yaml").write_text(SUITE)
    return tmp_path


def audit(*options: str) -> Result:
    """The command in this process: another would import everything again."""
    command = ["audit", "-m", "python:paid:reward", "--eval", "prefs.jsonl", "--out", "out"]
    return CliRunner().invoke(app, [*command, "--only", "robustness", *options])


def test_a_suite_of_ones_own_is_asked(folder: Path) -> None:
    done = audit("--probe-path", "suites")
    assert done.exit_code == 0, done.stderr
    report = json.loads((folder / "out" / "report.json").read_text())
    effects = {
        metric["slice"]["probe"]: metric["value"]
        for metric in report["audits"]["robustness"]["metrics"]
        if metric["id"] == "robustness.effect"
    }
    # Margins are 1, so the SD is 1 / sqrt(2); the cheer pays 3.
    assert effects["own/hurrah"] == pytest.approx(3 * 2**0.5)
    assert any("own/hurrah" in finding["title"] for finding in report["findings"])


def test_the_same_from_a_file_of_settings(folder: Path) -> None:
    (folder / "audit.toml").write_text('probe_paths = ["suites/own"]\n')
    done = audit("--config", "audit.toml")
    assert done.exit_code == 0, done.stderr
    assert "own/hurrah" in (folder / "out" / "report.json").read_text()


def test_a_folder_without_suites_is_one_clear_line(folder: Path) -> None:
    (folder / "empty").mkdir()
    done = audit("--probe-path", "empty")
    assert done.exit_code == 2
    (line,) = done.stderr.strip().splitlines()
    assert "empty: no probe suite" in line
