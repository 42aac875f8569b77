"""How many of several events come true, each with a chance of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from rmaudit.typing import Float, Integers

MOST_COUNTED = 200  # events whose law is worked out; the sum of more is near normal
MOST_STEPS = 60  # outward, for the end of an interval


def poisson_binomial(chances: Float) -> Float:
    """Probability of 0, 1, ..., k events, (k + 1,), where the chances are (k,) and independent.

    By the discrete Fourier transform of the characteristic function (Hong 2013, Computational
    Statistics & Data Analysis 59). An interval asks for some 25 laws: SciPy's `poisson_binom`,
    which a test holds this to, takes 16 times as long.
    """
    size = len(chances) + 1
    turns = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    transform = np.prod(1 + chances[:, None] * (turns - 1), axis=0)
    return np.maximum(np.fft.irfft(transform, size), 0.0)


def share_below(count: int, chances: Float, excess_variance: float = 1.0) -> float:
    """Probability of fewer events than were counted, and half that of as many (mid-p), 0 to 1.

    Parameters
    ----------
    count
        Events that came true.
    chances
        (k,).
    excess_variance
        What the variance of independent events with known chances is multiplied with: the count's
        deviation from the mean is divided by its root, and the law interpolated between integers.
    """
    mean = float(chances.sum())
    at = mean + (count - mean) / np.sqrt(excess_variance)
    if len(chances) > MOST_COUNTED:
        spread = chances * (1 - chances)
        sd = math.sqrt(float(spread.sum()))
        if sd == 0:
            return 0.5
        z, skewness = (at - mean) / sd, float((spread * (1 - 2 * chances)).sum()) / sd**3
        density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        # Edgeworth's first term; halves of the count's own probability cancel its next.
        return float(np.clip(ndtr(z) - skewness / 6 * (z**2 - 1) * density, 0, 1))
    law = poisson_binomial(chances)
    return float(np.interp(at, np.arange(len(law)), np.cumsum(law) - law / 2))


def design_effect(surprise: Float, cluster: Integers) -> float:
    """What a count's variance is multiplied with because events of a cluster go together, from 1.

    Parameters
    ----------
    surprise, cluster
        1 or 0 less the chance, and codes from 0, (k,).
    """
    own = float((surprise**2).sum())
    shared = float((np.bincount(cluster, surprise) ** 2).sum())
    return max(1.0, shared / own) if own > 0 else 1.0


def tested_interval(
    below: Callable[[float], float], start: float, step: float, confidence: float
) -> tuple[float, float]:
    """All values under which a count is in neither tail.

    Parameters
    ----------
    below
        From a value to `share_below` of the count, which rises with it.
    start, step
        A value inside, and about one standard error.
    """
    tail = (1 - confidence) / 2
    return (
        _crossing(lambda x: below(x) - tail, start, -step),
        _crossing(lambda x: 1 - below(x) - tail, start, step),
    )


def _crossing(height: Callable[[float], float], start: float, step: float) -> float:
    """Where a function that falls from `start` on in the direction of `step` meets zero."""
    near = start
    for _ in range(MOST_STEPS):
        far = near + step
        if height(far) < 0:
            return near if height(near) <= 0 else float(brentq(height, near, far, rtol=1e-6))
        near, step = far, 1.5 * step
    return math.copysign(math.inf, step)
