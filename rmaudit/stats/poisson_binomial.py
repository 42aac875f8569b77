"""How many of several events come true, each with a chance of its own."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from rmaudit.typing import Float

MOST_COUNTED = 1_000  # events whose law is worked out; the sum of more is near normal


def poisson_binomial(chances: Float) -> Float:
    """Probability of 0, 1, ..., k events, (k + 1,), where the chances are (k,) and independent."""
    law = np.ones(1)
    for chance in chances.tolist():
        law = np.convolve(law, (1 - chance, chance))
    return law


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
        variance = float((chances * (1 - chances)).sum())
        return float(ndtr((at - mean) / np.sqrt(variance))) if variance > 0 else 0.5
    law = poisson_binomial(chances)
    return float(np.interp(at, np.arange(len(law)), np.cumsum(law) - law / 2))
