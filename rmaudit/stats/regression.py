"""Regressions: rewards with prompt fixed effects, preferences on differences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_ratio
from rmaudit.typing import Array, Float

MOST_STEPS = 50  # of Newton's method, which takes about six
MOST_ODDS = 200.0  # log-odds at which the labels are taken to be told without error


def fixed_effects_slope(
    y: Array, x: Array, clusters: Array, *, confidence: float = 0.95
) -> Estimate:
    """Slope of `y` on `x` with an intercept for each prompt, cluster-robust by prompt.

    Parameters
    ----------
    y, x
        (n_rows,), finite. Only differences inside a prompt matter.
    clusters
        Prompt codes, (n_rows,).
    confidence
        Two-sided.

    Returns
    -------
    Estimate
        Units of y per unit of x. `n` and `n_clusters` count rows and prompts in which x varies;
        undefined when there are fewer than two such prompts.

    Notes
    -----
    The within estimator ``sum(x' y') / sum(x'**2)`` on deviations from the prompt's mean
    (Wooldridge 2010, section 10.5) is a ratio of prompt totals, so `cluster_ratio` does the rest.
    """
    xs, level = _deviations(x, clusters)
    ys, _ = _deviations(y, clusters)
    # The mean of equal numbers may differ from them by rounding; that is no variation.
    xs[np.abs(xs) <= 1e-12 * level] = 0.0
    estimate = cluster_ratio(xs * ys, xs * xs, clusters, confidence=confidence)
    if estimate.n == 0:
        return Estimate.undefined("x does not vary within any prompt", confidence=confidence)
    return estimate


def _deviations(values: Array, clusters: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Deviations from the cluster's mean, and the largest magnitude in each row's cluster."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        return array.copy(), array.copy()
    counts = np.maximum(np.bincount(clusters), 1)
    means = np.bincount(clusters, array) / counts
    largest = np.zeros(counts.size)
    np.maximum.at(largest, clusters, np.abs(array))
    return array - means[clusters], largest[clusters]


def preference_coefficients(differences: Float, *, precision: float = 0.0) -> Float | None:
    """Coefficients of a logistic regression of preferences on differences, by Newton's method.

    Bradley-Terry with linear rewards: ``sum log sigmoid(x w) - precision/2 |w|^2`` is largest.

    Parameters
    ----------
    differences
        (n, k): features of the preferred side minus those of the other.
    precision
        Of a normal prior around 0; 0 for none.

    Returns
    -------
    ndarray of shape (k,), or None
        None where there is no single largest likelihood: the features tell every label, or are
        proportional to one another.
    """
    coefficients = np.zeros(differences.shape[1])
    prior = precision * np.eye(len(coefficients))
    for _ in range(MOST_STEPS):
        odds = differences @ coefficients
        if np.abs(odds).max() > MOST_ODDS:
            return None
        surprise = 1 / (1 + np.exp(odds))  # probability of the other label
        curvature = differences.T @ (differences * (surprise * (1 - surprise))[:, None]) + prior
        if np.linalg.cond(curvature) > 1e10:
            return None
        slope = differences.T @ surprise - precision * coefficients
        step = np.linalg.solve(curvature, slope)
        coefficients = coefficients + step * min(1.0, 5.0 / float(np.abs(step).max() or 1.0))
        if np.abs(step).max() < 1e-9:
            return coefficients
    return None
