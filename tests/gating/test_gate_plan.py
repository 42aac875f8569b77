"""Labels needed, by hand and by simulation; votes; a judge; bad options."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, norm
from test_gate_verdict import LATE, PREFIX, metric, policy, report
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import UsageError
from rmaudit.gating.decision import decide
from rmaudit.gating.planning import plan, prompts_for, votes_table
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.law import Law

MANY = 10**9


def test_prompts_by_hand() -> None:
    reach = norm.ppf(0.975) * 0.02
    law = Law(0.74, 0.74 - reach, 0.74 + reach, 0.95, 100, df=MANY)
    z = norm.ppf(0.95) + norm.ppf(0.8)
    expected = math.ceil(100 * (z * 0.02 / 0.04) ** 2)
    assert prompts_for(law, 0.70, None, 0.95, 0.8) == ("pass", expected)
    # A fail is adjusted for ten rules.
    z = norm.ppf(0.995) + norm.ppf(0.8)
    expected = math.ceil(100 * (z * 0.02 / 0.04) ** 2)
    assert prompts_for(law, 0.78, None, 0.95, 0.8, 10) == ("fail", expected)
    assert prompts_for(law, 0.74, None, 0.95, 0.8) == ("none", None)


def test_planned_prompts_pass_as_often_as_planned() -> None:
    rng = np.random.default_rng(0)
    pilot = Law.of(cluster_mean(np.arange(200) < 150, np.arange(200), bounds=(0, 1)))
    toward, n = prompts_for(pilot, 0.70, None, 0.95, 0.8)
    assert (toward, n is not None) == ("pass", True)
    assert n is not None
    passed = 0
    for _ in range(300):
        estimate = cluster_mean(rng.random(n) < 0.75, np.arange(n), bounds=(0, 1))
        passed += decide(Law.of(estimate), 0.70, None, 0.95).verdict == "pass"
    assert 0.72 < passed / 300 < 0.88


def test_each_rule_of_a_gate_is_planned_for() -> None:
    rules = policy(
        {"metric": LATE, "max": 0.31},
        {"metric": PREFIX, "slice": {"position": "*"}, "min": 0.5},
        {"metric": LATE, "max": 0.2},
    )
    slices = [metric(PREFIX, v, 0.05, position=p) for p, v in (("0.1", 0.5), ("1.0", 0.6))]
    found = plan(report(metric(LATE, 0.3, 0.05), *slices), rules, judge_correlation=0.6)
    assert [need.toward for need in found.needs] == ["pass", "none", "pass", "fail"]
    first = found.needs[0]
    assert first.prompts_needed is not None
    assert first.pairs_needed == 2 * first.prompts_needed  # the pilot has two rows per prompt
    assert first.gold_needed == math.ceil(first.prompts_needed * (1 - 0.36))
    assert "no number of prompts" in found.needs[1].note
    assert "mend the model" in found.needs[3].note
    assert "20% narrower" in found.judge
    little = plan(
        report(metric(LATE, 0.3, 0.05)),
        policy({"metric": LATE, "max": 0.4}),
        judge_correlation=0.14,
    )
    assert "next to nothing" in little.judge


def test_more_votes_make_labels_and_accuracy_better() -> None:
    # Annotators right in 80 %: they agree in 68 %; a perfect model shows 80 % on single votes.
    rows = votes_table(0.8, 0.68, 100, 0.9, policy({"metric": LATE, "max": 1.0}), 0.8)
    assert [row.votes for row in rows] == [1, 3, 5, 7, 9]
    for row in rows:
        majority = binom.sf(row.votes // 2, row.votes, 0.8)
        assert row.label_accuracy == pytest.approx(majority)
        assert row.expected == pytest.approx(majority)
    assert rows[0].prompts_needed is None  # below the threshold with one vote
    assert rows[2].prompts_needed is not None


def test_the_command_and_what_it_refuses(tmp_path: Path) -> None:
    folder = report(metric(LATE, 0.3, 0.05)).save(tmp_path / "pilot")
    gate = tmp_path / "gate.toml"
    gate.write_text(f"schema_version = 1\n[[rule]]\nmetric = '{LATE}'\nmax = 0.31\n")
    run = CliRunner().invoke(app, ["plan", str(folder), "--gate", str(gate), "--json"])
    assert run.exit_code == 0
    assert json.loads(run.stdout)["needs"][0]["toward"] == "pass"
    shown = CliRunner().invoke(app, ["plan", str(folder), "--gate", str(gate)])
    assert "80% chance" in shown.stdout
    bad = CliRunner().invoke(app, ["plan", str(folder), "--gate", str(gate), "--power", "1.5"])
    assert (bad.exit_code, "--power" in bad.stderr) == (2, True)
    with pytest.raises(UsageError, match="--agreement"):
        plan(report(metric(LATE, 0.3, 0.05)), policy({"metric": LATE, "max": 0.4}), agreement=0.4)
