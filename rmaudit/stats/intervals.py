r"""Cluster-robust intervals for means, ratios of means, and sums of such ratios.

The prompt is the cluster: rows of one prompt are dependent, so the sampling error comes from the
spread of the prompts' totals and never from the number of rows.

With prompt totals :math:`N_c, D_c` and leverage :math:`h_c = D_c / \sum D`, the influence is
:math:`(N_c - R D_c) / (\sum D \sqrt{1 - h_c})`: the CR2 correction (Bell & McCaffrey 2002),
which is the usual ``G / (G - 1)`` for equal prompts. Quantiles are Student's with ``G* - 1``
degrees of freedom, where ``G* = (sum D)**2 / sum(D_c**2)`` is the effective number of prompts
of the term that has fewest (Carter et al. 2017). Terms without a common prompt are strata: where
each has 20 effective prompts or more, their degrees of freedom are combined by Satterthwaite's
formula under equal variance within strata, as Bell & McCaffrey do. A smaller stratum may show no
variation at all; then the fewest decide. Bounded values use the score (Wilson) interval on the
effective sample size ``x (1 - x) / SE**2`` (Korn & Graubard 1998), or one more than the degrees of
freedom where no variation was seen. A difference of two shares takes its ends from the score
intervals of both (the hybrid of Newcombe 1998, Stat. Med. 17, 873; with the correlation of shares
that have prompts in common, Zou & Donner 2008, Stat. Med. 27, 1693): a share of 0 or 1 shows no
variation, and is not certain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rmaudit.results import Estimate
from rmaudit.typing import Array

Bounds = tuple[float, float]
Part = tuple[float, NDArray[np.float64], float]
"""A ratio, its influence per prompt and its effective number of prompts."""
DIFFERENCE: Bounds = (-1, 1)  # of two shares
SYMMETRIC = 1e-9  # skewness that is rounding
FEW = 20  # effective prompts of a stratum, below which it may show no variation at all


def cluster_ratios(
    terms: Sequence[tuple[float, Array, Array]],
    clusters: Array,
    *,
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """Estimate ``sum_k w_k * sum(num_k) / sum(den_k)`` with a cluster-robust interval.

    A gap in accuracy is ``[(1, correct * a, a), (-1, correct * b, b)]`` with 0/1 masks a and b.

    Parameters
    ----------
    terms
        ``(weight, numerator, denominator)``, arrays of shape (n_rows,); finite. A row takes part
        in a term where its denominator is not zero.
    clusters
        Prompt codes, (n_rows,), integers from 0; gaps are allowed.
    confidence
        Two-sided, e.g. 0.95.
    bounds
        The range of the value: (0, 1) for a probability, (-1, 1) for a difference of two. The
        interval stays inside and never has zero width.

    Returns
    -------
    Estimate
        ``influence`` holds each cluster code's linearised contribution to the value (zero for
        codes without rows), scaled so that the squared standard error is ``sum(influence**2)``;
        of two audits of the same prompts, that of their difference.
        Undefined when a term has no rows, or rows of one prompt only.

    Raises
    ------
    ValueError
        If an input is not finite: mask such rows first, and count them.
    """
    codes = np.asarray(clusters, dtype=np.int64)
    n_codes = int(codes.max()) + 1 if codes.size else 0
    arrays = [(weight, _finite(num), _finite(den)) for weight, num, den in terms]
    parts = [(weight, *_ratio(num, den, codes, n_codes)) for weight, num, den in arrays]
    used = np.any([den != 0 for _, _, den in arrays], axis=0)
    n, n_clusters = int(used.sum()), count_codes(codes[used])
    fewest = min(effective for *_, effective, _ in parts)
    if fewest < 1.5:  # no prompt, one, or one that outweighs all others
        reason = "one prompt: no interval" if fewest > 0 else "no rows"
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    value = sum(weight * ratio for weight, ratio, *_ in parts)
    influence = np.sum([weight * part for weight, _, part, *_ in parts], axis=0)
    error = math.sqrt(float(np.sum(influence**2)))
    df = _degrees(
        [(effective, leverage, weight * part) for weight, _, part, effective, leverage in parts]
    )
    quantile = float(stdtrit(df, (1 + confidence) / 2))
    if bounds == DIFFERENCE and _are_shares(arrays):
        low, high = _difference([p[1:4] for p in parts], confidence, [p[0] for p in parts])
    else:
        low, high = _interval(value, error, quantile, df + 1, bounds)
    return Estimate(
        value,
        low,
        high,
        confidence,
        "cluster-robust",
        n,
        n_clusters,
        influence=influence,
        df=df,
        bounds=bounds,
    )


def cluster_mean(
    values: Array,
    clusters: Array,
    *,
    weights: Array | None = None,
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """Mean over rows, ``sum(w * v) / sum(w)``, with a cluster-robust interval.

    Parameters are those of `cluster_ratios`; `weights` (n_rows,) are one by default.
    """
    ones = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    numerator = np.asarray(values, dtype=np.float64) * ones
    return cluster_ratio(numerator, ones, clusters, confidence=confidence, bounds=bounds)


def cluster_ratio(
    numerator: Array,
    denominator: Array,
    clusters: Array,
    *,
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """Ratio of sums over rows, with a cluster-robust interval; see `cluster_ratios`."""
    return cluster_ratios(
        [(1.0, numerator, denominator)], clusters, confidence=confidence, bounds=bounds
    )


def for_skewness(estimate: Estimate) -> Estimate:
    r"""The same estimate with an interval that allows for the skewness of its influence.

    Student's statistic :math:`t` of a mean over few or uneven clusters is skewed. With
    :math:`a = \sum u^3 / (\sum u^2)^{3/2}` of the influences :math:`u`, the statistic
    :math:`t + a t^2 / 3 + a^2 t^3 / 27 + a / 6` is not. It rises with :math:`t`, and the interval
    ends where it meets Student's quantiles (Hall 1992, J. R. Statist. Soc. B 54, 221). Without an
    influence, or with one that is not skewed, nothing changes.
    """
    influence = estimate.influence
    square = 0.0 if influence is None else float((influence**2).sum())
    if influence is None or not estimate.defined or square <= 0:
        return estimate
    a = float((influence**3).sum()) / square**1.5
    if abs(a) < SYMMETRIC:
        return estimate
    error, freedom = math.sqrt(square), estimate.df or estimate.n_clusters - 1.0
    quantile = float(stdtrit(max(1.0, freedom), (1 + estimate.confidence) / 2))
    low, high = (
        estimate.value - error * 3 / a * (float(np.cbrt(1 + a * (q - a / 6))) - 1)
        for q in (quantile, -quantile)
    )
    return replace(estimate, low=min(low, estimate.value), high=max(high, estimate.value))


def count_codes(codes: Array) -> int:
    """How many different codes (integers from 0) there are: without sorting, unlike numpy's."""
    return int(np.count_nonzero(np.bincount(codes)))


