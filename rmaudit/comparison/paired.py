r"""One number in two audits: its difference, paired by prompt.

An influence is what each prompt contributes to an estimate's error, so that the squared standard
error is the sum of squares (`rmaudit.report.influence`). On the same prompts the two errors share
most of what a prompt is, and the difference of two values has the squared standard error
:math:`\sum_c (b_c - a_c)^2`, which no covariance has to be estimated for.

- Where the audits do not have the same prompts, each value is first moved to the shared ones by
  one step, :math:`v + (k / k_s) \sum_{c \in S} a_c`, for `k` prompts that contribute, `k_s` of them
  shared: exact for a mean over prompts (but for the correction of its standard error, one part in
  two `k`), first order for the others.
- Where an influence is lacking, the two are taken as independent and their intervals are combined
  (MOVER: Zou & Donner 2008, Statistics in Medicine 27), which on shared prompts is as a rule
  wider than it need be.
- Shares and probabilities get :math:`2 / (k + 2)^2` on top of the squared error, as if one prompt
  more had gone each way (Bonett & Price 2012, Journal of Educational and Behavioral Statistics
  37): models that agree on all of ten prompts are not shown to be equal.

A regression is the growth of what is bad about a number: of :math:`-v` (better: higher), `v`
(lower), :math:`|v|` (zero), :math:`|\log v|` (one). Where both values are three standard errors or
more from the point at which an absolute value turns, its interval is by the delta method. Nearer,
:math:`|A|` is overstated by noise and its sign is not known, so the upper end is that of
:math:`|b - a|`, which :math:`|b| - |a|` cannot exceed, and the lower end allows for either sign:
at 5 %, neither end is missed in more than 5.3 % of simulated pairs, where the delta method alone
misses a third.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from rmaudit.report.schema import MetricRecord
from rmaudit.results import Better
from rmaudit.typing import Float

KNOWN = 3.0  # standard errors from its turning point at which the sign of a value is known
BOUNDED = ("probability", "share")  # units in which one prompt can move a mean by at most 1 / k


class Influence(NamedTuple):
    """One number's influence on the shared prompts, (n_shared,), and how many prompts it has."""

    shared: Float
    contributing: int  # prompts whose influence is not zero, shared or not


class Contrast(NamedTuple):
    """A difference with its two-sided interval and its two-sided p-value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Change:
    """One number in two audits; `first` and `second` are its values on the shared prompts."""

    first: float
    second: float
    difference: Contrast  # second minus first
    regression: Contrast | None  # positive: worse; None where no direction is better
    n_prompts: int
    method: str  # "paired", "independent", "exact"


def change(
    a: MetricRecord,
    b: MetricRecord,
    influence_a: Influence | None,
    influence_b: Influence | None,
    confidence: float,
) -> Change | str:
    """The change from `a` to `b`, or why there is none to be had.

    Parameters
    ----------
    a, b
        The same metric and slice in the two reports.
    influence_a, influence_b
        On the same shared prompts; None where the method has none.
    confidence
        Two-sided.
    """
    first, second = _number(a, confidence), _number(b, confidence)
    if first is None or second is None:
        metric, which = (a, "first") if first is None else (b, "second")
        if first is None and second is None and a.reason == b.reason is not None:
            return f"undefined in both reports: {a.reason}"
        if metric.reason is None:
            return f"no interval in the {which} report"
        return f"undefined in the {which} report: {metric.reason}"
    if a.better == "one" and min(first.value, second.value) <= 0:
        return "not positive: its logarithm does not exist"
    prompts = min(a.n_prompts, b.n_prompts)
    unpaired = influence_a is None or influence_b is None
    # A one-sided bound (safe KL) stands without a width: that is no certainty to compare by.
    bounds = unpaired and first.low == first.high and second.low == second.high
    if bounds or a.method == b.method == "exact":
        return _exact(first.value, second.value, a.better, prompts)
    if influence_a is None or influence_b is None:
        return _independent(first, second, a.better, prompts, confidence)
    moved_a = moved(first.value, influence_a, a.n_prompts)
    moved_b = moved(second.value, influence_b, b.n_prompts)
    if min(moved_a.n_prompts, moved_b.n_prompts) < 2:
        return "fewer than two shared prompts contribute to it"
    return _paired(moved_a, moved_b, a.better, a.unit in BOUNDED, confidence)


class _Number(NamedTuple):
    """A value and its interval."""

    value: float
    low: float
    high: float


class Moved(NamedTuple):
    """A value on the shared prompts, its influence there, and how many of them it is from."""

    value: float
    influence: Float
    n_prompts: int


def _number(metric: MetricRecord, confidence: float) -> _Number | None:
    """The value and interval, at another confidence than the report's where need be."""
    value, (low, high) = metric.value, metric.ci
    if value is None or low is None or high is None:
        return None
    scale = float(ndtri((1 + confidence) / 2) / ndtri((1 + metric.confidence) / 2))
    return _Number(value, value - scale * (value - low), value + scale * (high - value))


