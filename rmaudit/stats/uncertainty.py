"""Does an ensemble know what it does not know: disagreement, and how well it predicts errors.

Arrays in, numbers out. `margins` are (n_members, n_pairs); `errors` are (n_pairs,) in [0, 1] (a tie
counts one half); `uncertainty` is (n_pairs,), higher is less sure.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, xlogy

from rmaudit.results import Estimate
from rmaudit.stats.intervals import Bounds, cluster_mean, cluster_ratios
from rmaudit.stats.rank import auroc
from rmaudit.typing import Array, Float


def sign_disagreement(margins: Float) -> Float:
    """Probability that two different members rank a pair differently, (n_pairs,), in [0, 1].

    A member without preference (margin 0) disagrees by one half with one that has one. Pairs of
    members are compared rather than unanimity asked, so the figure does not grow with their number.
    NaN for fewer than two members.
    """
    members = len(margins)
    if members < 2:
        return np.full(margins.shape[1], math.nan)
    up = (margins > 0).sum(axis=0)
    down = (margins < 0).sum(axis=0)
    tied = members - up - down
    differing = up * down + 0.5 * tied * (up + down)
    return np.asarray(differing / (members * (members - 1) / 2), dtype=np.float64)


def mutual_information(margins: Float) -> Float:
    """BALD: what a label would tell about which member is right, in nats, (n_pairs,), 0 to log 2.

    ``H(mean_k p_k) - mean_k H(p_k)`` with ``p_k = sigmoid(margin_k)`` (Houlsby et al. 2011,
    arXiv 1112.5745, Eq. 2). Margins should be temperature-scaled first, or the nats mean nothing.
    """
    p = expit(margins)
    information = _entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)
    # Rounding may leave -1e-17 where members agree.
    return np.asarray(np.maximum(information, 0.0), dtype=np.float64)


def scaled_information(margins: Float, clusters: Array, *, confidence: float = 0.95) -> Estimate:
    r"""Mean `mutual_information` in nats, 0 to log 2, with an interval that includes the scaling.

    Parameters
    ----------
    margins
        (n_members, n_pairs), preferred output less the other, each member's divided by the
        temperature that was fitted to these very margins (`rmaudit.stats.calibration.temperature`).
    clusters
        Prompt codes, (n_pairs,).

    Notes
    -----
    At a member's fitted temperature the scores :math:`z (1 - p)` sum to zero over its margins z, so
    a pair moves the log of the inverse temperature by its score over the mean of
    :math:`z^2 p (1 - p)` (White 1982). That moves the information by the mean of
    :math:`z p (1 - p) (z - \operatorname{logit} \bar p)` over the number of members. The interval
    is cluster-robust on the sum of both.
    """
    information = mutual_information(margins)
    p = expit(margins)
    shares = np.maximum([p.mean(axis=0), expit(-margins).mean(axis=0)], 1e-300)
    mean_logit = np.log(shares[0] / shares[1])
    weight = margins * p * expit(-margins)
    slope = (weight * (margins - mean_logit)).mean(axis=1) / len(margins)  # (n_members,)
    curvature = (weight * margins).mean(axis=1)
    influence = information + (slope / curvature) @ (margins * expit(-margins))
    influence -= influence.mean()
    value = float(information.mean())
    return linearised(value, influence, clusters, confidence=confidence)


def _entropy(p: Float) -> Float:
    return np.asarray(-xlogy(p, p) - xlogy(1 - p, 1 - p), dtype=np.float64)


def risk_coverage(errors: Float, uncertainty: Float) -> Float:
    """Error rate among the i + 1 surest pairs, (n_pairs,); the last is the overall error rate.

    Pairs of equal uncertainty share their mean error, as if their order were drawn at random.
    """
    order = np.argsort(uncertainty, kind="stable")
    _, start, inverse = np.unique(uncertainty[order], return_index=True, return_inverse=True)
    sizes = np.diff(np.append(start, errors.size))
    means = np.add.reduceat(errors[order], start) / sizes
    return np.cumsum(means[inverse]) / np.arange(1, errors.size + 1)


def area_under_risk_coverage(
    errors: Float, uncertainty: Float, clusters: Array, *, confidence: float = 0.95
) -> tuple[Estimate, Estimate]:
    """AURC and excess AURC; both lower is better.

    AURC is the mean of `risk_coverage` over all coverages (Geifman et al. 2019, arXiv 1805.08206,
    Section 2). Excess AURC is the distance to the best possible order of the same errors,
    ``r + (1 - r) log(1 - r)`` at error rate r (ibid., Section 4).

    Intervals are cluster-robust on what the AURC loses when a pair is left out (jackknife): its own
    error at the coverages that hold it, less what the pairs that are less sure count for more
    without it. At 200 pairs the influence function of the limit is a twentieth too small.
    """
    n = errors.size
    if n == 0:
        undefined = Estimate.undefined("no pairs", confidence=confidence)
        return undefined, undefined
    value = float(risk_coverage(errors, uncertainty).mean())
    rate = float(errors.mean())
    influence = _left_out(errors, uncertainty)
    best = rate + (1 - rate) * math.log1p(-rate) if rate < 1 else 1.0
    slope = -math.log1p(-rate) if rate < 1 else 0.0
    excess = influence - slope * (errors - rate)
    return (
        linearised(value, influence, clusters, confidence=confidence, bounds=(0, 1)),
        linearised(value - best, excess, clusters, confidence=confidence, bounds=(0, 1)),
    )


def _left_out(errors: Float, uncertainty: Float) -> Float:
    """``n - 1`` times what the AURC loses without each pair, centred, (n_pairs,).

    The AURC of n pairs is ``sum_i e_i sum_{j >= i} 1 / j`` over n, by rank of uncertainty. Pairs of
    equal uncertainty share what their ranks have.
    """
    n = errors.size
    order = np.argsort(uncertainty, kind="stable")
    _, start, inverse = np.unique(uncertainty[order], return_index=True, return_inverse=True)
    sizes = np.diff(np.append(start, n))

    def shared(values: Float) -> Float:
        return np.asarray((np.add.reduceat(values, start) / sizes)[inverse])

    ranks = np.arange(1, n)
    own = np.append(np.cumsum((1 / ranks)[::-1])[::-1], 0.0)  # sum of 1 / j, j from i to n - 1
    later = np.append(np.cumsum((shared(errors[order])[1:] / ranks)[::-1])[::-1], 0.0)
    influence = np.empty(n)
    influence[order] = errors[order] * shared(own) - shared(later)
    return np.asarray(influence - influence.mean(), dtype=np.float64)


def selective_accuracy(
    errors: Float,
    uncertainty: Float,
    clusters: Array,
    coverage: float = 0.8,
    *,
    confidence: float = 0.95,
) -> Estimate:
    """Accuracy on the surest share `coverage` of the pairs; a probability, higher is better.

    The interval accounts for the threshold being estimated: a pair on the other side of it moves
    the threshold, which matters by the error rate near it.
    """
    n = errors.size
    kept = round(coverage * n)
    if kept == 0:
        return Estimate.undefined("no pairs", confidence=confidence)
    value = 1 - float(risk_coverage(errors, uncertainty)[kept - 1])
    order = np.argsort(uncertainty, kind="stable")
    rank = np.empty(n)
    rank[order] = np.arange(n)
    near = max(10, math.ceil(math.sqrt(n)))  # pairs either side of the threshold
    local = float(errors[order[max(0, kept - near) : kept + near]].mean())
    inside = rank < kept
    influence = -(np.where(inside, errors, 0.0) + local * (coverage - inside)) / coverage
    influence -= influence.mean()
    return linearised(value, influence, clusters, confidence=confidence, bounds=(0, 1))


def auroc_estimate(
    score: Float, label: Float, clusters: Array, *, confidence: float = 0.95
) -> Estimate:
    """Area under the ROC curve with a cluster-robust interval; 0 to 1, one half is chance.

    `label` may be fractional (a tie is half an error). The influence of a row is its placement
    among the rows of the other label (DeLong et al. 1988, Biometrics 44; clustered: Obuchowski
    1997, Biometrics 53), so a million rows cost two sorts. Undefined without both labels.
    """
    positives = float(label.sum())
    negatives = float(label.size - positives)
    if positives == 0 or negatives == 0:
        reason = "no pairs" if label.size == 0 else "all labels are the same"
        return Estimate.undefined(reason, n=label.size, confidence=confidence)
    value = auroc(score, label)
    below = _mass_below(score, 1 - label) / negatives  # share of negatives below, ties half
    above = 1 - _mass_below(score, label) / positives
    influence = label.size * (
        label / positives * (below - value) + (1 - label) / negatives * (above - value)
    )
    return linearised(value, influence, clusters, confidence=confidence, bounds=(0, 1))


def ratio_of_means(
    values: Float,
    part: NDArray[np.bool_],
    clusters: Array,
    *,
    names: tuple[str, str] = ("in the part", "in the rest"),
    confidence: float = 0.95,
) -> Estimate:
    """Mean of non-negative values in a part of the rows over that in the rest; above 0.

    The interval is cluster-robust on the logarithm, so it never reaches zero. Undefined where
    either has fewer than two prompts (`names` say which), or a mean of zero.
    """
    n = values.size
    for side, name in ((part, names[0]), (~part, names[1])):
        prompts = int(np.unique(clusters[side]).size)
        reason = None
        if prompts < 2:
            reason = f"{prompts} prompts lie {name}: two are needed"
        elif not values[side].any():
            reason = f"the mean {name} is zero"
        if reason:
            return Estimate.undefined(reason, n=n, confidence=confidence)
    upper, lower = float(values[part].mean()), float(values[~part].mean())
    found = cluster_ratios(
        [
            (1 / upper, np.where(part, values, 0.0), part.astype(np.float64)),
            (-1 / lower, np.where(part, 0.0, values), (~part).astype(np.float64)),
        ],
        clusters,
        confidence=confidence,
    )
    if not found.defined:
        return found
    ratio = upper / lower
    return replace(
        found,
        value=ratio,
        low=ratio * math.exp(found.low),
        high=ratio * math.exp(found.high),
        influence=None if found.influence is None else ratio * found.influence,
        bounds=(0.0, math.inf),
    )


def _mass_below(score: Float, mass: Float) -> Float:
    """Mass of the rows with a lower score, and half of that with the same, (n,)."""
    _, inverse = np.unique(score, return_inverse=True)
    per_value = np.bincount(inverse, mass)
    return (np.cumsum(per_value) - per_value / 2)[inverse]


def linearised(
    value: float,
    influence: Float,
    clusters: Array,
    *,
    confidence: float = 0.95,
    bounds: Bounds | None = None,
) -> Estimate:
    """A value and a cluster-robust interval from its rows' influence, (n,), of mean zero."""
    return cluster_mean(value + influence, clusters, confidence=confidence, bounds=bounds)
