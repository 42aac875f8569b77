"""Accuracy of a part against the rest at equal margins: by hand, by definition, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import t as student

from rmaudit.stats.strata import shortfall


def test_one_stratum_by_hand() -> None:
    # All margins equal: half of the part is right, all of the rest. The prompts' terms are
    # (h - 1/2)(3/4 - right) / 2: -1/16 twice, 3/16 twice, 1/16 four times; they sum to 1/2.
    right = np.array([1, 0, 0, 1, 1, 1, 1, 1])
    found = shortfall(right, np.ones(8), np.arange(8) < 4, np.arange(8))
    error = math.sqrt((2 * 1 + 2 * 9 + 4 * 1) / 256)
    assert found.value == pytest.approx(1 / 2, abs=1e-15)
    assert found.value - found.low == pytest.approx(student.isf(0.025, 3) * error, rel=1e-9)
    assert (found.n, found.n_clusters) == (8, 4)


def draw(rng: np.random.Generator, turned: float = 0.0) -> tuple[np.ndarray, ...]:
    """Two pairs per prompt; margins are log-odds, but for a share of the part that is turned."""
    codes = np.arange(300) // 2
    size = np.abs(rng.normal(0, 3, 300))
    inside = codes % 5 == 0
    right = rng.random(300) < expit(size)
    return right ^ (inside & (rng.random(300) < turned)), size, inside, codes


def test_is_the_weighted_mean_of_the_differences_within_tenths() -> None:
    right, size, inside, codes = draw(np.random.default_rng(0), 0.3)
    tenth = np.argsort(np.argsort(size)) // 30
    weights, differences = [], []
    for k in range(10):
        here, there = right[(tenth == k) & inside], right[(tenth == k) & ~inside]
        skill = 2 * right[tenth == k].mean() - 1
        weights.append(max(skill, 0) * here.size * there.size / 30)
        differences.append(there.mean() - here.mean() if here.size else 0.0)
    expected = np.average(differences, weights=weights)
    assert shortfall(right, size, inside, codes).value == pytest.approx(expected, rel=1e-9)


def test_order_scale_and_duplicates_do_not_matter() -> None:
    right, size, inside, codes = draw(np.random.default_rng(1), 0.3)
    size = np.round(size, 1)  # some are equal
    one = shortfall(right, size, inside, codes)
    order = np.random.default_rng(2).permutation(300)
    parts = (right, size, inside, codes)
    for other in (
        shortfall(*(values[order] for values in parts)),
        shortfall(right, np.exp(size), inside, codes),
        shortfall(*(np.tile(values, 2) for values in parts)),
    ):
        assert other.ci == pytest.approx(one.ci, rel=1e-9)


def test_is_wrong_as_rarely_as_it_says_and_stronger_than_accuracies() -> None:
    sound, turned, by_accuracy = [], [], []
    for seed in range(1_000):
        sound.append(shortfall(*draw(np.random.default_rng(seed))).low > 0)
        right, size, inside, codes = draw(np.random.default_rng(seed), 0.2)
        turned.append(shortfall(right, size, inside, codes).low > 0)
        by_accuracy.append(shortfall(right, np.ones(300), inside, codes).low > 0)
    assert np.mean(sound) < 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1_000)
    assert np.mean(turned) > np.mean(by_accuracy) + 0.1


def test_undefined_with_the_reason() -> None:
    right, size, inside, codes = draw(np.random.default_rng(3))
    nobody = shortfall(right, size, np.zeros(300, dtype=bool), codes)
    assert nobody.undefined_reason == "needs two prompts in the part and in the rest"
    coin = shortfall(np.full(300, 0.5), size, inside, codes)
    assert coin.undefined_reason is not None
    assert "better than by a coin" in coin.undefined_reason
