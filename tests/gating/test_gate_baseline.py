"""Non-inferiority to a baseline, paired by prompt; and what fails closed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from recorded_pairs import Float, audit
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.errors import UsageError
from rmaudit.gating import GateResult, Policy
from rmaudit.report.document import Report

N = 400


@pytest.fixture(scope="module")
def margins() -> Float:
    return np.random.default_rng(0).normal(1.0, 1.0, N)


@pytest.fixture(scope="module")
def baseline(margins: Float) -> Report:
    return audit(margins)


@pytest.fixture(scope="module")
def worse(margins: Float) -> Report:
    return audit(margins - 0.4)


def policy(*rules: dict[str, object], **settings: object) -> Policy:
    return Policy.parse({"schema_version": 1, "rule": list(rules), **settings}, "test")


def against(
    baseline: Report, report: Report, metric: str, margin: float, **rule: object
) -> GateResult:
    rules = policy({"metric": metric, "max_regression": margin, **rule})
    return rmaudit.gate(report, rules, baseline)


@pytest.mark.parametrize(
    ("metric", "margin", "verdict"),
    [
        ("preference.accuracy", 0.02, "fail"),
        ("preference.accuracy", 0.30, "pass"),
        ("calibration.nll", 0.02, "fail"),
        ("calibration.nll", 0.30, "pass"),
    ],
)
def test_a_regression_beyond_the_margin_fails(
    baseline: Report, worse: Report, metric: str, margin: float, verdict: str
) -> None:
    assert against(baseline, worse, metric, margin).verdict == verdict


def test_the_regression_is_the_paired_difference(
    baseline: Report, worse: Report, margins: Float
) -> None:
    [outcome] = against(baseline, worse, "preference.accuracy", 0.02).outcomes
    lost = ((margins > 0) & (margins <= 0.4)).mean()
    assert outcome.value == pytest.approx(lost)
    assert outcome.demand == "at most 0.02 worse than the baseline"
    assert outcome.n_prompts == N
    # Pairing is what decides: unpaired, the same difference would be within its error.
    d = rmaudit.compare(baseline, worse)["preference.accuracy"]
    assert outcome.ci == (pytest.approx(-d.high), pytest.approx(-d.low))
    e = worse["preference.accuracy"]
    assert d.high - d.low < 0.75 * (e.high - e.low)


def test_a_model_is_not_inferior_to_itself(baseline: Report) -> None:
    for metric in ("preference.accuracy", "calibration.nll", "calibration.overconfidence"):
        assert against(baseline, baseline, metric, 0.02).exit_code == 0


def test_few_prompts_that_agree_prove_nothing(margins: Float) -> None:
    few = audit(margins[:20])
    result = against(few, few, "preference.accuracy", 0.02)
    assert (result.verdict, result.exit_code) == ("inconclusive", 3)
    [outcome] = result.outcomes
    # t(19) one-sided is 1.729: 1.729 x sqrt(2) / 22 = 0.111 against 0.02.
    needed = 20 * (1.72913 * 2**0.5 / 22 / 0.02) ** 2
    assert outcome.prompts_needed == pytest.approx(needed, rel=0.01)
    assert "prompts would settle it (20 now)" in outcome.note


def test_slices_levels_and_a_bound_beside_the_baseline(baseline: Report, worse: Report) -> None:
    rules = policy(
        {"metric": "preference.accuracy", "slice": "*", "min": 0.5, "max_regression": 0.02},
        {"metric": "calibration.nll", "max_regression": 0.02, "level": "warn"},
    )
    result = rmaudit.gate(worse, rules, baseline)
    found = [(o.slice, o.demand.split()[-1], o.rule.level) for o in result.outcomes]
    assert found == [
        ({"subset": "a"}, "0.5", "fail"),
        ({"subset": "a"}, "baseline", "fail"),
        ({"subset": "b"}, "0.5", "fail"),
        ({"subset": "b"}, "baseline", "fail"),
        ({}, "baseline", "warn"),
    ]
    assert [o.verdict for o in result.outcomes] == ["pass", "fail", "pass", "fail", "fail"]
    assert len(result.to_frame()) == 5
    assert "fail" in result._repr_html_()


def test_what_the_baseline_lacks_fails_closed(baseline: Report, margins: Float) -> None:
    thin = audit(margins, only=["length"])
    [outcome] = against(thin, baseline, "preference.accuracy", 0.02).outcomes
    assert outcome.verdict == "fail"
    assert outcome.reason == "not compared with the baseline: only in the second report"
    [outcome] = against(baseline, thin, "preference.accuracy", 0.02).outcomes
    assert (outcome.verdict, outcome.demand) == ("fail", "at most 0.02 worse than the baseline")
    assert outcome.reason == "the audit preference was not asked for"


def test_no_baseline_or_a_metric_without_direction_is_a_usage_error(
    baseline: Report, margins: Float
) -> None:
    rules = policy({"metric": "preference.accuracy", "max_regression": 0.02})
    with pytest.raises(UsageError, match="--baseline DIR"):
        rmaudit.gate(baseline, rules)
    with pytest.raises(UsageError, match="shown, not judged"):
        against(baseline, baseline, "preference.blind_longer", 0.02)
    with pytest.raises(UsageError, match="share no prompt"):
        against(baseline, audit(margins, first=1000), "preference.accuracy", 0.02)


def test_a_fail_that_holm_leaves_open_says_how_many_prompts_would_do() -> None:
    # z = -1.7507 is p = 0.04; among ten, 0.005 (z = -2.5758) is wanted.
    from test_gate_verdict import LATE, metric, report

    borderline = report(metric(LATE, 0.3 + 1.7507 * 0.05 / 1.95996, 0.05))
    others = [{"metric": LATE, "max": 0.9 + i / 100} for i in range(9)]
    [first, *_] = rmaudit.gate(borderline, policy({"metric": LATE, "max": 0.3}, *others)).outcomes
    assert first.verdict == "inconclusive"
    assert first.prompts_needed == pytest.approx(200 * (2.5758 / 1.7507) ** 2, rel=0.01)


def test_the_command_line(baseline: Report, worse: Report, tmp_path: Path) -> None:
    old, new = baseline.save(tmp_path / "old"), worse.save(tmp_path / "new")
    gate = tmp_path / "gate.toml"
    gate.write_text(
        "schema_version = 1\n[[rule]]\nmetric = 'preference.accuracy'\nmax_regression = 0.02\n"
    )

    def run(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, ["gate", *map(str, arguments), "--policy", str(gate)])
        return result.exit_code, result.stdout, result.stderr

    code, out, _ = run(new, "--baseline", old, "--json")
    assert (code, json.loads(out)["rules"][0]["verdict"]) == (1, "fail")
    code, out, _ = run(new, "--baseline", old)
    assert (code, "FAIL at 95%" in out) == (1, True)
    assert run(old, "--baseline", old)[0] == 0
    code, _, said = run(new)
    assert (code, "--baseline DIR" in said) == (2, True)
    assert "Traceback" not in said
