"""Calibration of `sigmoid(margin)` as a probability that the chosen output is the preferred one.

Two views of the same pairs:

- the *symmetrised* set, ``(p, t)`` and ``(1 - p, 1 - t)`` at half weight each, for proper scores
  and the temperature, so that the order in which data list their outputs does not matter;
- the *folded* set, ``(max(p, 1 - p), share correct)``, for everything that sorts pairs into bins:
  there the two halves of the middle bin of the symmetrised set would cancel.

The target ``t`` is the share of annotators who prefer the chosen output: 1 without votes.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, stdtrit

from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, count_codes
from rmaudit.stats.poisson_binomial import design_effect, share_below, tested_interval
from rmaudit.typing import Array, Float

MOST_FEW = 1_000  # prompts; of more, a sandwich knows as much as the count


def fold(margins: Array, targets: Array | None = None) -> tuple[Float, Float]:
    """The folded set: the model's confidence in its own choice, and how far that choice is right.

    Parameters
    ----------
    margins
        (n,), finite.
    targets
        Share of votes for the chosen output, (n,), 0 to 1; all 1 by default.

    Returns
    -------
    tuple of (n,) arrays
        ``max(p, 1 - p)`` from 0.5 to 1, and the target of the output that the model picks; one
        half where the margin is zero.
    """
    m, t = _checked(margins, targets)
    correct = np.where(m > 0, t, np.where(m < 0, 1 - t, 0.5))
    return expit(np.abs(m)), correct


def negative_log_likelihood(
    margins: Array, clusters: Array, *, targets: Array | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of ``-t log p - (1 - t) log(1 - p)`` in nats; lower is better, log 2 for a coin.

    The symmetrised set gives the same number as the pairs themselves.
    """
    m, t = _checked(margins, targets)
    loss = np.logaddexp(0, -m) + (1 - t) * m
    estimate = cluster_mean(loss, clusters, confidence=confidence)
    return _on_log_scale(estimate)


