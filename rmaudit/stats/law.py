r"""One-sided bounds and p-values of a stated interval, by the law that the interval was made with.

An interval at 95 % says more than its two ends: with the degrees of freedom and the scale it was
made on, it gives the bound at any other confidence and the p-value of any threshold. Scales:

- none: :math:`v \pm t_{df} \, SE` (Student);
- bounds (a, b): the score (Wilson) interval of a value in [a, b], with Student's quantile. Its
  ends give the effective size back: with s and e the value and an end as shares of the range,
  :math:`(s - e)^2 = q \, e (1 - e)`, and q is the squared quantile over that size. Near a bound
  a share is skewed and no Student law holds: the exact binomial bound of that effective size
  (Clopper & Pearson 1934; Korn & Graubard 1998) is taken where it is further out;
- bounds (0, inf): Student on the logarithm.

Where every prompt has the same value an unbounded interval has no width, which is no certainty:
n prompts on one side of a threshold have the p-value of the sign test, :math:`2^{-n}`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betainc, betaincinv, stdtr, stdtrit

from rmaudit.results import Estimate


@dataclass(frozen=True, slots=True)
class Law:
    """A value and its two-sided interval, as a report states them, with the law behind them."""

    value: float
    low: float
    high: float
    confidence: float
    n_prompts: int
    df: float | None = None  # of Student's t; None: one less than the prompts
    bounds: tuple[float, float] | None = None  # of the value, where the interval is made for them
    # For a count of things that were tested one by one: entry k is the p-value of "at most k".
    more_than: tuple[float, ...] | None = None
    exact: bool = False  # measured on all there is: no sampling error
    count: bool = False  # a number of things: never a normal variable

    @classmethod
    def of(cls, estimate: Estimate) -> Law:
        """The law of an estimate that is defined."""
        return cls(
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.confidence,
            estimate.n_clusters,
            estimate.df,
            estimate.bounds,
            estimate.more_than,
            estimate.method == "exact",
        )

    @property
    def freedom(self) -> float:
        """Degrees of freedom, at least 1."""
        return max(1.0, self.n_prompts - 1.0 if self.df is None else self.df)

    def lower(self, confidence: float) -> float:
        """One-sided lower bound, at any confidence above one half."""
        return self._bound(self.low, confidence, -1)

    def upper(self, confidence: float) -> float:
        """One-sided upper bound, at any confidence above one half."""
        return self._bound(self.high, confidence, 1)

    def p_at_most(self, size: float) -> float:
        """p-value of "the true value is at most `size`": small where it is larger for certain."""
        if self.more_than is not None:
            k = math.floor(size)
            return 0.0 if k < 0 else self.more_than[k] if k < len(self.more_than) else 1.0
        return self._p(size, above=True)

    def p_at_least(self, size: float) -> float:
        """p-value of "the true value is at least `size`": small where it is less for certain."""
        return self._p(size, above=False)

    def _p(self, size: float, *, above: bool) -> float:
        if self.value == size or (self.value > size) != above:  # nothing speaks against it
            no_width = (self.low if size < self.value else self.high) == self.value
            return 1.0 if no_width or self._whole else self._tail(size, above=above)
        if self._whole:
            beyond = self.low > size if above else self.high < size
            return (1 - self.confidence) / 2 if beyond else 1.0
        if self._flat:
            return 0.0 if self.exact else 0.5**self.n_prompts
        return self._tail(size, above=above)

    def _tail(self, size: float, *, above: bool) -> float:
        statistic = self._statistic(size)
        p = float(stdtr(self.freedom, -statistic if above else statistic))
        end = self.low if size < self.value else self.high
        square, chance = self._square(end), self._share(size)
        if not square or not 0 < chance < 1:
            return p
        draws = self._quantile((1 + self.confidence) / 2) ** 2 / square
        return max(p, _binomial_tail(self._share(self.value), draws, chance, 1 if above else -1))

    @property
    def _whole(self) -> bool:
        """A count without p-values of its own: only its stated ends can be used."""
        return self.count or self.more_than is not None

    @property
    def _flat(self) -> bool:
        return self.low == self.value == self.high

    def _quantile(self, confidence: float) -> float:
        return float(stdtrit(self.freedom, confidence))

    def _statistic(self, size: float) -> float:
        """Student's statistic of the value against `size`; positive where the value is above."""
        end = self.low if size < self.value else self.high
        stated = self._quantile((1 + self.confidence) / 2)
        if end == self.value:  # no width on that side: the stated interval decides, and no more
            return math.copysign(stated, self.value - size)
        if self._positive(end):
            if size <= 0:
                return math.inf
            return math.log(self.value / size) / abs(math.log(self.value / end)) * stated
        square = self._square(end)
        if square is not None:
            share, other = self._share(self.value), self._share(size)
            if not 0 < other < 1:
                return math.copysign(math.inf, self.value - size)
            return (share - other) / math.sqrt(square * other * (1 - other)) * stated
        return (self.value - size) / abs(self.value - end) * stated

    def _bound(self, end: float, confidence: float, side: int) -> float:
        if self._whole:
            if side < 0 and self.more_than is not None:
                return float(sum(p <= 1 - confidence for p in self.more_than))
            return end
        if self._flat:
            sure = self.exact or 0.5**self.n_prompts <= 1 - confidence
            return self.value if sure else side * math.inf
        if end == self.value:
            return end
        stated = self._quantile((1 + self.confidence) / 2)
        scale = self._quantile(confidence) / stated
        if self._positive(end):
            return float(self.value * (end / self.value) ** scale)
        square = self._square(end)
        if square is None or self.bounds is None:
            return self.value + (end - self.value) * scale
        share, size = self._share(self.value), stated**2 / square
        square *= scale**2
        centre = (share + square / 2) / (1 + square)
        half = math.sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
        start, stop = self.bounds
        ends = (centre + side * half, _binomial_bound(share, size, confidence, side))
        moved = max(ends) if side > 0 else min(ends)
        return start + (stop - start) * min(max(moved, 0.0), 1.0)

    def _positive(self, end: float) -> bool:
        """Whether the interval was made on the logarithm."""
        return self.bounds is not None and math.isinf(self.bounds[1]) and min(end, self.value) > 0

    def _share(self, x: float) -> float:
        """A value's place in the bounds, 0 to 1."""
        start, stop = self.bounds or (0.0, 1.0)
        return (x - start) / (stop - start)

    def _square(self, end: float) -> float | None:
        """Squared quantile over the effective size of a score interval; None of other intervals."""
        if self.bounds is None or math.isinf(self.bounds[1]):
            return None
        share, edge = self._share(self.value), self._share(end)
        if not (0 < edge < 1 and 0 <= share <= 1):
            return None
        return (share - edge) ** 2 / (edge * (1 - edge))


