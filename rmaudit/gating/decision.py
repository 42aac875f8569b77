"""One rule against one interval: pass, fail or inconclusive.

Pass if the whole one-sided interval is on the good side of the threshold, fail if it is wholly on
the bad side, else inconclusive, with the prompts that would settle it. Passes need no adjustment:
the report passes only if every rule does (intersection-union test, Berger 1982). Fails are
Holm-adjusted over the rules (`holm`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from scipy.special import ndtr, ndtri

Verdict = Literal["fail", "inconclusive", "pass"]  # worst first


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and its two-sided interval, as a report states them."""

    value: float
    low: float
    high: float
    confidence: float
    n_prompts: int

    def lower(self, confidence: float) -> float:
        """One-sided lower bound at another confidence."""
        return self.value - (self.value - self.low) * self._rescale(confidence)

    def upper(self, confidence: float) -> float:
        """One-sided upper bound at another confidence."""
        return self.value + (self.high - self.value) * self._rescale(confidence)

    def _rescale(self, confidence: float) -> float:
        # Each half-width is taken as a normal quantile times a standard error of that side, so
        # that an interval stated at 95 % two-sided yields any one-sided bound.
        return float(ndtri(confidence) / ndtri((1 + self.confidence) / 2))


@dataclass(frozen=True, slots=True)
class Decision:
    """What a bound decides. `p_fail` is the p-value against "the threshold is met"."""

    verdict: Verdict
    p_fail: float
    prompts_needed: int | None  # only when inconclusive and more prompts could settle it


def decide(
    interval: Interval, minimum: float | None, maximum: float | None, confidence: float
) -> Decision:
    """The worse of the two bounds' decisions; a rule with both must pass both."""
    decisions = []
    if minimum is not None:
        decisions.append(_above(interval, minimum, confidence))
    if maximum is not None:
        mirrored = Interval(
            -interval.value,
            -interval.high,
            -interval.low,
            interval.confidence,
            interval.n_prompts,
        )
        decisions.append(_above(mirrored, -maximum, confidence))
    worst = min(decisions, key=lambda d: get_args(Verdict).index(d.verdict))
    # Two bounds are two chances to fail: Bonferroni within the rule.
    p_fail = min(1.0, len(decisions) * min(d.p_fail for d in decisions))
    return Decision(worst.verdict, p_fail, worst.prompts_needed)


def _above(interval: Interval, threshold: float, confidence: float) -> Decision:
    distance = interval.value - threshold
    p_fail = _p_below(interval, threshold)
    if interval.lower(confidence) >= threshold:
        return Decision("pass", p_fail, None)
    if interval.upper(confidence) < threshold:
        return Decision("fail", p_fail, None)
    half_width = (
        interval.value - interval.lower(confidence)
        if distance > 0
        else interval.upper(confidence) - interval.value
    )
    # The half-width shrinks with the root of the prompts; at the threshold no number settles it.
    needed = (
        None
        if distance == 0 or half_width == 0
        else math.ceil(interval.n_prompts * (half_width / distance) ** 2)
    )
    return Decision("inconclusive", p_fail, needed)


def _p_below(interval: Interval, threshold: float) -> float:
    """One-sided p-value of "the metric is at least the threshold"."""
    half_width = interval.high - interval.value
    if half_width <= 0:
        return 0.0 if interval.value < threshold else 1.0
    error = half_width / ndtri((1 + interval.confidence) / 2)
    return float(ndtr((interval.value - threshold) / error))


def prompts_to_survive(p: float, level: float, n_prompts: int) -> int:
    """Prompts at which a p-value would fall to a level, were the effect what it is now."""
    return math.ceil(n_prompts * float(ndtri(level) / ndtri(p)) ** 2)
