"""A policy held against a report: what passes, what fails, and what is left open."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmaudit.audits.sparsity import Sparsity
from rmaudit.errors import SchemaError, UsageError
from rmaudit.gating import Policy, gate
from rmaudit.report.document import Report
from rmaudit.results import AuditResult, Estimate, Metric, NotRun
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Cost


def report(*metrics: Metric, status: str = "ok") -> Report:
    result = AuditResult(
        "sparsity",
        status,  # type: ignore[arg-type]
        reason=None if status == "ok" else "needs preference pairs",
        metrics=metrics,
        not_run=(NotRun("late share", "longer outputs"),) if status == "ok" else (),
    )
    return Report.build(
        [result],
        audits=[Sparsity()],
        model=Recorded(),
        inputs={},
        cost=Cost(),
        seed=0,
        config={},
        provenance={},
    )


def metric(id_: str, value: float, half: float, **slice_: str) -> Metric:
    estimate = Estimate(value, value - half, value + half, 0.95, "cluster-robust", 400, 200)
    return Metric(id_, estimate, slice_)


def policy(*rules: dict[str, object], **settings: object) -> Policy:
    return Policy.parse({"schema_version": 1, "rule": list(rules), **settings}, "test")


LATE = "sparsity.late_share"
PREFIX = "sparsity.prefix_accuracy"


@pytest.mark.parametrize(
    ("maximum", "verdict", "code"), [(0.5, "pass", 0), (0.1, "fail", 1), (0.31, "inconclusive", 3)]
)
def test_exit_codes(maximum: float, verdict: str, code: int) -> None:
    result = gate(report(metric(LATE, 0.3, 0.05)), policy({"metric": LATE, "max": maximum}))
    assert (result.verdict, result.exit_code) == (verdict, code)


@pytest.mark.parametrize(("choice", "code"), [("report", 3), ("fail", 1), ("pass", 0)])
def test_inconclusive_is_what_the_policy_says(choice: str, code: int) -> None:
    rules = policy({"metric": LATE, "max": 0.31}, on_inconclusive=choice)
    result = gate(report(metric(LATE, 0.3, 0.05)), rules)
    assert (result.verdict, result.exit_code) == ("inconclusive", code)
    # One-sided half-width 0.05 x 1.6525 / 1.9720 = 0.0419 (Student with 199) against 0.01.
    needed = 200 * (0.05 * 1.65255 / 1.97196 / 0.01) ** 2
    assert result.outcomes[0].prompts_needed == pytest.approx(needed, rel=1e-3)


def test_a_metric_whose_audit_did_not_run_fails_and_says_so() -> None:
    result = gate(report(status="not_run"), policy({"metric": LATE, "max": 0.5}))
    assert result.exit_code == 1
    assert "needs preference pairs" in result.outcomes[0].reason


def test_an_undefined_metric_fails_with_its_reason() -> None:
    undefined = Metric(LATE, Estimate.undefined("the reward does not move"))
    result = gate(report(undefined), policy({"metric": LATE, "max": 0.5}))
    assert result.exit_code == 1
    assert "does not move" in result.outcomes[0].reason


def test_an_unknown_metric_is_a_usage_error_that_names_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"sparsity\.late_share"):
        gate(report(metric(LATE, 0.3, 0.05)), policy({"metric": "sparsity.late_shore", "max": 1}))


def test_a_warning_never_decides() -> None:
    rules = policy(
        {"metric": LATE, "max": 0.1, "level": "warn"},
        {"metric": LATE, "max": 0.5},
    )
    result = gate(report(metric(LATE, 0.3, 0.05)), rules)
    assert result.exit_code == 0
    assert result.outcomes[0].verdict == "fail"


def test_every_slice_is_held_to_the_rule() -> None:
    slices = [metric(PREFIX, v, 0.01, position=p) for p, v in (("0.1", 0.4), ("1.0", 0.8))]
    result = gate(report(*slices), policy({"metric": PREFIX, "slice": "*", "min": 0.6}))
    assert [o.verdict for o in result.outcomes] == ["fail", "pass"]
    one = gate(
        report(*slices), policy({"metric": PREFIX, "slice": {"position": "1.0"}, "min": 0.6})
    )
    assert one.exit_code == 0


def test_a_star_for_a_value_is_every_value_of_that_column() -> None:
    slices = [metric(PREFIX, v, 0.01, position=p) for p, v in (("0.1", 0.4), ("1.0", 0.8))]
    other = metric(PREFIX, 0.1, 0.01, subset="x")
    rules = policy({"metric": PREFIX, "slice": {"position": "*"}, "min": 0.6})
    result = gate(report(*slices, other), rules)
    assert [(o.slice["position"], o.verdict) for o in result.outcomes] == [
        ("0.1", "fail"),
        ("1.0", "pass"),
    ]
    with pytest.raises(UsageError, match="no slice"):
        gate(report(*slices), policy({"metric": PREFIX, "slice": {"style": "*"}, "min": 0.6}))


def test_holm_leaves_a_lone_borderline_fail_open() -> None:
    # p = 0.04 alone fails at 95 %; as the smallest of ten it is 0.4 and settles nothing.
    borderline = metric(LATE, 0.3 + 1.7507 * 0.05 / 1.96, 0.05)
    alone = gate(report(borderline), policy({"metric": LATE, "max": 0.3}))
    assert alone.verdict == "fail"
    others = [{"metric": LATE, "max": 0.9 + i / 100} for i in range(9)]
    among = gate(report(borderline), policy({"metric": LATE, "max": 0.3}, *others))
    assert among.verdict == "inconclusive"


def test_shipped_policies_are_valid_and_name_metrics_that_exist() -> None:
    from rmaudit.audits.base import metric_specs

    known = metric_specs()
    for name in ("default", "strict", "pre-rlhf"):
        for rule in Policy.read(name).rules:
            assert rule.metric in known, (name, rule.metric)
            assert rule.reason


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("schema_version = 2\n[[rule]]\nmetric='a.b'\nmax=1", "schema_version"),
        ("schema_version = 1", "rule"),
        ("schema_version = 1\n[[rule]]\nmetric='a.b'", "needs min or max"),
        ("schema_version = 1\n[[rule]]\nmetric='a.b'\nmin=2\nmax=1", "min above max"),
        ("schema_version = 1\n[[rule]]\nmetric='a.b'\nmaxx=1", "maxx"),
        ("not toml", "not TOML"),
    ],
)
def test_a_bad_policy_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gate.toml").write_text(text)
    with pytest.raises(SchemaError) as caught:
        Policy.read(tmp_path / "gate.toml")
    assert said in str(caught.value)
    assert "gate.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rule", [{"max": 5}, {"min": -1.5}, {"min": 60.0}])
def test_a_share_is_no_percentage(rule: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"share: 5% is 0\.05"):
        gate(report(metric(LATE, 0.3, 0.05)), policy({"metric": LATE, **rule}))
    assert gate(report(metric(LATE, 0.3, 0.05)), policy({"metric": LATE, "max": 1})).exit_code == 0


@pytest.mark.parametrize("value", [True, "0.5"])
def test_a_threshold_is_a_number(value: object) -> None:
    with pytest.raises(SchemaError, match="min: Input should be a valid number"):
        policy({"metric": LATE, "min": value})


def test_no_such_policy_names_the_shipped_ones() -> None:
    with pytest.raises(UsageError, match="default, pre-rlhf, strict"):
        Policy.read("defualt")


def test_the_function_stays_a_function_once_the_package_is_imported() -> None:
    import rmaudit

    for _ in range(2):  # a subpackage of the same name would take its place on first use
        assert rmaudit.gate(report(metric(LATE, 0.3, 0.05)), policy({"metric": LATE, "max": 0.5}))