def _finite(values: Array) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("non-finite values reach an interval: mask those rows first")
    return array


def _ratio(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], codes: Array, n_codes: int
) -> tuple[float, NDArray[np.float64], float, NDArray[np.float64]]:
    """The ratio, its influence per cluster code, its effective number of clusters, leverages."""
    nums = np.bincount(codes, numerator, n_codes)  # (n_codes,)
    dens = np.bincount(codes, denominator, n_codes)
    total = float(dens.sum())
    if total == 0:
        return math.nan, np.zeros(n_codes), 0.0, np.zeros(n_codes)
    ratio = float(nums.sum()) / total
    if (dens < 0).any():  # a signed denominator has no leverage: count the prompts
        taking_part = count_codes(codes[denominator != 0])
        effective, leverage = float(taking_part), np.full(n_codes, 1 / max(taking_part, 2))
    else:
        leverage = dens / total
        effective = 1 / float(np.sum(leverage**2))
    slack = np.sqrt(np.maximum(1 - leverage, 1e-9))
    return ratio, (nums - ratio * dens) / (total * slack), effective, leverage


def _degrees(terms: Sequence[tuple[float, NDArray[np.float64], NDArray[np.float64]]]) -> float:
    """Degrees of freedom of a sum of ratios: of (effective prompts, leverages, influence) each.

    Strata share theirs by the variance that each adds (Satterthwaite 1946, Biometrics Bulletin 2).
    """
    fewest = min(effective for effective, *_ in terms)
    if len(terms) == 1 or fewest < FEW - 1e-6:
        return fewest - 1
    stratum = _strata(np.array([leverage for _, leverage, _ in terms]) != 0)
    prompts = np.array([effective for effective, *_ in terms])
    influence = np.array([part for *_, part in terms])  # (n_terms, n_codes)
    square, inverse = 0.0, 0.0
    for place in range(int(stratum.max()) + 1):
        own = stratum == place
        variance = float(np.sum(influence[own].sum(axis=0) ** 2))
        square += variance
        inverse += variance**2 / (float(prompts[own].min()) - 1)
    return square**2 / inverse if inverse > 0 else fewest - 1


