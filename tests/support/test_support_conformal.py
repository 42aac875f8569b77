"""Conformal support against its definition, its guarantee, and the exact law of the threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from rmaudit.support.conformal import (
    Calibration,
    neighbour_distance,
    split_prompts,
    support_share,
    threshold_ratios,
)


def unit(n: int, dimensions: int, rng: np.random.Generator) -> NDArray[np.float32]:
    x = rng.normal(size=(n, dimensions))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def test_p_values_by_hand() -> None:
    # Calibration 1 to 19: at least as far as 18.5 is one, so (1 + 1) / 20; a tie counts as far.
    calibration = Calibration(np.arange(19.0, 0.0, -1.0), 57)
    found = calibration.p_values(np.array([0.5, 2.0, 18.5, 99.0]))
    np.testing.assert_array_equal(found, [1.0, 19 / 20, 2 / 20, 1 / 20])
    np.testing.assert_array_equal(calibration.outside(np.array([19.0, 19.1])), [0, 1])
    assert calibration.undefined_reason is None


def test_without_a_calibration_part_there_is_no_p_value() -> None:
    few = Calibration(np.zeros(0), 49)
    assert np.isnan(few.p_values(np.array([1.0]))).all()
    assert np.isnan(few.outside(np.array([1.0]))).all()
    assert few.undefined_reason == (
        "the feedback has 49 distinct prompts: the support test needs 50"
    )


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


@pytest.mark.parametrize(("n", "calibration"), [(49, 0), (50, 19), (300, 100), (60_000, 10_000)])
def test_no_prompt_is_on_both_sides(n: int, calibration: int) -> None:
    prompts = [f"p{i // 2}" for i in range(2 * n)]  # two rows each
    texts = [f"{prompt} {i % 2}" for i, prompt in enumerate(prompts)]
    near, held_out = split_prompts(prompts, np.random.default_rng(0), texts)
    assert (len(near), len(held_out)) == (2 * (n - calibration), calibration)
    sides = [{prompts[row] for row in part.tolist()} for part in (near, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[1]) == calibration


def test_order_and_repetition_of_rows_decide_nothing() -> None:
    prompts = [f"p{i % 80}" for i in range(240)]
    texts = [f"text {i}" for i in range(240)]
    chosen = []
    for order in (np.arange(240), np.random.default_rng(1).permutation(240), np.arange(480) % 240):
        rows = [(prompts[i], texts[i]) for i in order]
        near, held_out = split_prompts(
            [p for p, _ in rows], np.random.default_rng(7), [t for _, t in rows]
        )
        chosen.append([sorted(rows[i] for i in part.tolist()) for part in (near, held_out)])
    assert chosen[0] == chosen[1] == chosen[2]


@pytest.mark.parametrize("rows", [1, 2])
def test_exchangeable_prompts_are_outside_as_often_as_promised(rows: int) -> None:
    """Over 200 draws: the mean share outside is floor(0.05 (m + 1)) / (m + 1), either way."""
    shares, all_p = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        centres = unit(6, 8, rng)
        drawn = centres[rng.choice(6, 420, p=[0.4, 0.3, 0.15, 0.1, 0.04, 0.01])]
        drawn = drawn + 0.2 * rng.normal(size=drawn.shape)
        drawn = np.repeat(drawn, rows, axis=0)  # rows of one prompt are near one another
        drawn = drawn + 0.02 * rng.normal(size=drawn.shape)
        drawn = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
        known = 300 * rows
        prompts = [f"p{i // rows}" for i in range(known)]
        near, held_out = split_prompts(prompts, rng, [str(i) for i in range(known)])
        calibration = Calibration(neighbour_distance(drawn[held_out], drawn[near]), 300)
        p = calibration.p_values(neighbour_distance(drawn[known:], drawn[near]))
        shares.append(np.mean(p <= 0.05))
        all_p.append(p)
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - 5 / 101) <= 4 * error
    for level in (0.01, 0.1, 0.3, 0.7):
        per_draw = [np.mean(p <= level) for p in all_p]
        truth = math.floor(level * 101 + 1e-9) / 101
        error = np.std(per_draw, ddof=1) / math.sqrt(200)
        assert abs(np.mean(per_draw) - truth) <= 4 * error


def test_share_counts_the_points_with_p_above_the_level() -> None:
    rng = np.random.default_rng(3)
    for m in (19, 40, 99, 257):
        calibration, distance = Calibration(rng.random(m), 3 * m), 0.1 + rng.random(200)
        found = support_share(distance, calibration, np.arange(200))
        assert found.value == np.mean(calibration.p_values(distance) > 0.05)
        assert found.value == pytest.approx(1 - np.mean(calibration.outside(distance)))
        assert found.low < found.value < found.high
        assert (found.n, found.n_clusters) == (200, 200)


def test_interval_knows_that_the_threshold_is_estimated() -> None:
    # Points and calibration uniform: the share at the threshold is Beta(m + 1 - j, j) with j = 20,
    # SD 0.011; a binomial interval on the 2,000 points alone has an SD of 0.005.
    truth, m, inside = 0.95, 400, 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        calibration = Calibration(rng.random(m), 3 * m)
        found = support_share(rng.random(2000), calibration, np.arange(2000))
        inside += found.low <= truth <= found.high
    assert inside / 400 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 400)


def test_few_calibration_prompts_are_allowed_for() -> None:
    """With 33 the threshold is the largest distance: a symmetric error of it would be zero."""
    held = np.zeros(2)  # by number of calibration prompts
    truth, sets = 0.95 / 1.2, 500  # points uniform on (0, 1.2)
    for place, m in enumerate((33, 67)):
        for seed in range(sets):
            rng = np.random.default_rng([m, seed])
            found = support_share(
                1.2 * rng.random(200), Calibration(rng.random(m), 3 * m), np.arange(200)
            )
            held[place] += found.low <= truth <= found.high
    error = math.sqrt(0.95 * 0.05 / sets)
    assert (held / sets >= 0.95 - 3 * error).all()
    assert (held / sets <= 0.985 + error).all()  # the allowance is no more than is needed


def test_ranks_hold_the_true_threshold_by_the_binomial_law() -> None:
    for m, confidence in ((99, 0.95), (400, 0.9), (1_000, 0.95)):
        low, high = Calibration(np.arange(float(m)), 3 * m).ranks(0.05, confidence)
        below = binom(m, 0.95)  # how many distances lie below the true 95 % point
        tail = (1 - confidence) / 2
        # X_(r) is above the point where fewer than r distances are below it.
        assert below.cdf(math.floor(low) - 1) <= tail <= below.cdf(math.ceil(low) - 1)
        assert below.sf(math.floor(high) - 1) >= tail >= below.sf(math.ceil(high) - 1)
    assert Calibration(np.arange(33.0), 99).ranks(0.05, 0.95)[1] > 33  # 0.95 ** 33 is above 0.025


def test_a_gap_between_the_sides_knows_it_too() -> None:
    """Values that fall with distance: a mean outside less one inside moves with the threshold."""
    held = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        calibration, distance = Calibration(rng.random(200), 600), 2 * rng.random(3000)
        values = distance**2 + 0.01 * rng.normal(size=3000)

        def gap(threshold: float, d=distance, v=values) -> list:  # type: ignore[no-untyped-def,type-arg]
            inside = (d <= threshold).astype(float)
            return [(1.0, v * (1 - inside), 1 - inside), (-1.0, v * inside, inside)]

        found = threshold_ratios(gap, calibration, np.arange(3000))
        # At a threshold of t = 0.95: the mean of d^2 on (t, 2) less that on (0, t).
        t = 0.95
        truth = (8 - t**3) / 3 / (2 - t) - t**2 / 3
        held += found.low <= truth <= found.high
        assert found.influence is not None
        assert found.influence.size == 3000
    assert held / 300 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 300)


def test_what_cannot_be_known_is_undefined() -> None:
    few = support_share(np.ones(10), Calibration(np.ones(18), 49), np.arange(10))
    assert math.isnan(few.value)
    assert "49 distinct prompts" in str(few.undefined_reason)
    strict = support_share(np.ones(10), Calibration(np.ones(40), 120), np.arange(10), alpha=0.01)
    assert "99 are needed" in str(strict.undefined_reason)
    one = support_share(np.ones(10), Calibration(np.ones(50), 150), np.zeros(10, dtype=int))
    assert one.undefined_reason == "one prompt: no interval"
    none = support_share(np.zeros(0), Calibration(np.ones(50), 150), np.zeros(0, dtype=int))
    assert none.undefined_reason == "no rows"
    # All contexts the same: all inside, and the interval still has width.
    same = support_share(np.zeros(50), Calibration(np.zeros(50), 150), np.arange(50))
    assert same.value == 1
    assert same.low < 1