def brier_score(
    margins: Array, clusters: Array, *, targets: Array | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean of ``(p - t)**2``, 0 to 1; lower is better, 1/4 for a coin (Brier 1950)."""
    m, t = _checked(margins, targets)
    loss = (expit(m) - t) ** 2
    return cluster_mean(loss, clusters, confidence=confidence, bounds=(0.0, 1.0))


def overconfidence(
    margins: Array, clusters: Array, *, targets: Array | None = None, confidence: float = 0.95
) -> Estimate:
    """Mean confidence minus share correct, -1 to 1; zero is best, positive is over-confident.

    Notes
    -----
    The interval is the sandwich's, and at least that of the count of correct pairs: at an
    overconfidence of d each is correct with its confidence less d, so that their number has a
    Poisson binomial law (mid-p; up to 1,000 prompts). Where all of 15 pairs are correct a sandwich
    sees no error of the labels at all: 68% claimed and 100% kept are z = 5 by it, and 2.9 by the
    count. Shares of votes are no counts, and have the sandwich alone.
    """
    claimed, correct = fold(margins, targets)
    estimate = cluster_mean(claimed - correct, clusters, confidence=confidence, bounds=(-1.0, 1.0))
    told = correct != 0.5  # equal rewards claim one half and keep it
    whole = np.isin(correct[told], (0.0, 1.0)).all()
    if not estimate.defined or estimate.n_clusters > MOST_FEW or not (told.any() and whole):
        return estimate
    codes = np.asarray(clusters, dtype=np.int64)[told]
    share, sure, right = float(told.mean()), claimed[told], correct[told]

    def chances(shift: float) -> Float:
        return np.asarray(np.clip(sure - shift, 0.0, 1.0))

    expected = chances(estimate.value / share)
    together = design_effect(right - expected, codes)
    step = max(math.sqrt(float((expected * (1 - expected)).sum())) / len(sure), 1e-3)
    ends = tested_interval(
        lambda shift: share_below(int(right.sum()), chances(shift), together),
        estimate.value / share,
        step,
        confidence,
    )
    # Chances stop at 0 and 1: what an end claims too much is the mean of what is left of it.
    low, high = (share * float((sure - chances(end)).mean()) for end in ends)
    low, high = min(estimate.low, low), max(estimate.high, high)
    return replace(estimate, low=low, high=high)


def temperature(
    margins: Array, clusters: Array, *, targets: Array | None = None, confidence: float = 0.95
) -> Estimate:
    """Maximum-likelihood T of ``sigmoid(margin / T)``; one is best, above it over-confident.

    Undefined when the mean margin (weighted by ``2 t - 1``) is not positive, where the likelihood
    grows up to T = infinity, and when no margin speaks against its target, where it grows down to
    T = 0.

    Notes
    -----
    ``a = 1 / T`` solves ``sum m (t - sigmoid(a m)) = 0``, the score of the symmetrised set. The
    interval is the cluster-robust sandwich (White 1982; Liang & Zeger 1986) on log T.

    References
    ----------
    Guo et al. 2017, On calibration of modern neural networks, section 4.2 (arXiv 1706.04599).
    """
    m, t = _checked(margins, targets)
    codes = np.asarray(clusters, dtype=np.int64)
    n, n_clusters = m.size, count_codes(codes)
    slope, reason = _inverse_temperature(m, t)
    if n_clusters < 2:
        reason = "one prompt: no interval" if n_clusters else "no rows"
    if reason is not None:
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    p = expit(slope * m)
    scores = np.bincount(codes, m * (t - p))  # (n_codes,)
    curvature = float(np.sum(m * m * p * (1 - p)))
    if curvature <= 0:
        reason = "the likelihood is flat: margins are too large to tell temperatures apart"
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    on_log = -scores / (curvature * slope) * math.sqrt(n_clusters / (n_clusters - 1))
    error = math.sqrt(float(np.sum(on_log**2)))
    reach = float(stdtrit(n_clusters - 1, (1 + confidence) / 2)) * error
    value = 1 / slope
    low, high = value * math.exp(-reach), value * math.exp(min(reach, 600.0))
    method = "cluster-robust sandwich on log T"
    on_value = value * on_log
    positive = (0.0, math.inf)
    return Estimate(
        value, low, high, confidence, method, n, n_clusters, influence=on_value, bounds=positive
    )


def cross_fitted_margins(
    margins: Array,
    clusters: Array,
    *,
    targets: Array | None = None,
    rng: np.random.Generator,
    folds: int = 5,
) -> Float | None:
    """Margins divided by a temperature that was fitted on other prompts.

    Parameters
    ----------
    margins, clusters, targets
        (n,) each.
    rng
        Deals the prompts into folds.
    folds
        At most the number of prompts are used.

    Returns
    -------
    (n,) array or None
        None where a fold's temperature is undefined, see `temperature`.
    """
    m, t = _checked(margins, targets)
    codes = np.unique(np.asarray(clusters), return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1 if codes.size else 0
    if n_clusters < 2:
        return None
    dealt = rng.permutation(np.arange(n_clusters) % min(folds, n_clusters))[codes]  # (n,)
    scaled = np.empty(m.size)
    for part in np.unique(dealt):
        held_out = dealt == part
        slope, reason = _inverse_temperature(m[~held_out], t[~held_out])
        if reason is not None:
            return None
        scaled[held_out] = slope * m[held_out]
    return scaled


def _inverse_temperature(margins: Float, targets: Float) -> tuple[float, str | None]:
    """The root of the score, and why there is none."""
    if margins.size == 0:
        return math.nan, "no rows"
    scale = float(np.abs(margins).max())
    if float(np.mean(margins * (targets - 0.5))) <= 0 or scale == 0:
        return math.nan, "the mean margin is not positive"
    m = margins / scale
    if float(np.sum(m * targets - np.maximum(m, 0))) >= 0:
        return math.nan, "no margin is on the wrong side: any lower temperature fits better"

    def score(slope: float) -> float:
        return float(np.mean(m * (targets - expit(slope * m))))

    upper = 1.0
    while score(upper) > 0:
        upper *= 2.0
    return float(brentq(score, 0.0, upper, xtol=1e-14, rtol=1e-12)) / scale, None


def _on_log_scale(estimate: Estimate) -> Estimate:
    """The interval of a positive mean, set on its logarithm: losses are skewed to the right."""
    if not estimate.defined or estimate.value <= 0:
        return estimate
    reach = min((estimate.high - estimate.value) / estimate.value, 600.0)
    low, high = estimate.value * math.exp(-reach), estimate.value * math.exp(reach)
    return replace(estimate, low=low, high=high, bounds=(0.0, math.inf))


def _checked(margins: Array, targets: Array | None) -> tuple[Float, Float]:
    m = np.asarray(margins, dtype=np.float64)
    t = np.ones(m.size) if targets is None else np.asarray(targets, dtype=np.float64)
    if not (np.isfinite(m).all() and np.isfinite(t).all()):
        raise ValueError("margins and targets must be finite: mask the other rows first")
    return m, t
