"""Conformal support against its definition, its guarantee, and the exact law of the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from rmaudit.support.conformal import (
    neighbour_distance,
    p_values,
    split_reference,
    support_share,
)


def unit(n: int, dimensions: int, rng: np.random.Generator) -> NDArray[np.float32]:
    x = rng.normal(size=(n, dimensions))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_p_values_by_hand() -> None:
    # Calibration 1, 2, 3: at least as far as 2.5 is one, so (1 + 1) / 4; a tie counts as far.
    found = p_values(np.array([0.5, 2.0, 2.5, 9.0]), np.array([3.0, 1.0, 2.0]))
    np.testing.assert_array_equal(found, [1.0, 3 / 4, 2 / 4, 1 / 4])


def test_without_a_calibration_part_there_is_no_p_value() -> None:
    assert np.isnan(p_values(np.array([1.0]), np.zeros(0))).all()


@pytest.mark.parametrize(("n", "m", "k"), [(7, 30, 5), (1100, 40, 3), (5, 17_000, 5), (4, 2, 5)])
def test_distance_is_that_of_the_slow_definition(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    points, reference = unit(n, 6, rng), unit(m, 6, rng)
    found = neighbour_distance(points, reference, k)
    for i in range(0, n, max(1, n // 5)):
        every = np.linalg.norm(points[i].astype(float) - reference.astype(float), axis=1)
        assert found[i] == pytest.approx(np.sort(every)[:k].mean(), abs=1e-3)


def test_a_copy_of_k_reference_rows_is_at_distance_zero() -> None:
    point = unit(1, 50, np.random.default_rng(1))
    assert neighbour_distance(point, np.repeat(point, 5, axis=0))[0] == 0
    assert neighbour_distance(point, point[:0])[0] == math.inf


@pytest.mark.parametrize(("n", "calibration"), [(3, 1), (300, 100), (60_000, 10_000)])
def test_split_is_a_partition(n: int, calibration: int) -> None:
    neighbours, held_out = split_reference([""] * n, np.random.default_rng(0))
    assert len(held_out) == calibration
    np.testing.assert_array_equal(np.sort(np.r_[neighbours, held_out]), np.arange(n))
    assert [part.size for part in split_reference(["one"], np.random.default_rng(0))] == [0, 0]


def test_exchangeable_points_are_outside_at_most_at_the_level() -> None:
    """Over 200 draws: the mean share outside is at most alpha, and p is super-uniform."""
    shares, all_p = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        centres = unit(6, 8, rng)
        drawn = centres[rng.choice(6, 420, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01])]
        drawn = drawn + 0.2 * rng.normal(size=drawn.shape)
        drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        near, held_out = split_reference([""] * 300, rng)
        calibration = neighbour_distance(drawn[held_out], drawn[near])
        p = p_values(neighbour_distance(drawn[300:], drawn[near]), calibration)
        shares.append(np.mean(p <= 0.05))
        all_p.append(p)
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert np.mean(shares) <= 0.05 + 4 * error
    assert np.mean(shares) >= 0.03  # 5 of 101 at best: the test is not idle
    for level in (0.01, 0.1, 0.3, 0.7):
        per_draw = [np.mean(p <= level) for p in all_p]
        assert np.mean(per_draw) <= level + 4 * np.std(per_draw, ddof=1) / math.sqrt(200)


def test_share_counts_the_points_with_p_above_the_level() -> None:
    rng = np.random.default_rng(3)
    for m in (19, 40, 99, 257):
        calibration, distance = rng.random(m), 0.1 + rng.random(200)
        found = support_share(distance, calibration, np.arange(200), np.arange(m))
        assert found.value == np.mean(p_values(distance, calibration) > 0.05)
        assert found.low < found.value < found.high
        assert (found.n, found.n_clusters) == (200, 200)


def test_interval_knows_that_the_threshold_is_estimated() -> None:
    # Points and calibration uniform: the share at the threshold is Beta(m + 1 - j, j) with j = 20,
    # SD 0.011; a binomial interval on the 2,000 points alone has an SD of 0.005.
    truth, m, inside = 0.95, 400, 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found = support_share(rng.random(2000), rng.random(m), np.arange(2000), np.arange(m))
        inside += found.low <= truth <= found.high
    assert inside / 400 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 400)


def test_what_cannot_be_known_is_undefined() -> None:
    few = support_share(np.ones(10), np.ones(18), np.arange(10), np.arange(18))
    assert math.isnan(few.value)
    assert few.undefined_reason is not None
    assert "19 are needed" in few.undefined_reason
    one = support_share(np.ones(10), np.ones(50), np.zeros(10, dtype=int), np.arange(50))
    assert one.undefined_reason == "one prompt: no interval"
    none = support_share(np.zeros(0), np.ones(50), np.zeros(0, dtype=int), np.arange(50))
    assert none.undefined_reason == "no rows"
    # All contexts the same: all inside, and the interval still has width.
    same = support_share(np.zeros(50), np.zeros(50), np.arange(50), np.arange(50))
    assert same.value == 1
    assert same.low < 1
