r"""Policies tilted by a reward, from samples: what optimising a reward model would give.

The maximiser of :math:`E_\pi[r] - \beta\, KL(\pi \| \pi_{pre})` on a context is
:math:`\pi_\beta(o|c) \propto \pi_{pre}(o|c)\, e^{r(c, o)/\beta}` (RLHF Deciphered, arXiv
2404.08555, Eq. 17). From k samples of :math:`\pi_{pre}` it is estimated by self-normalised
importance weights :math:`w_i \propto e^{r_i/\beta}`. The paper writes a proportionality sign; its
normaliser depends on the context, so weights are normalised per context before anything is
averaged.

Rewards are matrices, (n_contexts, k); NaN where a context has fewer samples or a reward is not
finite. Such samples have weight zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.typing import Float, Integers

LEAST_SAMPLES = 2  # of a context: one sample cannot be tilted
LEAST_EFFECTIVE = 3.0  # median effective sample size, below which a tilted mean is not reported
_STEP = 1e-3  # relative change of a unit, for derivatives


@dataclass(frozen=True)
class Gap:
    """The performance gap at one beta; see `performance_gap`."""

    beta: float
    gap: Estimate  # J(pi*_beta) - J(pi_beta), gold SDs; zero is best
    gold: Estimate  # J(pi*_beta) - J(pi_pre)
    proxy: Estimate  # J(pi_beta) - J(pi_pre)
    by_context: Float  # the gap of each context, (n_contexts,); NaN where it has no two samples
    effective_gold: float  # median effective sample size under the gold tilt
    effective_proxy: float
    kl_gold: float  # nats, mean over contexts; at most log k
    kl_proxy: float
    equal_kl_beta: float  # beta at which the proxy tilt has the KL of the gold tilt; NaN if none
    equal_kl_gap: Estimate  # the gap there


def tilted_weights(reward: Float, beta: float) -> Float:
    """Self-normalised weights ``exp(r / beta) / sum exp(r / beta)``, (n_contexts, k).

    Parameters
    ----------
    reward
        (n_contexts, k), NaN for samples that are not there.
    beta
        > 0, in units of the reward per nat. Small beta is strong optimisation.

    Returns
    -------
    ndarray of shape (n_contexts, k)
        Rows sum to one; NaN throughout for a context without samples.
    """
    there = np.isfinite(reward)
    logits = np.where(there, reward / beta, -np.inf)
    top = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    normalised = np.full(reward.shape, math.nan)
    np.divide(weights, total, out=normalised, where=total > 0)
    return normalised


def effective_size(weights: Float) -> Float:
    """Kish's effective sample size ``1 / sum w**2`` of each context, (n_contexts,), 1 to k."""
    return np.asarray(1 / np.sum(weights**2, axis=1), dtype=np.float64)


def tilted_kl(weights: Float, counts: Integers) -> Float:
    """KL of the tilted policy from the sampled one, (n_contexts,), in nats, 0 to ``log k``.

    ``sum w log(w k)``: the plug-in of ``E_w[log(pi_beta / pi_pre)]``, biased low where few samples
    carry the weight.
    """
    terms = np.zeros(weights.shape)
    on = weights > 0
    np.multiply(weights, np.log(weights, where=on, out=np.zeros(weights.shape)), out=terms)
    return np.asarray(terms.sum(axis=1) + np.log(np.maximum(counts, 1)), dtype=np.float64)


def tilted_kl_jackknife(weights: Float) -> Float:
    """`tilted_kl` of complete rows with its bias of order 1/k removed, (n_contexts,), in nats.

    The jackknife over the k samples (Quenouille 1956). Noise may take it a little below zero where
    the tilt is weak. NaN with fewer than two samples.
    """
    k = weights.shape[1]
    if k < LEAST_SAMPLES:
        return np.full(len(weights), math.nan)
    terms = np.zeros(weights.shape)  # w log w
    on = weights > 0
    np.multiply(weights, np.log(weights, where=on, out=np.zeros(weights.shape)), out=terms)
    total = terms.sum(axis=1, keepdims=True)
    # Without sample j the other weights are divided by what is left, 1 - w_j.
    rest = np.maximum(1 - weights, 1e-12)
    without = (total - terms) / rest - np.log(rest) + math.log(k - 1)
    plug_in = total[:, 0] + math.log(k)
    return np.asarray(k * plug_in - (k - 1) * without.mean(axis=1), dtype=np.float64)


