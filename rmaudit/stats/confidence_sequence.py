r"""Intervals that may be looked at after every observation: they hold at whatever time one stops.

For the mean of values in [0, 1]: the wealth of a gambler who bets that the mean is q and not m,
:math:`\prod_t (x_t q / m + (1 - x_t)(1 - q) / (1 - m))`, averaged over q above m, grows without
bound if the mean exceeds m, and is a nonnegative supermartingale if it does not. A mean m is left
out of the interval once the wealth against it has reached :math:`2 / \alpha` (Ville 1939;
Waudby-Smith & Ramdas 2023, arXiv 2010.09686; the mixture is Cover's universal portfolio with
Jeffreys' weights). So no number of looks makes the interval wrong more often than :math:`\alpha`.

For means whose size has no bound: the asymptotic sequence of Waudby-Smith et al. 2021
(arXiv 2103.06476, theorem 2.2), which widens an interval of the central limit theorem by what
looking costs.
"""

from __future__ import annotations

import math

import numpy as np

from rmaudit.results import Estimate
from rmaudit.typing import Array, Float

_BETS = np.sin(np.pi / 2 * (np.arange(64) + 0.5) / 64) ** 2  # quantiles of Jeffreys' prior
_MEANS = 200  # tried for the ends of an interval
_FEW = 16  # different values whose factors are kept: shares of a few keys, zeros and ones
_NEVER = -np.inf


class MeanSequence:
    """The mean of values in [0, 1], with an interval that holds at any time.

    Parameters
    ----------
    confidence
        Two-sided, of the whole sequence of intervals.
    limits
        Means, in (0, 1), that will be asked about by `p_at_most` and `p_at_least`.
    """

    def __init__(self, confidence: float = 0.95, limits: tuple[float, ...] = ()) -> None:
        if any(not 0 < limit < 1 for limit in limits):
            raise ValueError(f"a limit of a mean in [0, 1] must be inside it, not {limits}")
        self.confidence = confidence
        self.n = 0
        self._sum = 0.0
        grid = (np.arange(_MEANS) + 0.5) / _MEANS
        self._means = np.unique(np.concatenate([grid, limits]))
        self._log = np.zeros((self._means.size, _BETS.size))  # wealth of each bet on each mean
        self._factors: dict[float, Float] = {}  # log of what each bet is multiplied by, by value
        higher = self._means[:, None] < _BETS
        self._sides = (higher, ~higher)
        # The most that was won against "the mean is at most m" and "at least m".
        self._most = np.zeros((2, self._means.size))

    def update(self, values: Array) -> None:
        """Take further values, in [0, 1], each an observation of its own."""
        for x in np.asarray(values, dtype=np.float64).tolist():
            if not 0 <= x <= 1:
                raise ValueError(f"a value in [0, 1] is wanted, not {x}")
            self._log += self._factor(x)
            self.n += 1
            self._sum += x
        for side, bets in enumerate(self._sides):
            self._most[side] = np.maximum(self._most[side], _log_mean(self._log, bets))

    def _factor(self, x: float) -> Float:
        known = self._factors.get(x)
        if known is None:
            m = self._means[:, None]
            known = np.log(x * _BETS / m + (1 - x) * (1 - _BETS) / (1 - m))
            if len(self._factors) < _FEW:
                self._factors[x] = known
        return known

    @property
    def mean(self) -> float:
        """Of all values; NaN without any."""
        return self._sum / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The means that are not left out, from the lowest to the highest."""
        limit = math.log(2 / (1 - self.confidence))
        above, below = self._most >= limit
        # What speaks against a mean speaks against all beyond it: the first that is not left out.
        low = float(self._means[above].max(initial=0.0))
        high = float(self._means[below].min(initial=1.0))
        return min(low, self.mean), max(high, self.mean)

    def p_at_most(self, limit: float) -> float:
        """p-value of "the mean is at most `limit`", valid at any time."""
        return self._p(0, limit)

    def p_at_least(self, limit: float) -> float:
        """p-value of "the mean is at least `limit`", valid at any time."""
        return self._p(1, limit)

    def _p(self, side: int, limit: float) -> float:
        place = np.flatnonzero(self._means == limit)
        if not place.size:
            raise ValueError(f"{limit} is none of the limits that were named")
        return float(np.exp(-self._most[side, place[0]]))

    def estimate(self) -> Estimate:
        """Mean and interval; one observation a prompt."""
        if not self.n:
            return Estimate.undefined("no rows", confidence=self.confidence)
        low, high = self.interval
        return Estimate(
            self.mean,
            low,
            high,
            self.confidence,
            "confidence sequence",
            self.n,
            self.n,
            bounds=(0, 1),
        )


def _log_mean(log_wealth: Float, bets: np.ndarray) -> Float:
    """Log of the mean wealth of the bets of one side, by mean; 0 (no gain) where there is none."""
    kept = np.where(bets, log_wealth, _NEVER)
    top = kept.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    count = np.maximum(bets.sum(axis=1), 1)
    total = np.exp(kept - top).sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(total > 0, np.log(total / count) + top[:, 0], 0.0))


def looked_at(n: int, confidence: float, planned: int = 50) -> float:
    """By how many standard errors an interval must reach to hold at all of many looks.

    Parameters
    ----------
    n
        Observations so far.
    confidence
        Two-sided, of the whole sequence.
    planned
        Observations at which the interval is to be tightest.
    """
    growth = n * _tuning(confidence, planned)
    return math.sqrt((growth + 1) / growth * math.log((growth + 1) / (1 - confidence) ** 2))


def p_looked_at(errors: float, n: int, confidence: float, planned: int = 50) -> float:
    """One-sided p-value of a value that many standard errors off, after many looks.

    `confidence` is that of the intervals, by which the sequence is tuned.
    """
    if errors <= 0:
        return 1.0
    growth = n * _tuning(confidence, planned)
    log_p = 0.5 * math.log(growth + 1) - errors**2 * growth / (2 * (growth + 1))
    return min(1.0, math.exp(min(log_p, 0.0)))


def _tuning(confidence: float, planned: int) -> float:
    spent = -2 * math.log(1 - confidence)
    return (spent + math.log(spent) + 1) / planned
