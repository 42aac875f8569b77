r"""Rewards of a benchmark under a rule, and official numbers with what they are made of.

Nearly every official number is a weighted sum of ratios of sums over items,
:math:`\sum_k w_k \sum_i x_{ki} / \sum_i d_{ki}`. A `Number` keeps these terms by cluster beside the
value, so that one method gives intervals and paired comparisons to all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmaudit.results import NO_INTERVAL, Estimate
from rmaudit.stats.intervals import cluster_ratios
from rmaudit.suites.item import Item
from rmaudit.typing import Float

NO_ROWS = "no rows of it in the data"
ALL_MISSING = "every row of it has a missing reward"


class Term(NamedTuple):
    """A weighted ratio of sums over clusters, (n_clusters,) each."""

    weight: float
    numerator: Float
    denominator: Float


@dataclass(frozen=True)
class Number:
    """An official number; NaN with a reason where its rule gives none.

    `terms` add up to the value. A number without terms has no interval.
    """

    value: float
    terms: tuple[Term, ...] = ()
    n: int = 0  # rows
    reason: str | None = None

    @classmethod
    def none(cls, reason: str) -> Number:
        """What the rule gives no number for."""
        return cls(math.nan, reason=reason)

    @property
    def defined(self) -> bool:
        """Whether the rule gives a number."""
        return not math.isnan(self.value)

    def estimate(self, confidence: float) -> Estimate:
        """The value with its interval, cluster-robust, or with the reason why it has none."""
        if not self.defined:
            return Estimate.undefined(self.reason or NO_ROWS, n=self.n, confidence=confidence)
        if not self.terms:
            return Estimate(self.value, math.nan, math.nan, confidence, NO_INTERVAL, self.n, self.n)
        codes = np.arange(len(self.terms[0].numerator))
        bounds = (0.0, 1.0) if 0 <= self.value <= 1 else None
        found = cluster_ratios(self.terms, codes, confidence=confidence, bounds=bounds)
        if not found.defined:
            nan = math.nan
            return Estimate(self.value, nan, nan, confidence, NO_INTERVAL, self.n, found.n_clusters)
        return replace(found, value=self.value, n=self.n)


def mean_of(
    numbers: Iterable[Number], weights: Sequence[float] | None = None, *, skip: bool = False
) -> Number:
    """The weighted mean of numbers, by default the plain one.

    Parameters
    ----------
    numbers, weights
        What is averaged. Weights are divided by their sum.
    skip
        Leave out numbers that are undefined, instead of being undefined with the first of them.
    """
    pairs = list(zip(numbers, weights, strict=True)) if weights else [(n, 1.0) for n in numbers]
    if skip:
        pairs = [(number, weight) for number, weight in pairs if number.defined]
    if not pairs:
        return Number.none(NO_ROWS)
    absent = next((number for number, _ in pairs if not number.defined), None)
    if absent is not None:
        return Number.none(absent.reason or NO_ROWS)
    total = sum(weight for _, weight in pairs)
    return combined([(weight / total, number) for number, weight in pairs])


def whole(numbers: Sequence[Number]) -> dict[str, Number]:
    """The score, which needs all of them, and the mean of those that are there."""
    return {"score": mean_of(numbers), "score_present": mean_of(numbers, skip=True)}


def combined(parts: Sequence[tuple[float, Number]]) -> Number:
    """The sum of numbers times weights."""
    absent = next((number for _, number in parts if not number.defined), None)
    if absent is not None:
        return Number.none(absent.reason or NO_ROWS)
    terms: tuple[Term, ...] = ()
    if all(number.terms for _, number in parts):
        terms = tuple(
            term._replace(weight=weight * term.weight)
            for weight, number in parts
            for term in number.terms
        )
    value = math.fsum(weight * number.value for weight, number in parts)
    return Number(value, terms, sum(number.n for _, number in parts))


@dataclass(frozen=True)
class Scored:
    """The items of a benchmark and a reward for each response.

    `fair` is our own rule: a tie is worth one half (or 1/k of k), and what has no finite reward is
    left out. Without it the official one: a tie is lost, and so is what is compared with NaN.
    `recorded` says that the rewards are those of the file, whose verdicts count as well.
    """

    items: Sequence[Item]
    rewards: Sequence[Float]  # (n_responses,) each, NaN where missing
    clusters: NDArray[np.int64]  # of each item, codes from 0
    recorded: bool = False
    fair: bool = False
    threshold: float | None = None  # a step is good above it; None: see `suites.steps.threshold`
    # Of a model that compares: P(each response is better) with that one shown first, (2,) an item.
    shown_first: Sequence[Float] | None = None

    def win(self, better: float, worse: float) -> float:
        """1 if the better response has the larger reward, else 0; what a tie is worth depends."""
        if not self.fair:
            return float(better > worse)
        if math.isnan(better) or math.isnan(worse):
            return math.nan
        return 1.0 if better > worse else 0.5 if better == worse else 0.0

    def beats_all(self, better: float, others: Sequence[float]) -> float:
        """1 if the better response beats every other one strictly; fair: 1/k among the k best."""
        if not self.fair:
            return float(all(better > other for other in others))
        if math.isnan(better) or any(map(math.isnan, others)):
            return math.nan
        if any(other > better for other in others):
            return 0.0
        return 1 / (1 + sum(other == better for other in others))

    def by(self, key: Callable[[Item], str]) -> dict[str, list[int]]:
        """Places of the items by what the key gives, in order of appearance."""
        groups: dict[str, list[int]] = {}
        for place, item in enumerate(self.items):
            groups.setdefault(key(item), []).append(place)
        return groups

    def mean(self, places: Sequence[int], values: Sequence[float], what: str = "it") -> Number:
        """The mean of values over rows, each the item's at that place; NaN under `fair` is out.

        `what` names the rows where there are none.
        """
        if not len(places):
            return Number.none(f"no rows of {what} in the data")
        return self.ratio(places, values, [1.0] * len(places))

    def ratio(
        self, places: Sequence[int], numerator: Sequence[float], denominator: Sequence[float]
    ) -> Number:
        """The sum of numerators over that of denominators."""
        at = np.asarray(places, dtype=np.int64)
        num, den = as_array(numerator), as_array(denominator)
        if self.fair and num.size:
            known = ~np.isnan(num)
            at, num, den = at[known], num[known], den[known]
        total = float(den.sum()) if den.size else 0.0
        if total == 0:
            return Number.none(ALL_MISSING if len(places) else NO_ROWS)
        count = int(self.clusters.max()) + 1
        codes = self.clusters[at]
        sums = [np.bincount(codes, each, count).astype(np.float64) for each in (num, den)]
        term = Term(1.0, *sums)
        return Number(float(num.sum()) / total, (term,), int(at.size))


Official = Mapping[str, Number]


def as_array(values: Sequence[float]) -> Float:
    """Numbers as an array."""
    return np.asarray(values, dtype=np.float64)
