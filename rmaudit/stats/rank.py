"""Rank statistics: Kendall's tau-b, Spearman's rho, and the area under the ROC curve."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from rmaudit.typing import Array, Float

_CELLS = 4_000_000  # entries of a block held at once: 32 MB
_PAIRWISE_LIMIT = 256  # items a prompt, beyond which the sorting algorithm is the faster one


def kendall_tau_b(x: Array, y: Array) -> float:
    """Kendall's tau-b: concordant minus discordant pairs, corrected for ties.

    Parameters
    ----------
    x, y
        (n,), finite.

    Returns
    -------
    float
        From -1 to 1 (same order); NaN where either is constant or n < 2.

    References
    ----------
    Kendall 1945, The treatment of ties in ranking problems, Biometrika 33.
    """
    return (
        float(kendall_tau_b_within(x, y, np.zeros(len(x), dtype=np.int64))[0])
        if len(x)
        else (math.nan)
    )


def spearman(x: Array, y: Array) -> float:
    """Spearman's rho: Pearson correlation of mid-ranks; from -1 to 1, NaN where undefined."""
    return float(spearman_within(x, y, np.zeros(len(x), dtype=np.int64))[0]) if len(x) else math.nan


def kendall_tau_b_within(x: Array, y: Array, clusters: Array) -> Float:
    """Kendall's tau-b inside each cluster: (n_rows,) arrays to (n_clusters,), NaN if undefined."""
    return _within(_tau_block, x, y, clusters)


def spearman_within(x: Array, y: Array, clusters: Array) -> Float:
    """Spearman's rho inside each cluster: (n_rows,) arrays to (n_clusters,), NaN if undefined."""
    return _within(_rho_block, x, y, clusters)


def auroc(score: Array, label: Array, weights: Array | None = None) -> float:
    """Probability that a positive scores above a negative, ties counting one half.

    Parameters
    ----------
    score, label
        (n,): finite scores; labels 0/1 or false/true.
    weights
        (n,), not negative; one by default.

    Returns
    -------
    float
        From 0 to 1 (perfect); NaN without both labels.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143: the area is the Mann-Whitney probability.
    """
    rows = np.arange(len(score))
    ones = np.ones(len(score)) if weights is None else np.asarray(weights, dtype=np.float64)
    return float(auroc_statistic(score, label, rows)(ones[None, :])[0]) if len(score) else math.nan


def auroc_statistic(score: Array, label: Array, clusters: Array) -> Callable[[Float], Float]:
    """`auroc` as a function of cluster weights, (b, n_clusters) to (b,), for the bootstrap.

    Scores are sorted once; each resample then costs one pass over the rows.
    """
    scores = np.asarray(score, dtype=np.float64)
    order = np.argsort(scores, kind="stable")
    codes = np.asarray(clusters, dtype=np.int64)[order]
    positive = np.asarray(label, dtype=np.float64)[order]
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])  # one start a distinct score

    def statistic(weights: Float) -> Float:
        step = max(1, _CELLS // max(codes.size, 1))
        blocks = [weights[i : i + step] for i in range(0, len(weights), step)]
        return np.concatenate([_areas(block[:, codes], positive, starts) for block in blocks])

    return statistic


def _areas(weights: Float, positive: Float, starts: NDArray[np.int64]) -> Float:
    """Areas under the curve from row weights (b, n) in order of score."""
    ones = np.add.reduceat(weights * positive, starts, axis=1)  # (b, n_distinct)
    zeros = np.add.reduceat(weights * (1 - positive), starts, axis=1)
    below = np.cumsum(zeros, axis=1) - zeros / 2
    total = ones.sum(axis=1) * zeros.sum(axis=1)
    area = np.full(len(weights), math.nan)
    np.divide((ones * below).sum(axis=1), total, out=area, where=total > 0)
    return area


def _within(block: Callable[[Float, Float], Float], x: Array, y: Array, clusters: Array) -> Float:
    codes = np.asarray(clusters, dtype=np.int64)
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    result = np.full(int(codes.max()) + 1 if codes.size else 0, math.nan)
    for members, rows in _equal_sizes(codes):
        result[members] = block(xs[rows], ys[rows])
    return result


def _equal_sizes(codes: NDArray[np.int64]) -> Iterator[tuple[Array, Array]]:
    """Clusters of one size together: codes (p,) and rows (p, m), in blocks of bounded size."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    for size in np.unique(counts[counts >= 2]):
        members = np.flatnonzero(counts == size)
        step = max(1, _CELLS // int(size) ** 2)
        for i in range(0, members.size, step):
            chosen = members[i : i + step]
            yield chosen, order[starts[chosen][:, None] + np.arange(size)]


def _tau_block(x: Float, y: Float) -> Float:
    if x.shape[1] > _PAIRWISE_LIMIT:
        from scipy.stats import kendalltau

        return np.array([kendalltau(a, b).statistic for a, b in zip(x, y, strict=True)])
    first, second = np.triu_indices(x.shape[1], k=1)
    a = np.sign(x[:, first] - x[:, second])  # (p, pairs)
    b = np.sign(y[:, first] - y[:, second])
    return _correlation((a * b).sum(axis=1), (a * a).sum(axis=1), (b * b).sum(axis=1))


def _rho_block(x: Float, y: Float) -> Float:
    from scipy.stats import rankdata

    a, b = rankdata(x, axis=1), rankdata(y, axis=1)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    return _correlation((a * b).sum(axis=1), (a * a).sum(axis=1), (b * b).sum(axis=1))


def _correlation(cross: Float, square_x: Float, square_y: Float) -> Float:
    scale = np.sqrt(square_x * square_y)
    result = np.full(cross.shape, math.nan)
    np.divide(cross, scale, out=result, where=scale > 0)
    return result