def tilted_mean(value: Float, reward: Float, beta: float) -> Float:
    r"""Mean of `value` under the policy tilted by `reward`, on each context, (n_contexts,).

    The ratio of weighted sums has a bias of order 1/k, which the jackknife over the samples
    removes to order 1/k² (Quenouille 1956):
    ``k m - (k - 1) mean_j m_j`` with :math:`m_j` the estimate without sample j.

    Parameters
    ----------
    value, reward
        (n_contexts, k); a sample takes part where both are finite.
    beta
        > 0, in units of `reward` per nat.

    Returns
    -------
    ndarray of shape (n_contexts,)
        In units of `value`; NaN with fewer than two samples.
    """
    there = np.isfinite(value) & np.isfinite(reward)
    counts = there.sum(axis=1)  # (n_contexts,)
    weights = np.nan_to_num(tilted_weights(np.where(there, reward, math.nan), beta))
    values = np.where(there, value, 0.0)
    mean = (weights * values).sum(axis=1, keepdims=True)
    # Without sample j: (mean - w_j v_j) / (1 - w_j), written around the mean so that it is stable.
    rest = np.maximum(1 - weights, 1e-12)
    without = mean - weights * (values - mean) / rest
    jackknife = counts * mean[:, 0] - (counts - 1) * np.where(there, without, 0.0).sum(
        axis=1
    ) / np.maximum(counts, 1)
    return np.where(counts >= LEAST_SAMPLES, jackknife, math.nan)


def performance_gap(
    gold: Float,
    proxy: Float,
    beta: float,
    clusters: Integers,
    *,
    confidence: float = 0.95,
) -> Gap:
    r"""Delta J of Section 6.2: what optimising the proxy loses against optimising the truth.

    Both rewards are first divided by their pooled within-context SD, so beta is in SDs per nat and
    one beta means the same for every model; a scale or a constant per context changes nothing.

    Parameters
    ----------
    gold, proxy
        (n_contexts, k) rewards of the same samples of pi_pre; NaN where there is none.
    beta
        > 0, in SDs per nat.
    clusters
        Prompt codes of the contexts, (n_contexts,).

    Returns
    -------
    Gap
        In gold SDs. Estimates are undefined without two contexts of two samples, where a reward is
        constant, or where the median effective sample size is below 3: the samples then hold too
        little of what the tilted policy would do.

    Notes
    -----
    The interval is cluster-robust by context and includes the error of the two SDs, by the
    derivative of the gap with respect to the logarithm of each.
    """
    there = np.isfinite(gold) & np.isfinite(proxy)
    there &= there.sum(axis=1, keepdims=True) >= LEAST_SAMPLES
    gold, proxy = np.where(there, gold, math.nan), np.where(there, proxy, math.nan)
    counts = there.sum(axis=1)
    used = counts > 0
    gold_unit, proxy_unit = _Unit.of(gold, clusters), _Unit.of(proxy, clusters)
    reason = _undefined(used, clusters, gold_unit, proxy_unit)
    if reason is not None:
        return _nothing(beta, reason, int(used.sum()), len(gold), confidence)
    g, r = gold / gold_unit.sd, proxy / proxy_unit.sd
    weights = [np.nan_to_num(tilted_weights(x, beta)) for x in (g, r)]
    sizes = [float(np.median(effective_size(w[used]))) for w in weights]
    kls = [float(tilted_kl(w, counts)[used].mean()) for w in weights]
    base = np.where(there, g, 0.0).sum(axis=1) / np.maximum(counts, 1)  # J(pi_pre)
    best, got = tilted_mean(g, g, beta), tilted_mean(g, r, beta)

    slopes = _slopes(g, r, base, beta, used)  # (2, 3)
    estimates = [
        _with_units(values, used, clusters, (gold_unit, proxy_unit), slopes[:, i], confidence)
        for i, values in enumerate((best - got, best - base, got - base))
    ]
    if min(sizes) < LEAST_EFFECTIVE:
        few = (
            f"median effective sample size {min(sizes):.1f} of {np.median(counts[used]):.0f} at "
            f"beta {beta:g}: too few samples per prompt"
        )
        estimates = [_undefined_like(e, few) for e in estimates]
    match = equal_kl_beta(r, kls[0])
    equal = Estimate.undefined("the proxy tilt cannot reach that KL", confidence=confidence)
    if math.isfinite(match) and estimates[0].defined:
        lost = (best - tilted_mean(g, r, match))[used]
        equal = cluster_mean(lost, clusters[used], confidence=confidence)
    gap, gain_gold, gain_proxy = estimates
    measured = (sizes[0], sizes[1], kls[0], kls[1], match)
    return Gap(beta, gap, gain_gold, gain_proxy, best - got, *measured, equal)


