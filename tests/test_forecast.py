"""What is said before anything is scored is what is scored then; a quick audit keeps its word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.config import AuditConfig
from rmaudit.errors import UsageError
from rmaudit.forecast import forecast
from rmaudit.report.document import Report

PAIRS = [
    {
        "prompt": f"Question {i} about {'cats' if i % 3 else 'dogs'}?",
        "chosen": f"A careful answer number {i}." + " More detail." * (i % 4),
        "rejected": f"Answer {i}." + " Filler." * (i % 3),
    }
    for i in range(40)
]
MODULE = """
calls = 0

def reward(pairs):
    global calls
    calls += len(pairs)
    return [len(output) / 10 + len(prompt) % 3 for prompt, output in pairs]
"""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "prefs.jsonl").write_text("\n".join(map(json.dumps, PAIRS)))
    (tmp_path / "counted.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(folder: Path, **more: object) -> AuditConfig:
    given = {
        "model": "python:counted:reward",
        "eval": str(folder / "prefs.jsonl"),
        "kind": "logit",
        "store": folder / "scores.sqlite",
        "resamples": 100,
        "search_texts": 0,
        "only": "preference,length,prompt,style",
        **more,
    }
    return AuditConfig.resolve(given, None)


def audit(folder: Path, *options: str) -> Report:
    command = ["audit", "--model", "python:counted:reward", "--eval", "prefs.jsonl"]
    command += ["--kind", "logit", "--store", "scores.sqlite", "--out", "out", *options]
    done = CliRunner().invoke(app, [*command, "--resamples", "100"])
    assert done.exit_code == 0, done.output
    return Report.load(folder / "out")


def test_the_forecast_is_what_the_audit_then_scores_and_tells_its_time(files: Path) -> None:
    import counted  # type: ignore[import-not-found]

    counted.calls = 0
    before = forecast(settings(files))
    assert counted.calls == 0
    assert before.seconds(100) is None
    assert before.not_run == []
    by_name = {cost.audit: cost for cost in before.costs}
    assert by_name[""].texts == 80
    assert {"length", "prompt", "style"} < set(by_name)
    only = ("--only", "preference,length,prompt,style", "--search-texts", "0")
    report = audit(files, *only)
    assert sum(cost.to_score for cost in before.costs) == report.record.cost.texts_scored
    # All texts are looked at where they are few, so that the lengths are exact.
    assert sum(c.tokens for c in before.costs) == pytest.approx(report.record.cost.tokens, rel=0.02)
    after = forecast(settings(files))
    assert sum(cost.to_score for cost in after.costs) == 0
    seconds = after.seconds(report.record.cost.tokens)
    assert seconds == pytest.approx(report.record.cost.seconds)


def test_a_dry_run_writes_nothing_and_says_the_cost_by_audit(files: Path) -> None:
    command = ["audit", "--model", "python:counted:reward", "--eval", "prefs.jsonl", "--dry-run"]
    done = CliRunner().invoke(app, [*command, "--out", "out", "--store", "scores.sqlite"])
    assert done.exit_code == 0, done.output
    assert "robustness" in done.output
    assert "At most" in done.output
    assert "coverage would not run: needs --deployment" in done.output
    assert not (files / "out").exists()


def test_a_quick_audit_scores_at_most_four_texts_per_pair_and_says_what_it_left_out(
    files: Path,
) -> None:
    report = audit(files, "--profile", "quick")
    assert 2 * len(PAIRS) < report.record.cost.texts_scored <= 4 * len(PAIRS)
    assert report.audits["robustness"].status == "not_run"
    assert "--profile quick" in str(report.audits["robustness"].reason)
    length = report.audits["length"]
    assert length.status == "ok"  # what needs no further text is measured
    assert any("--profile quick" in part.needs for part in length.not_run)
    assert report.record.config["search_texts"] == 0


def test_a_profile_gives_way_to_what_is_said() -> None:
    given = {"model": "recorded", "eval": "e", "profile": "full"}
    assert AuditConfig.resolve(given, None).resamples == 10_000
    assert AuditConfig.resolve({**given, "resamples": 300}, None).resamples == 300
    assert AuditConfig.resolve({**given, "profile": "quick"}, None).search_texts == 0


def test_a_limit_that_cuts_other_inputs_is_told(
    files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = str(files / "prefs.jsonl")
    forecast(settings(files, limit=10, feedback=data, only="preference"))
    assert "--limit 10 also cuts --feedback to their first 10 rows" in caplog.text


def test_nothing_is_scored_where_no_reward_is_asked_for(files: Path) -> None:
    before = forecast(settings(files, only="data", model="no/such-model"))
    assert before.costs == []
    with pytest.raises(UsageError):
        rmaudit.load_reward_model("no such model:")
