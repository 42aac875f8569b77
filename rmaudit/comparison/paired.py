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

`Regression` is the growth of what is bad about a number: of :math:`-v` (better: higher), `v`
(lower), :math:`|v|` (zero), :math:`|\log v|` (one). Its interval is by the delta method, which is
wide enough unless both values are within their error of the point where the absolute value turns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from rmaudit.report.schema import MetricRecord
from rmaudit.results import Better

Float = NDArray[np.float64]
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
    for metric, which in ((a, "first"), (b, "second")):
        if metric.value is None:
            return f"undefined in the {which}: {metric.reason}"
        if None in metric.ci:
            return f"no interval in the {which}"
    if a.method == "exact" and b.method == "exact":
        return _exact(a, b)
    if influence_a is None or influence_b is None:
        return _independent(a, b, confidence)
    return _paired(a, b, influence_a, influence_b, confidence)


def _paired(
    a: MetricRecord, b: MetricRecord, ia: Influence, ib: Influence, confidence: float
) -> Change | str:
    moved_a, moved_b = _moved(a, ia), _moved(b, ib)
    if moved_a is None or moved_b is None:
        return "no shared prompt contributes to it"
    (value_a, part_a), (value_b, part_b) = moved_a, moved_b
    prompts = min(a.n_prompts, b.n_prompts, ia.shared.size)
    if prompts < 2:
        return "one shared prompt: no interval"
    floor = 2 / (prompts + 2) ** 2 if a.unit in BOUNDED else 0.0

    def contrast(value: float, slope_a: float, slope_b: float) -> Contrast:
        squares = float(np.sum((slope_b * part_b - slope_a * part_a) ** 2))
        scale = max(slope_a**2, slope_b**2)
        error = math.sqrt(squares + scale * floor)
        reach = float(stdtrit(prompts - 1, (1 + confidence) / 2)) * error
        p = 2 * float(stdtr(prompts - 1, -abs(value) / error)) if error > 0 else float(value == 0)
        return Contrast(value, value - reach, value + reach, p)

    regression = None
    if (bad := _badness(a.better)) is not None:
        if a.better == "one" and min(value_a, value_b) <= 0:
            return "not positive: its logarithm does not exist"
        growth = bad(value_b) - bad(value_a)
        regression = contrast(growth, _slope(a.better, value_a), _slope(a.better, value_b))
    difference = contrast(value_b - value_a, 1.0, 1.0)
    return Change(value_a, value_b, difference, regression, prompts, "paired")


def _moved(metric: MetricRecord, influence: Influence) -> tuple[float, Float] | None:
    """The value on the shared prompts and its influence there; None if none contributes."""
    assert metric.value is not None
    contributes = influence.shared != 0
    count = int(contributes.sum())
    if count == influence.contributing:
        return metric.value, influence.shared
    if count == 0:
        return None
    factor = influence.contributing / count
    total = float(influence.shared.sum())
    centred = np.where(contributes, factor * (influence.shared - total / count), 0.0)
    return metric.value + factor * total, centred


def _independent(a: MetricRecord, b: MetricRecord, confidence: float) -> Change:
    first, second = _ends(a, confidence), _ends(b, confidence)
    regression = None
    if _badness(a.better) is not None and (a.better != "one" or min(first[1], second[1]) > 0):
        regression = _mover(_bad_ends(a.better, first), _bad_ends(a.better, second), confidence)
    prompts = min(a.n_prompts, b.n_prompts)
    difference = _mover(first, second, confidence)
    return Change(first[0], second[0], difference, regression, prompts, "independent")


def _exact(a: MetricRecord, b: MetricRecord) -> Change:
    """Numbers that are measured and not estimated: they differ or they don't, by chance neither."""
    assert a.value is not None
    assert b.value is not None
    bad = _badness(a.better)
    growth = math.nan if bad is None else bad(b.value) - bad(a.value)
    difference = b.value - a.value
    return Change(
        a.value,
        b.value,
        Contrast(difference, difference, difference, math.nan),
        None if bad is None else Contrast(growth, growth, growth, math.nan),
        min(a.n_prompts, b.n_prompts),
        "exact",
    )


def _ends(metric: MetricRecord, confidence: float) -> tuple[float, float, float]:
    """Value and interval, at another confidence than the report's where need be."""
    low, high = metric.ci
    assert metric.value is not None
    assert low is not None
    assert high is not None
    scale = float(ndtri((1 + confidence) / 2) / ndtri((1 + metric.confidence) / 2))
    value = metric.value
    return value, value - scale * (value - low), value + scale * (high - value)


def _mover(
    a: tuple[float, float, float], b: tuple[float, float, float], confidence: float
) -> Contrast:
    value = b[0] - a[0]
    below = math.hypot(b[0] - b[1], a[2] - a[0])
    above = math.hypot(b[2] - b[0], a[0] - a[1])
    # The half-width on the side of zero, as a normal quantile times a standard error.
    toward = below if value > 0 else above
    if toward == 0:
        return Contrast(value, value, value, float(value == 0))
    ratio = abs(value) / toward * ndtri((1 + confidence) / 2)
    return Contrast(value, value - below, value + above, 2 * float(ndtr(-ratio)))


def _bad_ends(better: Better, ends: tuple[float, float, float]) -> tuple[float, float, float]:
    """Value and interval of what is bad about a number."""
    bad = _badness(better)
    assert bad is not None
    value, low, high = ends
    turns = {"zero": 0.0, "one": 1.0}.get(better)
    images = [bad(low), bad(high), bad(value)]
    least = 0.0 if turns is not None and low <= turns <= high else min(images)
    return bad(value), least, max(images)


def _badness(better: Better) -> Callable[[float], float] | None:
    functions: dict[Better, Callable[[float], float]] = {
        "higher": lambda value: -value,
        "lower": lambda value: value,
        "zero": abs,
        "one": lambda value: abs(math.log(value)),
    }
    return functions.get(better)


def _slope(better: Better, value: float) -> float:
    """Derivative of what is bad about a number."""
    if better == "higher":
        return -1.0
    if better == "zero":
        return math.copysign(1.0, value)
    if better == "one":
        return math.copysign(1.0, math.log(value)) / value
    return 1.0