def _binomial_tail(share: float, size: float, chance: float, side: int) -> float:
    """Chance of a share at least (side 1) or at most (-1) that large among `size` draws."""
    if side > 0:
        share, chance = 1 - share, 1 - chance
    hits = share * size
    return 1.0 if hits >= size else float(betainc(size - hits, hits + 1, 1 - chance))


def _binomial_bound(share: float, size: float, confidence: float, side: int) -> float:
    """The chance at which that tail is ``1 - confidence``: an upper (1) or a lower (-1) bound."""
    if side < 0:
        return 1 - _binomial_bound(1 - share, size, confidence, 1)
    hits = share * size
    return 1.0 if hits >= size else float(betaincinv(hits + 1, size - hits, confidence))


def p_at_most(estimate: Estimate, size: float) -> float:
    """p-value of "the true value is at most `size`"; 1 for an undefined estimate."""
    return Law.of(estimate).p_at_most(size) if estimate.defined else 1.0


def p_at_least(estimate: Estimate, size: float) -> float:
    """p-value of "the true value is at least `size`"; 1 for an undefined estimate."""
    return Law.of(estimate).p_at_least(size) if estimate.defined else 1.0


def p_within(estimate: Estimate, size: float) -> float:
    """p-value of "the true value is within `size` of zero", two-sided (Bonferroni over the two)."""
    return min(1.0, 2 * min(p_at_most(estimate, size), p_at_least(estimate, -size)))
