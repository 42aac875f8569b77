"""Cluster-robust intervals: worked by hand, against scipy, and by their coverage."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, cluster_ratio, cluster_ratios, for_skewness
from rmaudit.stats.law import p_at_most


def test_mean_of_independent_rows_is_student() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=50)
    estimate = cluster_mean(x, np.arange(50))
    low, high = stats.t.interval(0.95, 49, x.mean(), stats.sem(x))
    assert estimate.value == pytest.approx(x.mean(), abs=1e-14)
    assert estimate.ci == pytest.approx((low, high), abs=1e-12)
    assert (estimate.n, estimate.n_clusters) == (50, 50)


def test_equal_clusters_are_the_student_interval_of_their_means() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 4)) + rng.normal(size=(30, 1))
    estimate = cluster_mean(x.ravel(), np.repeat(np.arange(30), 4))
    means = x.mean(axis=1)
    expected = stats.t.interval(0.95, 29, means.mean(), stats.sem(means))
    assert estimate.ci == pytest.approx(expected, abs=1e-12)


def test_ratio_by_hand() -> None:
    # Prompts with totals N = 1, 3, 2 and D = 2, 4, 2: R = 6/8, leverages 1/4, 1/2, 1/4.
    # Residuals N - R D = -1/2, 0, 1/2; influences = -(1/2)/8/sqrt(3/4), 0, +: SE^2 = 2/(256 * 3/4)
    estimate = cluster_ratio(np.array([1.0, 3, 2]), np.array([2.0, 4, 2]), np.array([0, 1, 2]))
    assert estimate.value == 0.75
    assert estimate.influence is not None
    error = math.sqrt(1 / 96)
    assert np.sum(estimate.influence**2) == pytest.approx(1 / 96, rel=1e-12)
    # effective prompts 1 / (1/16 + 1/4 + 1/16) = 8/3
    reach = stats.t.ppf(0.975, 8 / 3 - 1) * error
    assert estimate.ci == pytest.approx((0.75 - reach, 0.75 + reach), rel=1e-9)


def test_difference_of_two_groups_is_welch_like() -> None:
    rng = np.random.default_rng(2)
    x, group = rng.normal(size=80), np.arange(80) % 2 == 0
    a, b = group.astype(float), (~group).astype(float)
    estimate = cluster_ratios([(1, x * a, a), (-1, x * b, b)], np.arange(80))
    error = math.hypot(stats.sem(x[group]), stats.sem(x[~group]))
    assert estimate.value == pytest.approx(x[group].mean() - x[~group].mean(), abs=1e-14)
    welch = stats.ttest_ind(x[group], x[~group], equal_var=False)
    assert estimate.df == pytest.approx(welch.df)
    assert (estimate.high - estimate.low) / 2 == pytest.approx(stats.t.ppf(0.975, welch.df) * error)


def test_degrees_of_freedom_of_strata_by_hand() -> None:
    def df(weights: list[float], sizes: list[int], shared: bool = False) -> float | None:
        codes = np.arange(sum(sizes))
        edges = np.cumsum([0, *sizes])
        masks = [((codes >= a) & (codes < b)).astype(float) for a, b in pairwise(edges)]
        prompts = codes % sizes[0] if shared else codes
        noise = np.random.default_rng(0).normal(size=codes.size)
        terms = [(w, noise * mask, mask) for w, mask in zip(weights, masks, strict=True)]
        return cluster_ratios(terms, prompts).df

    noise = np.random.default_rng(0).normal(size=60)
    first, second = noise[:40].var(ddof=1) / 160, noise[40:].var(ddof=1) / 80
    by_hand = (first + second) ** 2 / (first**2 / 39 + second**2 / 19)
    assert df([0.5, 0.5], [40, 20]) == pytest.approx(by_hand)
    assert df([5.0, 5.0], [40, 20]) == pytest.approx(by_hand), "the unit decides nothing"
    assert df([1.0, -1.0], [30, 30], shared=True) == 29, "the same prompts are one stratum"
    assert df([0.5, 0.5], [40, 19]) == 18, "a small stratum may show no variation: it decides"
    assert df([0.99, 0.01], [200, 20]) == pytest.approx(199, rel=1e-2)


def test_intervals_of_an_average_over_strata_cover() -> None:
    """The weighted mean of eight subsets of 25 to 60 prompts is neither too narrow nor too wide."""
    rng = np.random.default_rng(6)
    sizes, replications = np.array([25, 25, 30, 30, 35, 40, 50, 60]), 2000
    rates, weights = np.linspace(0.6, 0.9, 8), np.full(8, 1 / 8)
    codes, subset = np.arange(sizes.sum()), np.repeat(np.arange(8), sizes)
    masks = [(subset == k).astype(float) for k in range(8)]
    hits = 0
    for _ in range(replications):
        correct = (rng.random(codes.size) < rates[subset]).astype(float)
        terms = [(w, correct * mask, mask) for w, mask in zip(weights, masks, strict=True)]
        low, high = cluster_ratios(terms, codes, bounds=(0, 1)).ci
        hits += low <= rates.mean() <= high
    assert abs(hits / replications - 0.95) < 0.015 + 2 * 0.005


def test_influences_of_two_audits_give_the_paired_test() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=60)
    y = x + rng.normal(0.1, 0.2, size=60)
    codes = np.arange(60)
    first, second = cluster_mean(x, codes).influence, cluster_mean(y, codes).influence
    assert first is not None
    assert second is not None
    paired = math.sqrt(np.sum((first - second) ** 2))
    assert paired == pytest.approx(stats.sem(x - y), rel=1e-12)


def test_gaps_in_the_codes_have_no_influence() -> None:
    estimate = cluster_mean(np.array([0.0, 1, 1]), np.array([0, 2, 5]))
    assert estimate.influence is not None
    assert estimate.influence.shape == (6,)
    assert np.flatnonzero(estimate.influence == 0).tolist() == [1, 3, 4]
    assert estimate.n_clusters == 3


def test_weights_repeat_rows() -> None:
    x, codes = np.array([0.0, 1, 1, 0, 1]), np.array([0, 0, 1, 2, 3])
    weighted = cluster_mean(x, codes, weights=np.array([1.0, 2, 1, 3, 1]), bounds=(0, 1))
    repeated = cluster_mean(
        np.array([0.0, 1, 1, 1, 0, 0, 0, 1]), np.array([0, 0, 0, 1, 2, 2, 2, 3]), bounds=(0, 1)
    )
    assert weighted.value == repeated.value == 0.5
    assert weighted.ci == pytest.approx(repeated.ci, abs=1e-12)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_alike_still_has_width(share: float) -> None:
    estimate = cluster_mean(np.full(40, share), np.arange(40), bounds=(0, 1))
    assert estimate.value == share
    # Wilson at the end of the range: n / (n + t^2)
    inner = 40 / (40 + stats.t.ppf(0.975, 39) ** 2)
    expected = (inner, 1.0) if share else (0.0, 1 - inner)
    assert estimate.ci == pytest.approx(expected, abs=1e-12)


def test_several_agreeing_pairs_a_prompt_are_not_more_prompts() -> None:
    once = cluster_mean(np.ones(40), np.arange(40), bounds=(0, 1))
    thrice = cluster_mean(np.ones(120), np.repeat(np.arange(40), 3), bounds=(0, 1))
    assert thrice.ci == pytest.approx(once.ci, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "clusters", "reason"),
    [([], [], "no rows"), ([1.0, 0.0], [3, 3], "one prompt: no interval")],
)
def test_undefined(values: list[float], clusters: list[int], reason: str) -> None:
    estimate = cluster_mean(np.array(values), np.array(clusters, dtype=np.int64), bounds=(0, 1))
    assert math.isnan(estimate.value)
    assert estimate.undefined_reason == reason


def test_a_group_without_rows_makes_the_difference_undefined() -> None:
    x, nobody = np.ones(5), np.zeros(5)
    estimate = cluster_ratios([(1, x, x), (-1, nobody, nobody)], np.arange(5))
    assert estimate.undefined_reason == "no rows"


def test_non_finite_input_is_refused() -> None:
    with pytest.raises(ValueError, match="mask those rows"):
        cluster_mean(np.array([1.0, math.nan]), np.arange(2))


@pytest.mark.parametrize(("rate", "pairs"), [(0.7, 1), (0.9, 1), (0.95, 1), (0.7, 4), (0.93, 4)])
def test_accuracy_intervals_cover(rate: float, pairs: int) -> None:
    """Nominal 95 % covers 95 +- 1.5 points at 200 prompts.

    4,000 replications have a standard error of 0.35 points, so 1.5 + 4 * 0.35 fails a covering
    interval less than once in ten thousand runs (and the seed is fixed).
    """
    rng = np.random.default_rng(int(1000 * rate) + pairs)
    prompts, replications, hits = 200, 4000, 0
    codes = np.repeat(np.arange(prompts), pairs)
    if pairs == 1:
        correct = rng.random((replications, prompts)) < rate
    else:  # beta-binomial: pairs of a prompt share its difficulty
        chance = rng.beta(4 * rate, 4 * (1 - rate), size=(replications, prompts))
        correct = rng.random((replications, prompts * pairs)) < np.repeat(chance, pairs, axis=1)
    for row in correct:
        low, high = cluster_mean(row, codes, bounds=(0, 1)).ci
        hits += low <= rate <= high
    assert abs(hits / replications - 0.95) < 0.015 + 4 * 0.0035


def test_difference_intervals_cover() -> None:
    """A gap between two unequal groups of rows inside the same prompts."""
    rng = np.random.default_rng(8)
    replications, hits = 2000, 0
    codes = np.repeat(np.arange(200), 3)
    for _ in range(replications):
        ability = rng.beta(6, 2, size=200)[codes]
        group = (rng.random(600) < 0.25).astype(float)
        correct = (rng.random(600) < np.where(group > 0, ability * 0.8, ability)).astype(float)
        rest = 1 - group
        low, high = cluster_ratios(
            [(1, correct * group, group), (-1, correct * rest, rest)], codes, bounds=(-1, 1)
        ).ci
        hits += low <= 0.75 * 0.8 - 0.75 <= high
    assert abs(hits / replications - 0.95) < 0.015 + 4 * 0.005


def wilson(share: float, size: float, quantile: float) -> tuple[float, float]:
    """The score interval, by its definition: where |share - p| is the quantile's errors of p."""
    roots = np.roots([1 + quantile**2 / size, -(2 * share + quantile**2 / size), share**2]).real
    return float(roots.min()), float(roots.max())


