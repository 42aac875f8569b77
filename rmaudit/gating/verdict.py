"""A policy applied to a report: pass, fail or inconclusive, and why.

Fails closed: a metric whose audit did not run, or that is undefined, fails its rule; so does one
that cannot be held against the baseline.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from rmaudit.audits.base import metric_specs
from rmaudit.errors import EXIT_FAILED, EXIT_INCONCLUSIVE, EXIT_OK, UsageError, nearest
from rmaudit.gating.decision import Verdict, decide, prompts_to_survive
from rmaudit.gating.policy import Policy, Rule
from rmaudit.report.binding import law_of
from rmaudit.stats.law import Law
from rmaudit.stats.multiple import holm
from rmaudit.suites import suite_specs

if TYPE_CHECKING:
    from rmaudit.comparison.pairing import Pairing
    from rmaudit.report.document import Report
    from rmaudit.report.schema import MetricRecord


SHARES = ("probability", "share", "share of tokens", "0..1", "-1..1")  # units of thresholds up to 1


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one demand of one rule came to on one metric (and one slice, for every slice).

    `value` and `ci` are the metric's; where the demand is on the baseline, those of its
    regression: how much worse it is, by the paired difference.
    """

    rule: Rule
    slice: dict[str, str]
    demand: str
    value: float | None
    ci: tuple[float | None, float | None]
    verdict: Verdict
    p_fail: float  # Holm-adjusted over all outcomes; 0 for what was not run
    prompts_needed: int | None
    n_prompts: int
    reason: str  # why there is no value; else the policy's reason for the demand
    bound: float | None = None  # the one-sided bound that decides

    @property
    def name(self) -> str:
        """The metric and its slice."""
        where = ", ".join(f"{key}={value}" for key, value in self.slice.items())
        return f"{self.rule.metric}[{where}]" if where else self.rule.metric

    @property
    def note(self) -> str:
        """What to know beside the verdict: why there is no value, or what would settle it."""
        if self.value is None:
            return self.reason
        if self.prompts_needed is not None:
            return f"about {self.prompts_needed:,} prompts would settle it ({self.n_prompts:,} now)"
        if self.verdict == "inconclusive":
            return "its interval holds the threshold"
        return ""

    @property
    def finding(self) -> str:
        """The outcome as a sentence."""
        if self.value is None:
            return f"{self.name} must be {self.demand}: {self.reason}"
        low, high = self.ci
        text = f"{self.name} must be {self.demand}; it is {self.value:.3g} [{low:.3g}, {high:.3g}]"
        return f"{text}; {self.note}" if self.note else text

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "metric": self.rule.metric,
            "slice": self.slice,
            "demand": self.demand,
            "value": self.value,
            "low": self.ci[0],
            "high": self.ci[1],
            "bound": self.bound,
            "verdict": self.verdict,
            "level": self.rule.level,
            "p_fail": self.p_fail,
            "prompts_needed": self.prompts_needed,
            "n_prompts": self.n_prompts,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of a gate, and each rule's."""

    verdict: Verdict
    exit_code: int
    confidence: float
    on_inconclusive: Literal["report", "fail", "pass"]
    model: str
    outcomes: tuple[RuleOutcome, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row an outcome: metric, slice, demand, value, low, high, verdict, level, reason."""
        return pd.DataFrame(self.to_dict()["rules"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "confidence": self.confidence,
            "model": self.model,
            "rules": [outcome.to_dict() for outcome in self.outcomes],
        }

    def _repr_html_(self) -> str:
        frame = self.to_frame()[["metric", "slice", "demand", "value", "low", "high", "verdict"]]
        table = frame.to_html(index=False, float_format="{:.3g}".format, na_rep="")
        return f"<p><strong>{self.verdict}</strong> at {self.confidence:.0%} confidence</p>{table}"


def gate(report: Report, policy: Policy, baseline: Report | None = None) -> GateResult:
    """Hold a report against a policy, and against a baseline where rules ask for that.

    A report passes only if every rule of level "fail" passes (intersection-union: no adjustment);
    it fails if one of them fails after Holm's adjustment over all of them; else it is inconclusive,
    and `on_inconclusive` decides the exit code. Rules of level "warn" never decide. A rule with
    `max_regression` passes if the whole one-sided interval of the regression, paired by prompt, is
    at most that (non-inferiority with a stated margin).

    Raises
    ------
    UsageError
        If a rule names a metric that no audit has, or a slice that the report has not; if a rule
        has `max_regression` and there is no baseline, or the two share no prompt.
    """
    held = _Held.build(report, policy, baseline)
    outcomes = _adjust(
        [outcome for rule in policy.rules for outcome in held.outcomes(rule)], policy.confidence
    )
    deciding = {o.verdict for o in outcomes if o.rule.level == "fail"}
    verdict: Verdict = (
        "fail" if "fail" in deciding else "inconclusive" if "inconclusive" in deciding else "pass"
    )
    code = {"pass": EXIT_OK, "fail": EXIT_FAILED}.get(
        verdict if verdict != "inconclusive" else policy.on_inconclusive, EXIT_INCONCLUSIVE
    )
    return GateResult(
        verdict,
        code,
        policy.confidence,
        policy.on_inconclusive,
        report.record.model.name,
        tuple(outcomes),
    )


@dataclass(frozen=True)
class _Held:
    """A report being held against a policy."""

    report: Report
    pairing: Pairing | None
    confidence: float

    @classmethod
    def build(cls, report: Report, policy: Policy, baseline: Report | None) -> _Held:
        from rmaudit.comparison.pairing import Pairing

        asking = [rule.metric for rule in policy.rules if rule.max_regression is not None]
        if asking and baseline is None:
            raise UsageError(
                f"the rule on {asking[0]!r} has max_regression: say --baseline DIR, the report to "
                "compare with"
            )
        pairing = Pairing.of(baseline, report) if asking and baseline is not None else None
        return cls(report, pairing, policy.confidence)

    def outcomes(self, rule: Rule) -> Iterator[RuleOutcome]:
        """One for each demand of the rule, on each slice that it names."""
        metrics = metrics_of(self.report, rule)
        if isinstance(metrics, str):
            for demand in _demands(rule):
                yield _closed(rule, {}, demand, metrics)
            return
        for metric in metrics:
            _refuse_percentages(rule, metric.unit)
            if rule.bounded:
                yield self._value(metric, rule)
            if rule.max_regression is not None and self.pairing is not None:
                yield self._regression(metric, rule, self.pairing)

    def _value(self, metric: MetricRecord, rule: Rule) -> RuleOutcome:
        demand, law = _demands(rule)[0], law_of(metric)
        if law is None:
            why = f"undefined: {metric.reason}" if metric.value is None else "it has no interval"
            return _closed(rule, metric.slice, demand, why)
        return self._decided(rule, metric.slice, demand, law, rule.min, rule.max)

    def _regression(self, metric: MetricRecord, rule: Rule, pairing: Pairing) -> RuleOutcome:
        from rmaudit.comparison.pairing import key_of

        if metric.better == "none":
            raise UsageError(
                f"{rule.metric} is shown, not judged: max_regression needs a metric of which one "
                "direction is better"
            )
        demand = _demands(rule)[-1]
        change = pairing.change(key_of(metric), metric.confidence)
        if isinstance(change, str) or change.regression is None:
            why = change if isinstance(change, str) else "not positive: it has no logarithm"
            return _closed(rule, metric.slice, demand, f"not compared with the baseline: {why}")
        worse = change.regression
        interval = Law(
            worse.value,
            worse.low,
            worse.high,
            metric.confidence,
            change.n_prompts,
            exact=change.method == "exact",
        )
        return self._decided(rule, metric.slice, demand, interval, None, rule.max_regression)

    def _decided(
        self,
        rule: Rule,
        slice_: dict[str, str],
        demand: str,
        interval: Law,
        minimum: float | None,
        maximum: float | None,
    ) -> RuleOutcome:
        decision = decide(interval, minimum, maximum, self.confidence)
        return RuleOutcome(
            rule,
            slice_,
            demand,
            interval.value,
            (interval.low, interval.high),
            decision.verdict,
            decision.p_fail,
            decision.prompts_needed,
            interval.n_prompts,
            rule.reason or "",
            decision.bound,
        )


def metrics_of(report: Report, rule: Rule) -> list[MetricRecord] | str:
    """The numbers that a rule is on, or why the report does not hold them.

    Raises
    ------
    UsageError
        If no audit has the metric, or the report has not that slice of it.
    """
    metrics = [metric for metric in report.metrics() if metric.id == rule.metric]
    if not metrics and (official := _official(report, rule.metric)):
        return official
    if not metrics:
        return _why_absent(report, rule)
    metrics = [metric for metric in metrics if _meant(rule, metric.slice)]
    if not metrics:
        raise UsageError(f"{rule.metric}: the report has no slice {rule.slice or '(overall)'}")
    return metrics


def _meant(rule: Rule, slice_: dict[str, str]) -> bool:
    """Whether a rule is on a slice: "*" is every one, or every value of a named column."""
    if rule.slice == "*":
        return bool(slice_)
    wanted = rule.slice or {}
    return wanted.keys() == slice_.keys() and all(
        value in ("*", slice_[key]) for key, value in wanted.items()
    )


def _demands(rule: Rule) -> list[str]:
    """The demands in words: on the value, on the regression."""
    bounds = [
        f"at least {rule.min:g}" if rule.min is not None else "",
        f"at most {rule.max:g}" if rule.max is not None else "",
    ]
    demands = [", ".join(part for part in bounds if part)] if rule.bounded else []
    if rule.max_regression is not None:
        demands.append(f"at most {rule.max_regression:g} worse than the baseline")
    return demands


def _closed(rule: Rule, slice_: dict[str, str], demand: str, reason: str) -> RuleOutcome:
    """The failure of what was not measured."""
    return RuleOutcome(rule, slice_, demand, None, (None, None), "fail", 0.0, None, 0, reason)


def _refuse_percentages(rule: Rule, unit: str) -> None:
    """`UsageError` where a threshold is no share: at most 5 always holds, at least 60 never."""
    if unit not in SHARES:
        return
    for name in ("min", "max", "max_regression"):
        threshold = getattr(rule, name)
        if threshold is not None and abs(threshold) > 1:
            raise UsageError(
                f"{rule.metric}: {name} = {threshold:g} can decide nothing, since its unit is a "
                "share: 5% is 0.05"
            )


def _official(report: Report, metric: str) -> list[MetricRecord]:
    """A benchmark's official number by its own name: "rm-bench.domain.chat"."""
    suite, _, part = metric.partition(".")
    if report.suite is None or suite != report.suite["name"]:
        return []
    return [each for each in report.metrics() if each.slice == {"part": part}]


def _why_absent(report: Report, rule: Rule) -> str:
    """Why the report does not hold a metric; `UsageError` if no audit or benchmark has it."""
    audit = rule.metric.partition(".")[0]
    specs = metric_specs() | suite_specs()
    if rule.metric not in specs:
        own = [id_ for id_ in specs if id_.startswith(f"{audit}.")]
        known = own if audit in report.audits else specs
        raise UsageError(f"no metric is named {rule.metric!r}; {nearest(rule.metric, known)}")
    record = report.audits.get(audit)
    if record is None:
        return f"the audit {audit} was not asked for"
    if record.status == "ok":
        needs = "; ".join(f"{part.what} needs {part.needs}" for part in record.not_run)
        return f"not in the report: {needs or 'the audit did not measure it on these data'}"
    return f"the audit {audit} is {record.status.replace('_', ' ')}: {record.reason}"


def _adjust(outcomes: list[RuleOutcome], confidence: float) -> list[RuleOutcome]:
    """Holm over the deciding rules: a fail that does not survive it is inconclusive."""
    deciding = [i for i, o in enumerate(outcomes) if o.rule.level == "fail"]
    adjusted = holm([outcomes[i].p_fail for i in deciding])
    for i, p in zip(deciding, adjusted, strict=True):
        outcome = outcomes[i]
        if outcome.verdict != "fail" or p < 1 - confidence:
            outcomes[i] = replace(outcome, p_fail=p)
            continue
        level = (1 - confidence) * outcome.p_fail / p
        needed = prompts_to_survive(outcome.p_fail, level, outcome.n_prompts)
        outcomes[i] = replace(outcome, p_fail=p, verdict="inconclusive", prompts_needed=needed)
    return outcomes
