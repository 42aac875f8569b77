"""A policy applied to a report: pass, fail or inconclusive, and why.

Fails closed: a metric whose audit did not run, or that is undefined, fails its rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from rmaudit.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, UsageError
from rmaudit.gating.decision import Interval, Verdict, decide, holm
from rmaudit.gating.policy import Policy, Rule
from rmaudit.registry import metric_specs, nearest

if TYPE_CHECKING:
    from rmaudit.report.document import Report
    from rmaudit.report.schema import MetricRecord


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule came to on one metric (and one slice, for rules on every slice)."""

    rule: Rule
    slice: dict[str, str]
    value: float | None
    ci: tuple[float | None, float | None]
    verdict: Verdict
    p_fail: float  # Holm-adjusted over all outcomes; NaN is never needed: not run is 0
    prompts_needed: int | None
    reason: str

    @property
    def name(self) -> str:
        """The metric and its slice."""
        where = ", ".join(f"{key}={value}" for key, value in self.slice.items())
        return f"{self.rule.metric}[{where}]" if where else self.rule.metric

    @property
    def demand(self) -> str:
        """The thresholds in words."""
        parts = [
            f"at least {self.rule.min:g}" if self.rule.min is not None else "",
            f"at most {self.rule.max:g}" if self.rule.max is not None else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of a gate, and each rule's."""

    verdict: Verdict
    exit_code: int
    confidence: float
    outcomes: tuple[RuleOutcome, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a rule: metric, slice, demand, value, low, high, verdict, level, reason."""
        return pd.DataFrame(self.to_dict()["rules"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "confidence": self.confidence,
            "rules": [
                {
                    "metric": o.rule.metric,
                    "slice": o.slice,
                    "demand": o.demand,
                    "value": o.value,
                    "low": o.ci[0],
                    "high": o.ci[1],
                    "verdict": o.verdict,
                    "level": o.rule.level,
                    "p_fail": o.p_fail,
                    "prompts_needed": o.prompts_needed,
                    "reason": o.reason,
                }
                for o in self.outcomes
            ],
        }


def gate(report: Report, policy: Policy) -> GateResult:
    """Hold a report against a policy.

    A report passes only if every rule of level "fail" passes (intersection-union: no adjustment);
    it fails if one of them fails after Holm's adjustment over all of them; else it is inconclusive,
    and `on_inconclusive` decides the exit code. Rules of level "warn" never decide.

    Raises
    ------
    UsageError
        If a rule names a metric that no audit has, or a slice that the report has not.
    """
    outcomes = _adjust(
        [outcome for rule in policy.rules for outcome in _outcomes(report, rule, policy)],
        policy.confidence,
    )
    deciding = {o.verdict for o in outcomes if o.rule.level == "fail"}
    verdict: Verdict = (
        "fail" if "fail" in deciding else "inconclusive" if "inconclusive" in deciding else "pass"
    )
    code = {"pass": EXIT_OK, "fail": EXIT_FAILED}.get(
        verdict if verdict != "inconclusive" else policy.on_inconclusive, EXIT_INCONCLUSIVE
    )
    return GateResult(verdict, code, policy.confidence, tuple(outcomes))


def _outcomes(report: Report, rule: Rule, policy: Policy) -> Iterator[RuleOutcome]:
    found = [metric for metric in report.metrics() if metric.id == rule.metric]
    if not found:
        yield _absent(report, rule)
        return
    if rule.slice == "*":
        found = [metric for metric in found if metric.slice]
    else:
        wanted = rule.slice or {}
        found = [metric for metric in found if metric.slice == wanted]
    if not found:
        raise UsageError(f"{rule.metric}: the report has no slice {rule.slice or '(overall)'}")
    for metric in found:
        yield _judge(metric, rule, policy.confidence)


def _absent(report: Report, rule: Rule) -> RuleOutcome:
    """A metric that the report does not hold: unknown, or its audit did not run."""
    audit = rule.metric.partition(".")[0]
    specs = metric_specs()
    if rule.metric not in specs and audit not in report.audits:
        raise UsageError(f"no metric is named {rule.metric!r}; {nearest(rule.metric, specs)}")
    if rule.metric not in specs:
        known = [id_ for id_ in specs if id_.startswith(f"{audit}.")]
        raise UsageError(f"no metric is named {rule.metric!r}; {nearest(rule.metric, known)}")
    record = report.audits.get(audit)
    if record is None:
        reason = f"the audit {audit} was not asked for"
    elif record.status == "ok":
        needs = "; ".join(f"{part.what} needs {part.needs}" for part in record.not_run)
        reason = f"not in the report: {needs or 'the audit did not measure it on these data'}"
    else:
        reason = f"the audit {audit} is {record.status.replace('_', ' ')}: {record.reason}"
    return RuleOutcome(rule, {}, None, (None, None), "fail", 0.0, None, reason)


def _judge(metric: MetricRecord, rule: Rule, confidence: float) -> RuleOutcome:
    low, high = metric.ci
    if metric.value is None or low is None or high is None:
        reason = f"undefined: {metric.reason}"
        return RuleOutcome(rule, metric.slice, None, (None, None), "fail", 0.0, None, reason)
    interval = Interval(metric.value, low, high, metric.confidence, metric.n_prompts)
    decision = decide(interval, rule.min, rule.max, confidence)
    return RuleOutcome(
        rule,
        metric.slice,
        metric.value,
        (low, high),
        decision.verdict,
        decision.p_fail,
        decision.prompts_needed,
        rule.reason or "",
    )


def _adjust(outcomes: list[RuleOutcome], confidence: float) -> list[RuleOutcome]:
    """Holm over the deciding rules: a fail that does not survive it is inconclusive."""
    deciding = [i for i, o in enumerate(outcomes) if o.rule.level == "fail"]
    adjusted = holm([outcomes[i].p_fail for i in deciding])
    for i, p in zip(deciding, adjusted, strict=True):
        outcome = outcomes[i]
        verdict = outcome.verdict
        if verdict == "fail" and p >= 1 - confidence:
            verdict = "inconclusive"
        outcomes[i] = replace(outcome, p_fail=p, verdict=verdict)
    return outcomes