def gap(first: np.ndarray, second: np.ndarray) -> Estimate:
    values = np.r_[first, second].astype(float)
    a = (np.arange(values.size) < len(first)).astype(float)
    terms = [(1.0, values * a, a), (-1.0, values * (1 - a), 1 - a)]
    return cluster_ratios(terms, np.arange(values.size), bounds=(-1, 1))


def test_a_difference_of_shares_has_the_hybrid_score_interval() -> None:
    first, second = np.arange(70) < 56, np.arange(80) < 48
    found = gap(first, second)
    # CR2 divides by n - 1, so the effective size is n - 1; quantiles are Student's.
    ends = [
        wilson(values.mean(), len(values) - 1, float(stats.t.ppf(0.975, len(values) - 1)))
        for values in (first, second)
    ]
    low = 0.2 - np.hypot(0.8 - ends[0][0], ends[1][1] - 0.6)
    high = 0.2 + np.hypot(ends[0][1] - 0.8, 0.6 - ends[1][0])
    assert (found.value, found.low, found.high) == pytest.approx((0.2, low, high), abs=1e-9)
    # Newcombe 1998, Table II, method 10, with the normal quantile.
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=0.006)
    turned = gap(second, first)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_a_share_without_variation_is_not_certain() -> None:
    rng = np.random.default_rng(0)
    inside, sure, sets = 0, 0, 1500
    for _ in range(sets):
        found = gap(rng.random(26) < 0.9, rng.random(72) < 0.9)
        inside += found.low <= 0 <= found.high
        sure += p_at_most(found, 0.0) < 0.005
    assert inside >= 0.95 * sets - 3 * np.sqrt(sets * 0.95 * 0.05)  # 92 % by the errors alone
    assert sure <= 0.005 * sets + 3 * np.sqrt(sets * 0.005)  # 3.7 % by the errors alone
    assert gap(np.ones(30), np.zeros(30)).low > 0.75  # and what is plain stays so
    # Prompts in common: the same verdicts differ by nothing, and nearly surely so.
    same = (np.arange(200) % 5 > 0).astype(float)
    ones = np.ones(200)
    paired = cluster_ratios(
        [(1.0, np.r_[same, 0 * same], np.r_[ones, 0 * ones]),
         (-1.0, np.r_[0 * same, same], np.r_[0 * ones, ones])],
        np.tile(np.arange(200), 2),
        bounds=(-1, 1),
    )  # fmt: skip
    assert paired.high - paired.low < 0.04
    assert gap(same, same).high - gap(same, same).low > 0.14


