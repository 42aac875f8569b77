"""How many of several events come true, each with a chance of its own."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from rmaudit.typing import Float

MOST_COUNTED = 1_000  # events whose law is worked out; the sum of more is near normal


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
    from scipy.stats import poisson_binom

    law = np.asarray(poisson_binom.pmf(np.arange(len(chances) + 1), chances))
    return float(np.interp(at, np.arange(len(law)), np.cumsum(law) - law / 2))
