"""Fixed effects against dummy variables; the unit of reward by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.stats.regression import fixed_effects_slope
from rmaudit.stats.scale import within_prompt_sd


def test_slope_equals_dummy_variable_regression() -> None:
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(0, 15, 90))
    x = rng.normal(size=90) + codes
    y = 0.7 * x + 3.0 * codes + rng.normal(size=90)
    dummies = (codes[:, None] == np.arange(15)).astype(float)
    expected = np.linalg.lstsq(np.column_stack([x, dummies]), y, rcond=None)[0][0]
    assert fixed_effects_slope(y, x, codes).value == pytest.approx(expected, abs=1e-10)


def test_slope_ignores_a_shift_of_each_prompt() -> None:
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(30), 2)
    x, y = rng.normal(size=60), rng.normal(size=60)
    plain = fixed_effects_slope(y, x, codes)
    shifted = fixed_effects_slope(y + 100.0 * codes, x, codes)
    assert shifted.value == pytest.approx(plain.value, abs=1e-10)
    assert shifted.ci == pytest.approx(plain.ci, abs=1e-10)


def test_prompts_in_which_x_is_constant_say_nothing() -> None:
    x = np.array([0.0, 1, 0, 1, 0, 1, 0.1, 0.1, 0.1])
    y = np.array([0.0, 1, 0, 2, 0, 3, 5, 6, 7])
    estimate = fixed_effects_slope(y, x, np.array([0, 0, 1, 1, 2, 2, 3, 3, 3]))
    assert estimate.value == pytest.approx(2.0, abs=1e-12)  # the mean of slopes 1, 2, 3
    assert (estimate.n, estimate.n_clusters) == (6, 3)


@pytest.mark.parametrize("x", [[], [0.1, 0.1, 0.1]])
def test_slope_without_variation_is_undefined(x: list[float]) -> None:
    estimate = fixed_effects_slope(np.arange(len(x)), np.array(x), np.zeros(len(x), dtype=int))
    assert estimate.undefined_reason == "x does not vary within any prompt"


def test_slope_intervals_cover() -> None:
    """200 prompts, 2 to 5 rows each, heteroscedastic errors; 1,500 replications."""
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(1500):
        codes = np.repeat(np.arange(200), rng.integers(2, 6, 200))
        x = rng.normal(size=codes.size)
        slope = 0.5 + 0.5 * rng.normal(size=200)[codes]  # slopes differ by prompt
        y = slope * x + rng.normal(size=codes.size) * (1 + np.abs(x))
        estimate = fixed_effects_slope(y, x, codes)
        hits += estimate.low <= 0.5 <= estimate.high
    assert abs(hits / 1500 - 0.95) < 0.015 + 4 * 0.0057


def test_sd_by_hand() -> None:
    # deviations -1, 1 and -2, 0, 2: (2 + 8) / (5 - 2)
    rewards, prompts = np.array([0.0, 2, 5, 7, 9]), np.array([0, 0, 1, 1, 1])
    assert within_prompt_sd(rewards, prompts) == pytest.approx(math.sqrt(10 / 3), abs=1e-15)


def test_sd_of_one_pair_a_prompt_is_the_root_mean_square_margin_over_root_two() -> None:
    rng = np.random.default_rng(3)
    chosen, rejected = rng.normal(size=50), rng.normal(size=50)
    sd = within_prompt_sd(np.r_[chosen, rejected], np.tile(np.arange(50), 2))
    assert sd == pytest.approx(math.sqrt(np.mean((chosen - rejected) ** 2) / 2), abs=1e-12)


def test_sd_is_scale_free_in_the_prompt_level_and_equivariant_in_scale() -> None:
    rng = np.random.default_rng(4)
    rewards, prompts = rng.normal(size=60), np.repeat(np.arange(20), 3)
    moved = 3.0 * rewards + 10.0 * prompts
    assert within_prompt_sd(moved, prompts) == pytest.approx(
        3.0 * within_prompt_sd(rewards, prompts), rel=1e-12
    )


def test_sd_does_not_change_when_the_data_are_duplicated() -> None:
    rng = np.random.default_rng(5)
    rewards, prompts = rng.normal(size=40), np.repeat(np.arange(20), 2)
    twice = within_prompt_sd(np.tile(rewards, 2), np.tile(prompts, 2))
    assert twice == pytest.approx(within_prompt_sd(rewards, prompts), rel=1e-12)


def test_sd_counts_tied_texts_when_texts_are_told_apart() -> None:
    # prompt 0: texts 0 and 1 both 1.0; prompt 1: 0 and 2: (0 + 2) / (4 - 2) = 1
    rewards, prompts = np.array([1.0, 1, 0, 2]), np.array([0, 0, 1, 1])
    assert within_prompt_sd(rewards, prompts, np.array([0, 1, 0, 1])) == 1.0
    doubled = within_prompt_sd(
        np.tile(rewards, 2), np.tile(prompts, 2), np.tile(np.array([0, 1, 0, 1]), 2)
    )
    assert doubled == 1.0


def test_sd_leaves_non_finite_rewards_out() -> None:
    rewards = np.array([0.0, 2.0, math.nan, math.inf])
    assert within_prompt_sd(rewards, np.zeros(4, dtype=int)) == pytest.approx(math.sqrt(2))


def test_sd_of_constant_rewards_is_zero_and_of_single_texts_undefined() -> None:
    assert within_prompt_sd(np.ones(4), np.array([0, 0, 1, 1])) == 0.0
    assert math.isnan(within_prompt_sd(np.arange(3.0), np.arange(3)))
