"""Counts of events with chances of their own, against counting all cases and the normal law."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binom, poisson_binom

from rmaudit.stats import poisson_binomial as module
from rmaudit.stats.poisson_binomial import poisson_binomial, share_below


def test_equals_counting_every_case() -> None:
    chances = np.array([0.1, 0.35, 0.5, 0.99])
    law = np.zeros(5)
    for case in itertools.product((0, 1), repeat=4):
        law[sum(case)] += np.prod(np.where(case, chances, 1 - chances))
    shares = [share_below(count, chances) for count in range(5)]
    assert shares == pytest.approx(np.cumsum(law) - law / 2)


def test_equals_scipy() -> None:
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 60, 201):
        chances = np.r_[0.0, 1.0, rng.random(size) ** 3]
        known = poisson_binom.pmf(np.arange(size + 3), chances)
        assert poisson_binomial(chances) == pytest.approx(known, abs=1e-13)


def test_half_of_the_count_itself_is_below() -> None:
    chances = np.full(12, 0.3)
    for count in range(13):
        expected = binom.cdf(count - 1, 12, 0.3) + binom.pmf(count, 12, 0.3) / 2
        assert share_below(count, chances) == pytest.approx(expected)


def test_a_larger_variance_draws_the_share_toward_one_half() -> None:
    chances = np.full(40, 0.5)
    assert share_below(30, chances, 4.0) == pytest.approx(share_below(25, chances))
    assert share_below(20, chances, 9.0) == pytest.approx(0.5)


def test_many_events_are_near_normal(monkeypatch: pytest.MonkeyPatch) -> None:
    chances = np.random.default_rng(0).uniform(0.05, 0.6, 900)
    mean, sd = chances.sum(), np.sqrt((chances * (1 - chances)).sum())
    counts = [round(mean + z * sd) for z in (-2, 0, 1.96)]
    exact = [share_below(count, chances) for count in counts]
    monkeypatch.setattr(module, "MOST_COUNTED", 10)
    assert [share_below(count, chances) for count in counts] == pytest.approx(
        exact, abs=3e-3
    )  # skewness
    assert share_below(0, np.zeros(20)) == 0.5