def equal_kl_beta(reward: Float, kl: float) -> float:
    """The beta at which the policy tilted by `reward` has mean KL `kl`, in nats; NaN if none."""
    there = np.isfinite(reward)
    counts = there.sum(axis=1)
    used = counts >= LEAST_SAMPLES
    if not used.any():
        return math.nan

    def excess(log_beta: float) -> float:
        weights = np.nan_to_num(tilted_weights(reward[used], math.exp(log_beta)))
        return float(tilted_kl(weights, counts[used]).mean()) - kl

    spread = float(np.nanstd(reward[used] - np.nanmean(reward[used], axis=1, keepdims=True)))
    if not spread > 0:
        return math.nan
    low, high = math.log(spread * 1e-4), math.log(spread * 1e4)
    if excess(low) <= 0 or excess(high) >= 0:
        return math.nan
    return math.exp(brentq(excess, low, high, xtol=1e-10))


@dataclass(frozen=True)
class _Unit:
    """Pooled within-context SD, with each context's part in it."""

    square: Float  # (n_contexts,)
    freedom: Float

    @classmethod
    def of(cls, reward: Float, clusters: Integers) -> _Unit:
        there = np.isfinite(reward)
        counts = there.sum(axis=1)
        values = np.where(there, reward, 0.0)
        mean = values.sum(axis=1) / np.maximum(counts, 1)
        deviation = np.where(there, values - mean[:, None], 0.0)
        # The mean of equal numbers may differ from them by rounding; that is no variation.
        deviation[np.abs(deviation) <= 1e-12 * np.abs(values)] = 0.0
        return cls((deviation**2).sum(axis=1), np.maximum(counts - 1, 0).astype(np.float64))

    @property
    def sd(self) -> float:
        freedom = float(self.freedom.sum())
        return math.sqrt(float(self.square.sum()) / freedom) if freedom else math.nan


def _slopes(gold: Float, proxy: Float, base: Float, beta: float, used: NDArray[np.bool_]) -> Float:
    """Derivative of the mean (gap, gold gain, proxy gain) by the log of either SD, (2, 3)."""

    def means(log_gold: float, log_proxy: float) -> Float:
        a, b = gold * math.exp(-log_gold), proxy * math.exp(-log_proxy)
        best, got = tilted_mean(a, a, beta)[used], tilted_mean(a, b, beta)[used]
        start = base[used] * math.exp(-log_gold)
        each: Float = np.stack([best - got, best - start, got - start]).mean(axis=1)
        return each

    by_gold = means(_STEP, 0.0) - means(-_STEP, 0.0)
    by_proxy = means(0.0, _STEP) - means(0.0, -_STEP)
    return np.stack([by_gold, by_proxy]) / (2 * _STEP)


def _undefined(
    used: NDArray[np.bool_], clusters: Integers, gold: _Unit, proxy: _Unit
) -> str | None:
    if np.unique(clusters[used]).size < 2:
        return "fewer than two prompts have two samples with finite gold and model rewards"
    for unit, name in ((gold, "gold"), (proxy, "model's")):
        if not unit.sd > 0:
            return f"the {name} reward is the same for all samples of a prompt"
    return None


def _with_units(
    values: Float,
    used: NDArray[np.bool_],
    clusters: Integers,
    units: tuple[_Unit, _Unit],
    slopes: Float,
    confidence: float,
) -> Estimate:
    """Mean over contexts, whose interval includes the error of the SDs it is measured in.

    ``d log s = dV / (2 V)``, V the variance: a ratio of totals with the value V, that is added for
    its influence and taken off again.
    """
    terms = [(1.0, np.where(used, values, 0.0), used.astype(np.float64))]
    shift = 0.0
    for unit, slope in zip(units, slopes, strict=True):
        weight = slope / (2 * unit.sd**2)
        terms.append((weight, unit.square, unit.freedom))
        shift += weight * unit.sd**2
    ratio = cluster_ratios(terms, clusters, confidence=confidence)
    return Estimate(
        ratio.value - shift,
        ratio.low - shift,
        ratio.high - shift,
        confidence,
        ratio.method,
        int(used.sum()),
        ratio.n_clusters,
        ratio.undefined_reason,
    )


def _undefined_like(estimate: Estimate, reason: str) -> Estimate:
    return Estimate.undefined(
        reason, n=estimate.n, n_clusters=estimate.n_clusters, confidence=estimate.confidence
    )


def _nothing(beta: float, reason: str, n: int, contexts: int, confidence: float) -> Gap:
    empty = Estimate.undefined(reason, n=n, confidence=confidence)
    nan = math.nan
    return Gap(beta, empty, empty, empty, np.full(contexts, nan), nan, nan, nan, nan, nan, empty)
