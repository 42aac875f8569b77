"""The cluster bootstrap: exact enumeration, Student's interval, undefined resamples, coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rmaudit.stats import bootstrap
from rmaudit.stats.bootstrap import (
    cluster_bootstrap,
    cluster_bootstraps,
    jackknife_influence,
    resample_weights,
)
from rmaudit.stats.intervals import cluster_mean


def mean_of(values: np.ndarray) -> bootstrap.Statistic:
    return lambda weights: weights @ values / weights.sum(axis=1)


def test_weights_are_multinomial_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CHUNK_CELLS", 7 * 10)
    chunks = list(resample_weights(7, 25, np.random.default_rng(0)))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    weights = np.concatenate(chunks)
    assert (weights.sum(axis=1) == 7).all()
    assert (weights >= 0).all()


def test_distribution_matches_the_enumeration_of_all_resamples() -> None:
    # Three prompts have 27 equally likely resamples of the mean of 0, 1, 5.
    values = np.array([0.0, 1.0, 5.0])
    exact = [np.mean(values[list(picks)]) for picks in itertools.product(range(3), repeat=3)]
    chunks = resample_weights(3, 20_000, np.random.default_rng(1))
    drawn = np.concatenate([mean_of(values)(weights) for weights in chunks])
    for level in np.unique(exact):
        share = np.mean(np.isclose(exact, level))
        error = math.sqrt(share * (1 - share) / drawn.size)
        assert abs(np.mean(np.isclose(drawn, level)) - share) < 5 * error


def test_mean_agrees_with_student() -> None:
    x = np.random.default_rng(2).normal(size=300)
    estimate = cluster_bootstrap(
        mean_of(x), 300, n=300, rng=np.random.default_rng(3), resamples=20_000
    )
    low, high = stats.t.interval(0.95, 299, x.mean(), stats.sem(x))
    assert estimate.value == pytest.approx(x.mean(), abs=1e-12)
    # A percentile of 20,000 draws has a Monte Carlo error near 2 % of the standard error.
    assert estimate.ci == pytest.approx((low, high), abs=0.1 * stats.sem(x))


def test_same_seed_same_interval_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(4).normal(size=40)
    runs = []
    for cells in (40, 40 * 2000):
        monkeypatch.setattr(bootstrap, "CHUNK_CELLS", cells)
        rng = np.random.default_rng(5)
        runs.append(cluster_bootstrap(mean_of(x), 40, n=40, rng=rng, resamples=200))
    assert runs[0].ci == pytest.approx(runs[1].ci, abs=1e-12)


def test_few_undefined_resamples_are_dropped_and_said() -> None:
    def statistic(weights: np.ndarray) -> np.ndarray:
        # undefined where prompt 0 or 1 or 2 or ... is drawn six times: rare
        return np.where(weights.max(axis=1) >= 6, np.nan, weights[:, 0])

    estimate = cluster_bootstrap(statistic, 20, n=20, rng=np.random.default_rng(6), resamples=4000)
    assert estimate.defined
    assert "resamples undefined and dropped" in estimate.method


def test_many_undefined_resamples_make_it_undefined() -> None:
    positive = np.array([1.0, 0.0, 0.0])  # prompt 0 is absent from (2/3)^3 = 30 % of resamples

    def statistic(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (weights @ positive) / (weights @ positive)

    estimate = cluster_bootstrap(statistic, 3, n=3, rng=np.random.default_rng(7))
    assert not estimate.defined
    assert "of 2000 resamples" in str(estimate.undefined_reason)


@pytest.mark.parametrize(("n_clusters", "reason"), [(0, "no rows"), (1, "one prompt: no interval")])
def test_too_few_prompts(n_clusters: int, reason: str) -> None:
    def statistic(weights: np.ndarray) -> np.ndarray:
        return weights.sum(axis=1)

    estimate = cluster_bootstrap(statistic, n_clusters, n=9, rng=np.random.default_rng(0))
    assert estimate.undefined_reason == reason


def test_several_statistics_share_their_resamples() -> None:
    x = np.random.default_rng(8).normal(size=30)

    def both(weights: np.ndarray) -> np.ndarray:
        mean = mean_of(x)(weights)
        return np.stack([mean, -2 * mean], axis=1)

    first, second = cluster_bootstraps(both, 30, n=30, rng=np.random.default_rng(9))
    assert second.ci == pytest.approx((-2 * first.high, -2 * first.low), abs=1e-12)


def test_ratio_intervals_cover() -> None:
    """A skewed ratio at 200 prompts; 600 replications: standard error 0.9 points, four of them."""
    rng = np.random.default_rng(10)
    hits = 0
    for _ in range(600):
        size = rng.exponential(size=200)
        total = size * rng.exponential(size=200)

        def statistic(w: np.ndarray, total: np.ndarray = total, size: np.ndarray = size):
            return (w @ total) / (w @ size)

        estimate = cluster_bootstrap(statistic, 200, n=200, rng=rng, resamples=600)
        hits += estimate.low <= 1.0 <= estimate.high
    assert abs(hits / 600 - 0.95) < 0.015 + 4 * 0.009


def test_the_jackknife_of_a_mean_is_its_cluster_robust_influence() -> None:
    rng = np.random.default_rng(5)
    codes = np.array([7, 2, 9, 4, 11])
    values = rng.normal(size=codes.size)
    sums = values[np.argsort(codes)]
    both = jackknife_influence(
        lambda w: np.stack([w @ sums / w.sum(axis=1), w @ sums], axis=1), codes
    )
    assert both is not None
    mean = cluster_mean(values, codes)
    # CR2 divides by sqrt(1 - 1/n) where the jackknife multiplies by sqrt(n / (n - 1)): the same.
    np.testing.assert_allclose(both[:, 0], mean.influence, atol=1e-12)
    assert both.shape == (12, 2)
    assert not both[[0, 1, 3, 5]].any()


def test_the_jackknife_is_none_where_it_means_nothing() -> None:
    def undefined(weights: np.ndarray) -> np.ndarray:
        return np.where(weights[:, 0] > 0, 1.0, np.nan)

    assert jackknife_influence(undefined, np.arange(3)) is None
    assert jackknife_influence(lambda w: w.sum(axis=1), np.zeros(3, dtype=np.int64)) is None
    assert jackknife_influence(lambda w: w.sum(axis=1), np.arange(5_001)) is None
