r"""Tests that may be looked at after every step: the chance of any false alarm is bounded.

A bet against "the conditional mean of x is at most m" multiplies its capital by
:math:`1 + \lambda (x_t - m)` at each step; under that hypothesis the capital is a nonnegative
supermartingale, so the chance that it ever reaches :math:`1 / \alpha` is at most
:math:`\alpha` (Ville 1939; betting for bounded means: Waudby-Smith & Ramdas 2023, arXiv 2010.09686;
time-uniform bounds: Howard et al. 2021, arXiv 1810.08240). Values of one step may depend on each
other in any way: only their mean enters.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import betaincinv

BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.7])  # of what can be lost, each with equal capital


class BettingTest:
    """Evidence that the mean of x in [0, 1] rose above a limit, at whatever step.

    Capital is spread over bets of different size, and over the steps at which a change may have
    come: of what is held back, a part joins at every step, as ``1 / (t (t + 1))`` of the whole, so
    that a change after a long good time is still found.

    Parameters
    ----------
    limit
        The mean is at most this, in (0, 1), while nothing is wrong.

    Attributes
    ----------
    evidence : float
        The capital, 1 at the start: an e-process. A false alarm at level alpha is raised when it
        reaches ``1 / alpha``, with a chance of at most alpha over the whole run.
    steps : int
        Updates so far.
    """

    def __init__(self, limit: float) -> None:
        if not 0 < limit < 1:
            raise ValueError(f"the limit of a mean in [0, 1] must be inside it, not {limit}")
        self.limit = limit
        self.evidence = 1.0
        self.steps = 0
        self._capital = np.zeros(BETS.size)  # of the bets that have joined

    def update(self, x: float) -> float:
        """Take a step's mean, in [0, 1]; the evidence after it."""
        if not 0 <= x <= 1:
            raise ValueError(f"a mean in [0, 1] is wanted, not {x}")
        self.steps += 1
        t = self.steps
        factor = 1 + BETS / self.limit * (x - self.limit)  # at least 1 - 0.7
        self._capital = np.minimum((self._capital + 1 / (t * (t + 1))) * factor, 1e100)
        self.evidence = float(self._capital.mean()) + 1 / (t + 1)
        return self.evidence


def share_bound(share: float, n: float, risk: float) -> float:
    """Upper bound of a share seen among n independent draws, exceeded with a chance of `risk`.

    Clopper & Pearson 1934. The bound of the chance of lying beyond a quantile of n draws too: that
    chance has the distribution that it is taken from.
    """
    hits = share * n
    if hits >= n:
        return 1.0
    return float(betaincinv(hits + 1, n - hits, 1 - risk))


def evidence_needed(alpha: float) -> float:
    """The evidence at which an alarm of level alpha is raised."""
    return math.inf if alpha <= 0 else 1 / alpha
