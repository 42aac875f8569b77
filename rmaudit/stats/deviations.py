"""Intervals for the size of deviations, which noise can only add to: calibration errors above all.

A binned calibration error of a perfect model is positive at any sample size, and the bootstrap of
it doubles the noise, so neither percentile nor basic intervals cover. Here the interval is found by
inverting a test: which true sizes would have made the observed one plausible?
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Size = Callable[[Float], Float]  # (..., k) to (...,): homogeneous, not negative

_HALVINGS = 12  # of the scale: a precision of 1/4,000 of the observed size


def absolute_sum(deviations: Float) -> Float:
    """Sum of absolute deviations over the last axis."""
    return np.asarray(np.abs(deviations).sum(axis=-1))


def largest_absolute(deviations: Float) -> Float:
    """Largest absolute deviation over the last axis."""
    return np.asarray(np.abs(deviations).max(axis=-1))


def square_sum(deviations: Float) -> Float:
    """Sum of squared deviations over the last axis."""
    return np.asarray((deviations**2).sum(axis=-1))


def deviation_interval(
    observed: Float, resampled: Float, size: Size, *, tail: float
) -> tuple[float, float]:
    """Interval for the true size of deviations of which some of the observed is noise.

    Parameters
    ----------
    observed
        Deviations on the data, (k,).
    resampled
        Deviations on resampled data, (resamples, k); those less `observed` are the noise.
    size
        The statistic, e.g. `absolute_sum`.
    tail
        Probability of each tail.

    Returns
    -------
    tuple of float
        The smallest and the largest ``size(s * observed)``, over scales ``s >= 0``, for which
        ``size(observed)`` lies between the `tail` quantiles of ``size(s * observed + noise)``.
        The lower end is 0 where pure noise would do.

    References
    ----------
    Hansen 1999, The grid bootstrap, Review of Economics and Statistics 81; the scale of the
    observed deviations is the one-parameter path on which the test is inverted.
    """
    noise = resampled - observed
    value = float(size(observed))
    if value == 0:
        return 0.0, float(np.quantile(size(noise), 1 - 2 * tail))
    ends = []
    for path in (observed, np.abs(observed)):

        def quantile(scale: float, level: float, path: Float = path) -> float:
            return float(np.quantile(size(scale * path + noise), level))

        for level in (1 - tail, tail):
            scale = _reaches(quantile, level, value)
            ends.append(float(size(scale * observed)))
    return min(ends), max(ends)


def _reaches(quantile: Callable[[float, float], float], level: float, value: float) -> float:
    """The scale at which the quantile reaches the value; 0 where it does so from the start."""
    if quantile(0.0, level) >= value:
        return 0.0
    low, high = 0.0, 1.0
    while quantile(high, level) < value and high < 64:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(middle, level) < value else (low, middle)
    return (low + high) / 2