def test_an_interval_for_skewness_ends_where_the_statistic_without_it_meets_its_quantiles() -> None:
    values = np.random.default_rng(5).exponential(size=40)
    plain = cluster_mean(values, np.arange(40))
    skewed = for_skewness(plain)
    assert plain.influence is not None
    error = np.sqrt((plain.influence**2).sum())
    a = (plain.influence**3).sum() / error**3
    assert a > 0.1
    for end, sign in ((skewed.low, 1), (skewed.high, -1)):
        t = (skewed.value - end) / error
        assert t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6 == pytest.approx(
            sign * stats.t.ppf(0.975, plain.df or 39)
        )
    # It reaches farther on the side of the long tail, and less on the other.
    assert skewed.high > plain.high
    assert skewed.low > plain.low
    even = cluster_mean(np.r_[np.ones(20), -np.ones(20)], np.arange(40))
    assert for_skewness(even) == even


def test_an_interval_for_skewness_holds_the_mean_of_a_long_tail_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    sets = 4000
    missed = np.zeros((2, 2))  # plain and corrected; the mean is above, and below
    for _ in range(sets):
        plain = cluster_mean(rng.exponential(size=30), np.arange(30))
        for row, found in enumerate((plain, for_skewness(plain))):
            missed[row] += found.high < 1, found.low > 1
    plain, corrected = missed / sets
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / sets)
    assert plain.sum() > most  # 7.7 %, of which nine in ten lie above
    assert corrected.sum() <= most
    assert abs(corrected[0] - corrected[1]) < abs(plain[0] - plain[1]) / 2
