"""Bounds and p-values of a stated interval, against the estimators at other confidences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta, binom, t, ttest_1samp

from rmaudit.stats.calibration import temperature
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.stats.law import Law, p_at_least, p_at_most, p_within

RNG = np.random.default_rng(3)
CLUSTERS = np.repeat(np.arange(9), [1, 1, 2, 3, 1, 1, 4, 2, 1])
SHARE = (RNG.random(CLUSTERS.size) < 0.7).astype(float)
GAUSS = RNG.normal(0.3, 1.0, CLUSTERS.size)


def test_the_p_value_of_a_mean_is_the_t_tests() -> None:
    values = RNG.normal(0.4, 1.0, 7)
    estimate = cluster_mean(values, np.arange(7))
    for size in (-1.0, 0.0, 0.4, 2.0):
        expected = ttest_1samp(values, size, alternative="greater").pvalue
        assert p_at_most(estimate, size) == pytest.approx(expected)
        assert p_at_least(estimate, size) == pytest.approx(1 - expected)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0), (-1.0, 2.0)])
def test_one_interval_gives_those_of_all_other_confidences(
    confidence: float, bounds: tuple[float, float] | None
) -> None:
    values = GAUSS if bounds is None else SHARE
    law = Law.of(cluster_mean(values, CLUSTERS, bounds=bounds))
    other = cluster_mean(values, CLUSTERS, bounds=bounds, confidence=confidence)
    one_sided = (1 + confidence) / 2
    low, high = other.low, other.high
    if bounds is not None:  # and the exact binomial bound, of the effective size
        start, width = bounds[0], bounds[1] - bounds[0]
        share = (other.value - start) / width
        edge = (law.low - start) / width
        size = (t.ppf(0.975, law.freedom) / (share - edge)) ** 2 * edge * (1 - edge)
        hits = share * size
        low = min(low, start + width * beta.ppf(1 - one_sided, hits, size - hits + 1))
        high = max(high, start + width * beta.ppf(one_sided, hits + 1, size - hits))
    assert law.lower(one_sided) == pytest.approx(low, abs=1e-9)
    assert law.upper(one_sided) == pytest.approx(high, abs=1e-9)
    # The bound is where the p-value is what is left.
    assert law.p_at_most(low) == pytest.approx(1 - one_sided, rel=1e-6)
    assert law.p_at_least(high) == pytest.approx(1 - one_sided, rel=1e-6)


def test_the_law_of_a_gap_and_of_a_logarithm() -> None:
    part = (CLUSTERS % 2).astype(float)
    terms = [(1.0, SHARE * part, part), (-1.0, SHARE * (1 - part), 1 - part)]
    law = Law.of(cluster_ratios(terms, CLUSTERS, bounds=(-1, 1)))
    other = cluster_ratios(terms, CLUSTERS, bounds=(-1, 1), confidence=0.99)
    assert law.lower(0.995) <= other.low  # four and five prompts: the law is on the safe side
    codes = np.arange(120)
    even, right = (codes % 2).astype(float), (codes % 3 > 0).astype(float)
    terms = [(1.0, right * even, even), (-1.0, right * (1 - even), 1 - even)]
    many = Law.of(cluster_ratios(terms, codes, bounds=(-1, 1)))
    other = cluster_ratios(terms, codes, bounds=(-1, 1), confidence=0.99)
    assert many.lower(0.995) == pytest.approx(other.low, abs=0.01)
    margins = RNG.normal(1.0, 2.0, 60)
    fitted = Law.of(temperature(margins, np.arange(60)))
    assert fitted.upper(0.995) == pytest.approx(
        temperature(margins, np.arange(60), confidence=0.99).high
    )


def test_all_right_and_all_wrong_have_a_score_test() -> None:
    law = Law.of(cluster_mean(np.ones(5), np.arange(5), bounds=(0, 1)))
    assert law.lower(0.95) < 1
    assert law.p_at_most(0.5) == pytest.approx(0.0445, abs=1e-4)  # Student's; 0.5^5 is 0.031
    assert law.p_at_most(1.0) == 1
    assert law.p_at_least(0.5) > 0.9


@pytest.mark.parametrize("chance", [0.05, 0.5, 0.95])
def test_a_skewed_share_is_not_judged_by_a_symmetric_law(chance: float) -> None:
    # Every number of hits in 20 draws, weighed by its chance: a test at 1 % errs in 1 % at most.
    n, falsely = 20, 0.0
    for hits in range(n + 1):
        estimate = cluster_mean(np.arange(n) < hits, np.arange(n), bounds=(0, 1))
        if p_at_least(estimate, chance) <= 0.01:
            falsely += float(binom.pmf(hits, n, chance))
    assert falsely <= 0.0105  # n - 1 stands for n in the effective size


def test_within_a_size_of_zero_is_two_tests() -> None:
    estimate = cluster_mean(GAUSS, CLUSTERS)
    one, other = p_at_most(estimate, 0.1), p_at_least(estimate, -0.1)
    assert p_within(estimate, 0.1) == pytest.approx(2 * min(one, other))
