r"""The shape of a reward's upper tail: generalised Pareto over a high threshold.

Exceedances over a high threshold follow :math:`P(X > x) = (1 + \xi x / \sigma)^{-1 / \xi}`
(Pickands 1975). :math:`\xi < 0` is a bounded tail, 0 exponential, above 0 heavier: then a KL
penalty lets a policy reach any proxy reward at vanishing KL, by outputs whose truth is no better
(Kwa et al. 2024, arXiv 2407.14503).

The estimator is that of Zhang & Stephens 2009 (Technometrics 51): the posterior mean over a fixed
grid of :math:`\theta = -\xi / \sigma`. Only averages of :math:`\log(1 - \theta x)` enter, so all
resamples share one matrix.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from rmaudit.results import Estimate
from rmaudit.stats.bootstrap import cluster_bootstrap

Float = NDArray[np.float64]
TAIL_SHARE = 0.1  # of the values, that are over the threshold
LEAST_EXCEEDANCES = 50


@dataclass(frozen=True)
class Tail:
    """The upper tail of some values; see `upper_tail`."""

    shape: Estimate  # xi: above 0 is heavier than exponential
    threshold: float  # in units of the values
    scale: float  # sigma, in units of the values
    exceedances: Float  # above the threshold, sorted, (m,)


def upper_tail(
    values: Float,
    clusters: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    share: float = TAIL_SHARE,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Tail:
    """Generalised-Pareto shape of the upper tail, with an interval by bootstrap over prompts.

    Parameters
    ----------
    values
        (n,), finite; for a reward, centred within the prompt.
    clusters
        Prompt codes from 0 without gaps, (n,).
    share
        Of the values, that make up the tail.

    Returns
    -------
    Tail
        The shape is undefined with under 50 exceedances or where they are all equal. It does not
        depend on the unit of the values. The interval takes the threshold as given.
    """
    threshold = float(np.quantile(values, 1 - share)) if values.size else math.nan
    over = values > threshold
    order = np.argsort(values[over], kind="stable")
    x, codes = values[over][order] - threshold, clusters[over][order]
    n_clusters = int(np.unique(clusters).size)
    reason = None
    if x.size < LEAST_EXCEEDANCES:
        reason = f"{x.size} values over the threshold; {LEAST_EXCEEDANCES} are needed"
    elif not x[-1] - x[0] > 1e-9 * x[-1]:
        reason = "all values over the threshold are equal"
    if reason is not None:
        empty = Estimate.undefined(
            reason, n=values.size, n_clusters=n_clusters, confidence=confidence
        )
        return Tail(empty, threshold, math.nan, x)
    theta = _grid(x)
    logs = np.log1p(-theta[None, :] * x[:, None])  # (m, grid)

    def shape(weights: Float) -> Float:
        return _shape(x, theta, logs, weights[:, codes])[0]

    estimate = cluster_bootstrap(
        shape, n_clusters, n=values.size, rng=rng, resamples=resamples, confidence=confidence
    )
    scale = _shape(x, theta, logs, np.ones((1, x.size)))[1]
    return Tail(estimate, threshold, float(scale[0]), x)


def _grid(x: Float) -> Float:
    """Values of theta below 1 / max(x), (grid,): Zhang & Stephens 2009, section 2."""
    size = 20 + math.isqrt(x.size)
    quartile = x[max(round(x.size / 4) - 1, 0)]
    places = np.arange(1, size + 1) - 0.5
    theta = 1 / x[-1] + (1 - np.sqrt(size / places)) / (3 * quartile)
    # At zero the ratio of shape and scale is none.
    return np.asarray(np.where(np.abs(theta * x[-1]) < 1e-9, 1e-9 / x[-1], theta))


def _shape(x: Float, theta: Float, logs: Float, weights: Float) -> tuple[Float, Float]:
    """Shape and scale under weights of the exceedances (b, m), (b,) each."""
    total = weights.sum(axis=1)  # (b,)
    with np.errstate(divide="ignore", invalid="ignore"):
        xi = (weights @ logs) / total[:, None]  # (b, grid)
        log_likelihood = total[:, None] * (np.log(-theta / xi) - xi - 1)
        chosen = (softmax(log_likelihood, axis=1) * theta).sum(axis=1)  # (b,)
        found: Float = (weights * np.log1p(-chosen[:, None] * x)).sum(axis=1) / total
        return found, -found / chosen
