r"""Best of n from a pool of samples: the exact expectation over all subsets of size n.

Drawing n of a prompt's N samples without replacement and keeping the one with the highest proxy
reward keeps the i-th smallest with probability :math:`\binom{i-1}{n-1} / \binom{N}{n}`: unbiased
for best of n under the policy that was sampled, for every n up to N, without any simulation
(Chen et al. 2021, arXiv 2107.03374, use the same device for pass@k). Samples tied on the proxy
share their probability, as a fair choice among them would.

Pools are matrices, (n_prompts, N); NaN where a prompt has fewer samples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln

from rmaudit.typing import Float


def best_of_n_weights(proxy: Float, n: int) -> Float:
    """Probability that each sample is the one kept, (n_prompts, N); rows sum to one.

    Parameters
    ----------
    proxy
        (n_prompts, N) rewards that select; NaN for samples that are not there.
    n
        Samples drawn, at least 1; 1 is the policy itself.

    Returns
    -------
    ndarray of shape (n_prompts, N)
        Zero for samples that are not there; NaN throughout for a prompt with fewer than n samples.

    Raises
    ------
    ValueError
        If n is under 1.
    """
    if n < 1:
        raise ValueError(f"best of n needs n of 1 or more, not {n}")
    there = np.isfinite(proxy)
    counts = there.sum(axis=1, keepdims=True)  # (n_prompts, 1)
    order = np.argsort(np.where(there, proxy, np.inf), axis=1, kind="stable")
    ranks = np.arange(1, proxy.shape[1] + 1)  # (N,), of the sorted samples
    by_rank = _rank_probability(ranks[None, :], counts, n)
    by_rank = _shared_by_ties(np.take_along_axis(proxy, order, axis=1), by_rank)
    weights = np.empty(proxy.shape)
    np.put_along_axis(weights, order, by_rank, axis=1)
    return np.where(counts >= n, weights, math.nan)


def best_of_n_mean(value: Float, proxy: Float, n: int) -> Float:
    """Mean of `value` over all best-of-n choices by `proxy`, on each prompt, (n_prompts,).

    A sample takes part where both are finite. NaN for a prompt with fewer than n such samples.
    """
    there = np.isfinite(value) & np.isfinite(proxy)
    weights = best_of_n_weights(np.where(there, proxy, math.nan), n)
    mean: Float = (weights * np.where(there, value, 0.0)).sum(axis=1)
    return mean


def best_of_n_kl(n: float) -> float:
    """``log n - (n - 1) / n`` nats: KL of best of n from the policy, 0 for n = 1, rising.

    Exact where no two outputs have the same reward and every output is rare; an upper bound where
    there are ties or likely outputs (Beirami et al. 2024, arXiv 2401.01879, Theorem 1).
    """
    return math.log(n) - (n - 1) / n


def best_of_poisson_mean(value: Float, proxy: Float, mean_n: float) -> Float:
    """Mean of `value` over best of n with n one more than a Poisson number, (n_prompts,).

    A mixture of unbiased best-of-n means: it comes near to the tilted policy of the same KL
    (arXiv 2506.19248) and needs far fewer samples than the tilt's weights. What lies beyond the
    pool is left out and the rest rescaled; see `poisson_beyond`.

    Parameters
    ----------
    value, proxy
        (n_prompts, N), finite.
    mean_n
        Of n, at least 1.
    """
    shares = _poisson(mean_n, proxy.shape[1])
    means = [best_of_n_mean(value, proxy, n) for n in range(1, shares.size + 1)]
    mixed: Float = shares / shares.sum() @ np.stack(means)
    return mixed


def best_of_poisson_kl(mean_n: float) -> float:
    r"""KL of that policy from the one sampled, nats, where no two outputs tie and each is rare.

    With :math:`\mu` = mean_n - 1 the kept sample's quantile has the density
    :math:`(1 + \mu u) e^{\mu (u - 1)}` on [0, 1].
    """
    mu = mean_n - 1
    nodes, weights = np.polynomial.legendre.leggauss(200)
    u = (nodes + 1) / 2
    density = (1 + mu * u) * np.exp(mu * (u - 1))
    return float(np.sum(weights / 2 * density * np.log(density)))


def poisson_beyond(mean_n: float, size: int) -> float:
    """Share of the mixture that needs more than `size` samples."""
    return max(1.0 - float(_poisson(mean_n, size).sum()), 0.0)


def _poisson(mean_n: float, size: int) -> Float:
    """Chance of n = 1, ..., size."""
    k, mu = np.arange(size), mean_n - 1
    if mu == 0:
        return np.where(k == 0, 1.0, 0.0)
    return np.asarray(np.exp(k * math.log(mu) - mu - gammaln(k + 1)))


def n_of_best_of_n(kl: float) -> float:
    """The n, 1 or more and not always whole, at which `best_of_n_kl` is `kl` (under 700 nats)."""
    if not kl > 0:
        return 1.0
    # In u = log n, where nothing overflows; u - 1 < kl < u bounds it.
    log_n = brentq(lambda u: u - 1 + math.exp(-u) - kl, 0.0, kl + 2.0, xtol=1e-12)
    return math.exp(log_n)


def n_grid(largest: int, most: int = 40) -> NDArray[np.int64]:
    """Values of n from 1 to `largest`: all of them, or about `most`, evenly spaced in log n."""
    if largest <= most:
        return np.arange(1, largest + 1)
    return np.unique(np.round(np.geomspace(1, largest, most)).astype(np.int64))


def _rank_probability(ranks: NDArray[np.int64], counts: NDArray[np.int64], n: int) -> Float:
    """``C(i - 1, n - 1) / C(N, n)`` for the i-th smallest of N; zero outside n <= i <= N."""
    possible = (ranks >= n) & (ranks <= counts)
    i, size = np.where(possible, ranks, n), np.maximum(counts, n)
    logs = (
        (gammaln(i) - gammaln(n) - gammaln(i - n + 1))
        - gammaln(size + 1)
        + gammaln(n + 1)
        + gammaln(size - n + 1)
    )
    return np.where(possible, np.exp(logs), 0.0)


def _shared_by_ties(ordered: Float, by_rank: Float) -> Float:
    """Probabilities of sorted samples, averaged over samples of equal reward, row by row."""
    rows, size = ordered.shape
    starts = np.ones((rows, size), dtype=bool)
    starts[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(starts.ravel()) - 1  # every row starts a group of its own
    flat = by_rank.ravel()
    mean = np.bincount(group, flat) / np.bincount(group) if flat.size else flat
    shared: Float = mean[group].reshape(rows, size) if flat.size else by_rank
    return shared