def _are_shares(terms: Sequence[tuple[float, Array, Array]]) -> bool:
    """Whether the terms are one share less another."""
    if [weight for weight, *_ in terms] not in ([1, -1], [-1, 1]):
        return False
    return all(bool(((num >= 0) & (num <= den)).all()) for _, num, den in terms)


def _difference(parts: Sequence[Part], confidence: float, signs: Sequence[float]) -> Bounds:
    """The hybrid score interval of one share less another."""
    if signs[0] < 0:
        parts = parts[::-1]
    ends, errors = [], []
    for value, influence, effective in parts:
        errors.append(math.sqrt(float(np.sum(influence**2))))
        quantile = float(stdtrit(effective - 1, (1 + confidence) / 2))
        ends.append(_interval(value, errors[-1], quantile, effective, (0, 1)))
    (first, influence, _), (second, other, _) = parts
    (low, high), (other_low, other_high) = ends
    both = errors[0] * errors[1]
    common = float(np.sum(influence * other)) / both if both > 0 else 0.0

    def reach(one: float, two: float) -> float:
        return math.sqrt(max(one**2 + two**2 - 2 * common * one * two, 0.0))

    return (
        max(first - second - reach(first - low, other_high - second), -1.0),
        min(first - second + reach(high - first, second - other_low), 1.0),
    )


def _strata(takes_part: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The stratum of each term, (n_terms,), from (n_terms, n_codes): terms that share a prompt."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n_terms, n_codes = takes_part.shape
    if takes_part.all(axis=0).any():  # a prompt of all terms, as there nearly always is
        return np.zeros(n_terms, dtype=np.int32)
    rows, columns = np.nonzero(takes_part)
    size = n_terms + n_codes
    graph = coo_array((np.ones(rows.size, np.int8), (rows, columns + n_terms)), (size, size))
    labels = connected_components(graph, directed=False)[1][:n_terms]
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def _interval(
    value: float, error: float, quantile: float, effective: float, bounds: Bounds | None
) -> tuple[float, float]:
    if bounds is None:
        return value - quantile * error, value + quantile * error
    start, width = bounds[0], bounds[1] - bounds[0]
    share = min(max((value - start) / width, 0.0), 1.0)
    # Rounding leaves an error of order 1e-17 where every prompt agrees: that is no variation.
    varies = 0 < share < 1 and error > 1e-12 * width
    size = share * (1 - share) * (width / error) ** 2 if varies else effective
    square = quantile**2 / size
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(square * share * (1 - share) + square**2 / 4) / (1 + square)
    low, high = max(centre - half, 0.0), min(centre + half, 1.0)
    return start + width * min(low, share), start + width * max(high, share)
