"""Intervals for the size of deviations, which noise can only add to: calibration errors above all.

A binned calibration error of a perfect model is positive at any sample size, and the bootstrap of
it doubles the noise, so neither percentile nor basic intervals cover. Here the interval is found by
inverting a test: which true sizes would have made the observed one plausible?
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rmaudit.results import Estimate
from rmaudit.stats.bootstrap import (
    cluster_sums,
    jackknife_influence,
    resample_weights,
    tail_probability,
)
from rmaudit.typing import Float

Size = Callable[[Float], Float]  # (..., k) to (...,): homogeneous, not negative

METHOD = "cluster-bootstrap, inverted over the size of the deviations"
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


def debiased_absolute_sum(deviations: Float, spread: Float) -> float:
    """Sum of absolute deviations less what noise adds to it; may be below zero.

    Twice the sum less its expectation were each deviation (k,) redrawn from a normal of its own
    standard error `spread` (k,) (Kumar et al. 2019, arXiv 1909.10155, for calibration errors).
    """
    size = np.abs(deviations)
    ratio = np.minimum(size / np.maximum(spread, 1e-300), 40.0)
    density = math.sqrt(2 / math.pi) * np.exp(-0.5 * ratio**2)
    redrawn = spread * density + size * (1 - 2 * ndtr(-ratio))  # mean of a folded normal
    return float(np.sum(2 * size - redrawn))


def total_deviation(
    residuals: Float,
    clusters: NDArray[np.int64],
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Estimate:
    """Debiased sum of the absolute means of some columns, such as residuals by bin.

    Parameters
    ----------
    residuals
        (n, k), finite; zero where a row is not in the bin.
    clusters
        Prompt codes, (n,).
    rng, resamples, confidence
        Of the interval, see `deviation_interval`; it is widened to hold the value.

    Returns
    -------
    Estimate
        In the unit of the residuals; zero is best. Undefined for fewer than two prompts.
    """
    n = len(residuals)
    codes = np.unique(clusters, return_inverse=True)[1]
    sums = cluster_sums(np.column_stack([np.ones(n), residuals]), codes)  # (n_clusters, 1 + k)
    n_clusters = len(sums)
    if n_clusters < 2:
        reason = "one prompt: no interval" if n_clusters else "no rows"
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)

    def deviations(weights: Float) -> Float:
        total = weights @ sums
        return np.asarray(total[:, 1:] / total[:, :1])

    observed = deviations(np.ones((1, n_clusters)))[0]
    spread = np.sqrt(((sums[:, 1:] - observed * sums[:, :1]) ** 2).sum(axis=0)) / n
    drawn = np.concatenate([deviations(w) for w in resample_weights(n_clusters, resamples, rng)])
    tail = tail_probability(n_clusters, confidence)
    low, high = deviation_interval(observed, drawn, absolute_sum, tail=tail)
    value = debiased_absolute_sum(observed, spread)
    low, high = min(low, value), max(high, value)
    # Debiasing changes the value and, to first order, not its error.
    influence = jackknife_influence(lambda weights: absolute_sum(deviations(weights)), clusters)
    return Estimate(value, low, high, confidence, METHOD, n, n_clusters, influence=influence)


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
