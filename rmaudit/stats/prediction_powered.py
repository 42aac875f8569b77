r"""Prediction-powered intervals: few gold labels, and many of a judge that correlates with them.

With gold :math:`y` on n prompts and a judge :math:`f` on those and on N others,

.. math:: \hat\theta = \lambda \bar f_N + \overline{(y - \lambda f)}_n,

which is unbiased for the mean of :math:`y` whatever the judge is worth, since the same judge's
mean is added on the N and taken off on the n. The :math:`\lambda` of least variance is
:math:`\operatorname{cov}(y, f) / ((1 + n / N) \operatorname{var} f)` (PPI++: Angelopoulos, Duchi &
Zrnic 2023, arXiv 2311.01453). Differences of two models, or the gold reward of each prompt's
best of n, are means too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rmaudit.results import Estimate
from rmaudit.stats.intervals import Bounds, cluster_mean, cluster_ratios, count_codes
from rmaudit.typing import Array, Float

MOST_WIDER = 1.01  # than with gold alone: beyond that the judge is left aside


def prediction_powered_mean(
    gold: Array,
    judge: Array,
    clusters: Array,
    *,
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """Mean of the gold value over all rows, of which few have one.

    Parameters
    ----------
    gold
        (n_rows,), NaN where there is none. Rows with gold are a random part of the prompts.
    judge
        (n_rows,), finite: the judge's value of every row, on any scale.
    clusters
        Prompt codes, (n_rows,), integers from 0; a prompt's rows all have gold, or none has.
    confidence, bounds
        As in `rmaudit.stats.intervals.cluster_mean`.

    Returns
    -------
    Estimate
        In the unit of the gold; `n` counts rows with gold. Never wider than gold alone by over
        1 %: where a judge that is worth nothing made it so, it is gold alone. Undefined where
        that is.

    Raises
    ------
    ValueError
        If a prompt has rows with gold and rows without.
    """
    y, f = np.asarray(gold, dtype=np.float64), np.asarray(judge, dtype=np.float64)
    codes = np.asarray(clusters, dtype=np.int64)
    known = np.isfinite(y)
    if np.intersect1d(codes[known], codes[~known]).size:
        raise ValueError("a prompt has rows with gold and rows without: split by prompt")
    alone = cluster_mean(y[known], codes[known], confidence=confidence, bounds=bounds)
    rest = count_codes(codes[~known])
    if not alone.defined or rest < 2 or np.ptp(f[known]) == 0:
        return alone
    weight = tuned(y[known], f[known], codes[known], count_codes(codes[known]) / rest)
    here, there = known.astype(np.float64), (~known).astype(np.float64)
    terms = [
        (1.0, np.where(known, y - weight * f, 0.0), here),
        (weight, np.where(known, 0.0, f), there),
    ]
    both = cluster_ratios(terms, codes, confidence=confidence, bounds=bounds)
    if not both.defined or both.high - both.low > MOST_WIDER * (alone.high - alone.low):
        return alone
    return replace(both, n=alone.n, n_clusters=alone.n_clusters, method="prediction-powered")


def prediction_powered_values(gold: Float, judge: Float, clusters: Array) -> Float:
    r"""Values whose mean is the prediction-powered mean, and whose spread is its error.

    With :math:`P = n + N` rows, a row with gold becomes
    :math:`\hat\theta + (P / n) (r - \bar r)`, :math:`r = y - \lambda f`, and one without
    :math:`\hat\theta + (P / N) \lambda (f - \bar f_N)`: any interval of a mean over prompts, or
    bootstrap of prompts, is then that of :math:`\hat\theta`. Where the judge does not make the
    error smaller, :math:`\lambda` is 0: gold alone.

    Parameters
    ----------
    gold
        (n_rows, k), NaN on the rows without; a row has all k or none.
    judge
        (n_rows, k), finite.
    clusters
        Prompt codes, (n_rows,); a prompt's rows all have gold, or none has.

    Returns
    -------
    ndarray of shape (n_rows, k)
        In the unit of the gold; the gold itself where every row has it.
    """
    known = np.isfinite(gold).all(axis=1)
    if known.all():
        return gold
    codes = np.asarray(clusters, dtype=np.int64)
    here, there = (np.unique(codes[rows], return_inverse=True)[1] for rows in (known, ~known))
    prompts, rest = int(here.max()) + 1, int(there.max()) + 1
    out = np.empty(gold.shape)
    for k, (y, f) in enumerate(zip(gold[known].T, judge.T, strict=True)):
        weight, lost = tuned(y, f[known], here, prompts / rest), 2  # degrees of freedom
        both = _variance(y - weight * f[known], here, lost) + weight**2 * _variance(
            f[~known], there
        )
        if both >= _variance(y, here):
            weight, lost = 0.0, 1
        residual, other = y - weight * f[known], weight * f[~known]
        mean = residual.mean() + other.mean()
        small = math.sqrt(prompts / (prompts - lost))  # as few prompts have gold
        out[known, k] = mean + small * len(codes) / len(here) * (residual - residual.mean())
        out[~known, k] = mean + len(codes) / len(there) * (other - other.mean())
    return out


def _variance(values: Float, codes: Array, lost: int = 1) -> float:
    """Of the mean over rows, by prompt totals, less the degrees of freedom that were spent."""
    totals = np.bincount(codes, values - values.mean())
    return float(totals @ totals) / len(values) ** 2 * len(totals) / max(len(totals) - lost, 1)


def tuned(gold: Float, judge: Float, codes: Array, ratio: float) -> float:
    """The judge's weight of least variance; `ratio` is prompts with gold over those without.

    By prompt totals, whose spread is what the interval is made of.
    """
    centred = [np.bincount(codes, values - values.mean()) for values in (gold, judge)]
    square = float(centred[1] @ centred[1])
    return float(centred[0] @ centred[1]) / ((1 + ratio) * square) if square > 0 else 0.0


def width_ratio(correlation: float, unlabelled_per_gold: float) -> float:
    r"""Width of the interval over that of gold alone, before anybody labels.

    ``sqrt(1 - rho**2 N / (N + n))`` with N / n the second argument (infinity: no limit).
    """
    share = 1 - 1 / (1 + unlabelled_per_gold)
    return math.sqrt(1 - correlation**2 * share)
