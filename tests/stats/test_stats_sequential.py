"""The betting test: its supermartingale by hand, and its false-alarm rate by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rmaudit.stats.sequential import BETS, BettingTest, share_bound


def test_capital_is_the_mixture_by_its_definition() -> None:
    x = [0.2, 0.9, 0.4, 0.7]
    test = BettingTest(0.3)
    for value in x:
        test.update(value)
    total = 1 / 5  # what has not joined: 1 - sum 1 / (t (t + 1)), t = 1 .. 4
    for start in range(1, 5):
        product = np.ones(BETS.size)
        for value in x[start - 1 :]:
            product *= 1 + BETS / 0.3 * (value - 0.3)
        total += product.mean() / (start * (start + 1))
    assert test.evidence == pytest.approx(total)


def test_expected_evidence_never_grows_under_the_hypothesis() -> None:
    """By enumeration of all outcomes of six fair coins: a martingale."""
    total = 0.0
    for outcome in range(64):
        test = BettingTest(0.5)
        for bit in range(6):
            test.update((outcome >> bit) & 1)
        total += test.evidence / 64
    assert total == pytest.approx(1)


def test_false_alarms_over_the_whole_run() -> None:
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(400):
        test = BettingTest(0.2)
        alarms += any(test.update(x) >= 20 for x in rng.binomial(8, 0.2, 400) / 8)
    assert alarms / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_late_change_is_found() -> None:
    rng = np.random.default_rng(1)
    test = BettingTest(0.2)
    for x in rng.binomial(8, 0.1, 500) / 8:
        test.update(x)
    steps = next(t for t, x in enumerate(rng.binomial(8, 0.6, 200) / 8) if test.update(x) >= 20)
    assert steps < 60


def test_share_bound_is_clopper_pearson() -> None:
    known = stats.binomtest(7, 50).proportion_ci(0.9, method="exact")
    assert share_bound(7 / 50, 50, 0.05) == pytest.approx(known.high)
    assert share_bound(1.0, 10, 0.05) == 1


def test_bad_values() -> None:
    with pytest.raises(ValueError, match="inside it"):
        BettingTest(1.0)
    with pytest.raises(ValueError, match="mean in"):
        BettingTest(0.5).update(1.5)