def moved(value: float, influence: Influence, n_prompts: int) -> Moved:
    """A value moved by one step from a run's own prompts to the shared ones."""
    contributes = influence.shared != 0
    count = int(contributes.sum())
    if count == influence.contributing:
        return Moved(value, influence.shared, n_prompts)
    share = count / influence.contributing
    if count == 0:
        return Moved(math.nan, influence.shared, 0)
    total = float(influence.shared.sum())
    centred = np.where(contributes, (influence.shared - total / count) / share, 0.0)
    return Moved(value + total / share, centred, round(n_prompts * share))


def _paired(a: Moved, b: Moved, better: Better, bounded: bool, confidence: float) -> Change | str:
    prompts = min(a.n_prompts, b.n_prompts)
    floor = 2 / (prompts + 2) ** 2 if bounded else 0.0

    def contrast(value: float, slope_a: float, slope_b: float) -> Contrast:
        squares = float(np.sum((slope_b * b.influence - slope_a * a.influence) ** 2))
        error = math.sqrt(squares + floor)
        reach = float(stdtrit(prompts - 1, (1 + confidence) / 2)) * error
        p = 2 * float(stdtr(prompts - 1, -abs(value) / error)) if error > 0 else float(value == 0)
        return Contrast(value, value - reach, value + reach, p)

    if better == "one" and min(a.value, b.value) <= 0:
        return "not positive: its logarithm does not exist"
    regression = None
    if better != "none":
        growth = _badness(better, b.value) - _badness(better, a.value)
        slopes = _slope(better, a.value), _slope(better, b.value)
        regression = contrast(growth, *slopes)
        if better in ("zero", "one") and not (_turned(better, a) and _turned(better, b)):
            along, against = (
                contrast(growth, abs(slopes[0]), abs(slopes[1])),
                contrast(growth, -abs(slopes[0]), abs(slopes[1])),
            )
            apart = abs(_straight(better, b.value) - _straight(better, a.value))
            high = apart + along.high - growth
            regression = regression._replace(low=min(along.low, against.low), high=high)
    difference = contrast(b.value - a.value, 1.0, 1.0)
    return Change(a.value, b.value, difference, regression, prompts, "paired")


def _independent(a: _Number, b: _Number, better: Better, prompts: int, confidence: float) -> Change:
    regression = None
    # The logarithm of an interval that reaches zero has no lower end.
    if better != "none" and (better != "one" or min(a.low, b.low) > 0):
        regression = _mover(_bad_number(better, a), _bad_number(better, b), confidence)
    difference = _mover(a, b, confidence)
    return Change(a.value, b.value, difference, regression, prompts, "independent")


def _exact(a: float, b: float, better: Better, prompts: int) -> Change:
    """Numbers that are measured and not estimated: they differ or they don't, by chance neither."""
    regression = None
    if better != "none":
        growth = _badness(better, b) - _badness(better, a)
        regression = Contrast(growth, growth, growth, math.nan)
    difference = Contrast(b - a, b - a, b - a, math.nan)
    return Change(a, b, difference, regression, prompts, "exact")


def _mover(a: _Number, b: _Number, confidence: float) -> Contrast:
    value = b.value - a.value
    below = math.hypot(b.value - b.low, a.high - a.value)
    above = math.hypot(b.high - b.value, a.value - a.low)
    # The half-width on the side of zero, as a normal quantile times a standard error.
    toward = below if value > 0 else above
    if toward == 0:
        return Contrast(value, value, value, float(value == 0))
    ratio = abs(value) / toward * ndtri((1 + confidence) / 2)
    return Contrast(value, value - below, value + above, 2 * float(ndtr(-ratio)))


def _bad_number(better: Better, number: _Number) -> _Number:
    """What is bad about a number, and its interval."""
    images = [_badness(better, each) for each in number]
    turn = {"zero": 0.0, "one": 1.0}.get(better, math.inf)
    least = 0.0 if number.low <= turn <= number.high else min(images)
    return _Number(images[0], least, max(images))


def _badness(better: Better, value: float) -> float:
    if better == "higher":
        return -value
    if better == "zero":
        return abs(value)
    if better == "one":
        return abs(math.log(value))
    return value


def _straight(better: Better, value: float) -> float:
    """What `_badness` takes the absolute value of."""
    return math.log(value) if better == "one" else value


def _turned(better: Better, number: Moved) -> bool:
    """Whether it is known on which side of the turning point the true value lies."""
    error = abs(_slope(better, number.value)) * math.sqrt(float(np.sum(number.influence**2)))
    return abs(_straight(better, number.value)) > KNOWN * error


def _slope(better: Better, value: float) -> float:
    """Derivative of what is bad about a number."""
    if better == "higher":
        return -1.0
    if better == "zero":
        return math.copysign(1.0, value)
    if better == "one":
        return math.copysign(1.0, math.log(value)) / value
    return 1.0
