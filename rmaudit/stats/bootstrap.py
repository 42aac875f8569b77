"""The cluster bootstrap: prompts are drawn with replacement, as weights on per-prompt statistics.

A statistic is a function of prompt weights, so one matrix product over per-prompt sums serves many
resamples at once, and no row is ever copied. Weights come in chunks of fixed size: memory does not
grow with the number of resamples, and time is linear in prompts times resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from rmaudit.results import Estimate

Weights = NDArray[np.float64]  # (b, n_clusters)
Statistic = Callable[[Weights], NDArray[np.float64]]

CHUNK_CELLS = 2_000_000  # weights held at once: 16 MB
MOST_LEFT_OUT = 5_000  # prompts; beyond, leaving out each in turn costs more than the bootstrap
MAX_UNDEFINED_SHARE = 0.05  # of the resamples, beyond which the interval means nothing


def cluster_bootstrap(
    statistic: Statistic,
    n_clusters: int,
    *,
    n: int,
    rng: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "cluster-bootstrap",
) -> Estimate:
    """Percentile interval of a statistic under resampling of whole prompts.

    Parameters
    ----------
    statistic
        Maps prompt weights (b, n_clusters) to values (b,), NaN where undefined. It is called with
        all ones for the value, then with multinomial counts.
    n_clusters
        Prompts; cluster codes are 0 .. n_clusters - 1, each with at least one row.
    n
        Rows, for the record.
    rng, resamples, confidence, method
        Source of randomness, number of resamples, two-sided confidence, name of the method.

    Returns
    -------
    Estimate
        Undefined when the statistic is undefined on the data or on over 5 % of the resamples, or
        when there is one prompt. Fewer undefined resamples are dropped, and `method` says so.

    Notes
    -----
    The percentiles are those of Student's t (expanded percentile interval: Hesterberg 2015, The
    American Statistician 69, section 5.2), since plain ones are too narrow for few prompts.
    """
    return cluster_bootstraps(
        lambda weights: statistic(weights)[:, None],
        n_clusters,
        n=n,
        rng=rng,
        resamples=resamples,
        confidence=confidence,
        method=method,
    )[0]


def cluster_bootstraps(
    statistics: Statistic,
    n_clusters: int,
    *,
    n: int,
    rng: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
    method: str = "cluster-bootstrap",
) -> list[Estimate]:
    """Several statistics on the same resamples; `statistics` maps (b, n_clusters) to (b, k)."""
    values = np.asarray(statistics(np.ones((1, n_clusters))), dtype=np.float64)[0]  # (k,)
    if n_clusters < 2:
        reason = "one prompt: no interval" if n_clusters else "no rows"
        return [
            Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
            for _ in values
        ]
    draws = np.concatenate(
        [statistics(weights) for weights in resample_weights(n_clusters, resamples, rng)]
    )  # (resamples, k)
    return [
        percentile_estimate(
            float(value),
            draws[:, k],
            n=n,
            n_clusters=n_clusters,
            confidence=confidence,
            method=method,
        )
        for k, value in enumerate(values)
    ]


def resample_weights(
    n_clusters: int, resamples: int, rng: np.random.Generator
) -> Iterator[Weights]:
    """Multinomial counts of n_clusters draws, (b, n_clusters) a chunk, `resamples` rows in all.

    Drawn as positions and counted: three times as fast as a multinomial sampler, and exact.
    """
    rows = max(1, CHUNK_CELLS // n_clusters)
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        picks = rng.integers(0, n_clusters, size=(b, n_clusters), dtype=np.int32)
        weights = np.empty((b, n_clusters))
        for i, row in enumerate(picks):
            weights[i] = np.bincount(row, minlength=n_clusters)
        yield weights


def jackknife_influence(
    statistic: Statistic, clusters: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """Each prompt's contribution to a statistic's error, for comparisons in pairs.

    Parameters
    ----------
    statistic
        Maps weights (b, n_clusters) of the distinct clusters, in order of their codes, to (b,) or
        (b, k). Smooth in the weights: the jackknife of a step function means nothing.
    clusters
        Cluster codes of the rows, (n_rows,).

    Returns
    -------
    array or None
        (largest code + 1,) or (largest code + 1, k), zero for codes without rows. The sum of
        squares is the delete-one jackknife's squared standard error (Efron & Stein 1981). None
        beyond 5,000 prompts, below two, or where the statistic is undefined without one of them.
    """
    present = np.flatnonzero(np.bincount(clusters))
    n = present.size
    if not 2 <= n <= MOST_LEFT_OUT:
        return None
    values = np.concatenate([statistic(weights) for weights in _leave_one_out(n)])
    if not np.isfinite(values).all():
        return None
    influence = np.zeros((int(present[-1]) + 1, *values.shape[1:]))
    influence[present] = np.sqrt((n - 1) / n) * (values.mean(axis=0) - values)
    return influence


def _leave_one_out(n_clusters: int) -> Iterator[Weights]:
    rows = max(1, CHUNK_CELLS // n_clusters)
    for start in range(0, n_clusters, rows):
        left_out = np.arange(start, min(start + rows, n_clusters))
        weights = np.ones((left_out.size, n_clusters))
        weights[np.arange(left_out.size), left_out] = 0
        yield weights


def percentile_estimate(
    value: float,
    draws: NDArray[np.float64],
    *,
    n: int,
    n_clusters: int,
    confidence: float = 0.95,
    method: str = "cluster-bootstrap",
) -> Estimate:
    """The estimate from a value and its resampled values (b,); see `cluster_bootstrap`."""
    finite = draws[np.isfinite(draws)]
    lost = draws.size - finite.size
    reason = None
    if not np.isfinite(value):
        reason = "the statistic is undefined on these data"
    elif lost > MAX_UNDEFINED_SHARE * draws.size:
        reason = f"the statistic is undefined in {lost} of {draws.size} resamples"
    if reason is not None:
        return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)
    if lost:
        method = f"{method}; {lost} of {draws.size} resamples undefined and dropped"
    tail = tail_probability(n_clusters, confidence)
    low, high = np.quantile(finite, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), confidence, method, n, n_clusters)


def tail_probability(n_clusters: int, confidence: float) -> float:
    """The percentile at which Student's interval for a mean of n_clusters prompts would end."""
    quantile = stdtrit(n_clusters - 1, (1 + confidence) / 2)
    return float(ndtr(-quantile * np.sqrt(n_clusters / (n_clusters - 1))))


def cluster_sums(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums of the columns per cluster code: (n_rows, k) to (n_clusters, k)."""
    n_clusters = int(clusters.max()) + 1 if clusters.size else 0
    sums = [np.bincount(clusters, column, n_clusters) for column in values.T]
    return np.stack(sums, axis=1).astype(np.float64, copy=False)
