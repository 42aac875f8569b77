"""Accuracy of a part of the data against the rest, at equal margins."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import stdtrit

from rmaudit.results import Estimate
from rmaudit.stats.intervals import count_codes
from rmaudit.typing import Array

STRATA = 10


def shortfall(
    right: Array, size: Array, inside: Array, clusters: Array, *, confidence: float = 0.95
) -> Estimate:
    """By how much a part of the pairs is ranked right less often than the rest, at equal margins.

    Pairs are compared within tenths of the margin's size, and a tenth counts by how far its pairs
    are ranked better than by a coin: where the model hardly tells outputs apart, a fault does not
    show. That makes it a stronger test of random or inverted ranking than the difference of two
    accuracies, in which the pairs that nobody could rank drown the others.

    Parameters
    ----------
    right
        1 where the preferred output has the higher reward, one half where rewards are equal,
        else 0; (n,).
    size
        Absolute margin, (n,), finite; only its order matters.
    inside
        Whether a pair is in the part, (n,), boolean.
    clusters
        Prompt codes, (n,), integers from 0.
    confidence
        Two-sided.

    Returns
    -------
    Estimate
        From -1 to 1; positive: the part is ranked worse, zero: as the rest. ``sum_k w_k d_k`` over
        tenths k with weights ``(2 r_k - 1) n_k h_k (1 - h_k)`` that sum to one, where ``r_k`` is
        the accuracy of all pairs of the tenth, ``h_k`` the share that is in the part and ``d_k``
        the accuracy of the rest minus that of the part. The interval inverts the cluster-robust
        score test of no difference: its standard error is that under zero, so that it is a test
        first, and an interval of a large shortfall only nearly.
        Undefined where part or rest has fewer than two prompts, or no tenth with pairs of both
        is ranked better than by a coin.

    References
    ----------
    Mantel & Haenszel 1959, for differences between strata that are weighted.
    """
    right, codes = np.asarray(right, dtype=np.float64), np.asarray(clusters, dtype=np.int64)
    part = np.asarray(inside, dtype=np.float64)
    n, n_clusters = len(right), count_codes(codes[part > 0])
    if min(n_clusters, count_codes(codes[part == 0])) < 2:
        reason = "needs two prompts in the part and in the rest"
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    # An edge is a margin that occurs: equal margins, and duplicated data, fall as they did.
    edges = np.quantile(size, np.arange(1, STRATA) / STRATA, method="inverted_cdf")
    stratum = np.searchsorted(edges, size)  # (n,)
    count = np.maximum(np.bincount(stratum, minlength=STRATA), 1)
    share = np.bincount(stratum, part, STRATA) / count  # (STRATA,)
    accuracy = np.bincount(stratum, right, STRATA) / count
    skill = np.maximum(2 * accuracy - 1, 0.0)
    total = float(np.sum(skill * count * share * (1 - share)))
    if total <= 0:
        reason = "no margins at which both are ranked better than by a coin"
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    terms = skill[stratum] * (part - share[stratum]) * (accuracy[stratum] - right) / total
    influence = np.bincount(codes, terms)  # (n_codes,)
    value, error = float(influence.sum()), math.sqrt(float(np.sum(influence**2)))
    reach = float(stdtrit(n_clusters - 1, (1 + confidence) / 2)) * error
    low, high = max(value - reach, -1.0), min(value + reach, 1.0)
    return Estimate(value, low, high, confidence, "cluster-robust score", n, n_clusters)
