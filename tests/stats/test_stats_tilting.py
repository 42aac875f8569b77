"""Tilted policies: against enumeration, the slow definition, and what scale must not change."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.stats.tilting import (
    effective_size,
    equal_kl_beta,
    performance_gap,
    tilted_kl,
    tilted_mean,
    tilted_weights,
)


def test_weights_by_hand() -> None:
    # exp(0) : exp(log 3) = 1 : 3 at beta 1, and 1 : 9 at beta one half
    reward = np.array([[0.0, math.log(3), math.nan]])
    assert tilted_weights(reward, 1.0)[0] == pytest.approx([0.25, 0.75, 0.0])
    assert tilted_weights(reward, 0.5)[0] == pytest.approx([0.1, 0.9, 0.0])
    assert effective_size(np.array([[0.25, 0.75]]))[0] == pytest.approx(1 / (1 / 16 + 9 / 16))
    # KL from uniform on two: 1/4 log(1/2) + 3/4 log(3/2)
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert tilted_kl(np.array([[0.25, 0.75]]), np.array([2]))[0] == pytest.approx(expected)


def test_large_rewards_do_not_overflow() -> None:
    weights = tilted_weights(np.array([[1e6, 0.0], [-1e6, -1e6]]), 0.1)
    assert weights.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert tilted_kl(weights, np.array([2, 2])) == pytest.approx([math.log(2), 0.0])


def test_a_context_without_samples_is_nan() -> None:
    nothing = np.array([[math.nan, math.nan], [1.0, math.nan]])
    assert np.isnan(tilted_weights(nothing, 1.0)[0]).all()
    assert np.isnan(tilted_mean(nothing, nothing, 1.0)).all()  # one sample cannot be tilted


def test_jackknife_is_that_of_the_slow_definition() -> None:
    rng = np.random.default_rng(0)
    value, reward = rng.normal(size=(2, 5, 7))
    reward[3, 5:] = math.nan

    def plain(v: np.ndarray, r: np.ndarray) -> float:
        w = np.exp(r / 0.7)
        return float((w * v).sum() / w.sum())

    found = tilted_mean(value, reward, 0.7)
    for c in range(5):
        there = np.isfinite(reward[c])
        v, r = value[c, there], reward[c, there]
        k = len(v)
        left_out = [plain(np.delete(v, j), np.delete(r, j)) for j in range(k)]
        assert found[c] == pytest.approx(k * plain(v, r) - (k - 1) * np.mean(left_out))


def test_gap_of_a_known_policy_is_inside_its_interval_and_centred() -> None:
    # Two outputs a context, equally likely: everything can be enumerated.
    # Gold is +-1 by the output, the proxy has the opposite sign in a quarter of the contexts.
    rng = np.random.default_rng(1)
    beta, covered, values = 1.0, 0, []
    tilt = math.tanh(1 / beta)  # J of a policy tilted by +-1 with SD 1
    truth = 2 * tilt / 4  # a quarter of the contexts lose 2 tanh(1)
    for _ in range(200):
        sign = np.where(rng.random(100) < 0.25, -1.0, 1.0)[:, None]
        gold = rng.choice([-1.0, 1.0], size=(100, 24))
        gap = performance_gap(gold, 7 * sign * gold + 3, beta, np.arange(100)).gap
        covered += gap.low <= truth <= gap.high
        values.append(gap.value)
    # Binomial: 95 % of 200 is 190, with an SD of 3; a quarter of a standard error of bias.
    assert covered >= 178
    assert abs(np.mean(values) - truth) < 4 * np.std(values) / math.sqrt(200) + 0.005


def test_scale_and_level_of_either_reward_change_nothing() -> None:
    rng = np.random.default_rng(2)
    gold, noise = rng.normal(size=(2, 40, 16))
    proxy = gold + noise
    level = rng.normal(size=(40, 1))
    one = performance_gap(gold, proxy, 2.0, np.arange(40))
    other = performance_gap(5 * gold + level, 0.1 * proxy - level, 2.0, np.arange(40))
    assert other.gap.value == pytest.approx(one.gap.value)
    assert other.gap.ci == pytest.approx(one.gap.ci)
    assert other.equal_kl_gap.value == pytest.approx(one.equal_kl_gap.value)


def test_the_truth_itself_has_no_gap() -> None:
    gold = np.random.default_rng(3).normal(size=(30, 16))
    gap = performance_gap(gold, 2 * gold, 1.0, np.arange(30))
    assert gap.gap.value == pytest.approx(0, abs=1e-12)
    assert gap.gold.value == pytest.approx(gap.proxy.value)
    assert gap.equal_kl_beta == pytest.approx(1.0)


def test_equal_kl_is_equal() -> None:
    rng = np.random.default_rng(4)
    reward = rng.standard_t(3, size=(20, 32))
    counts = np.full(20, 32)
    beta = equal_kl_beta(reward, 0.4)
    assert tilted_kl(tilted_weights(reward, beta), counts).mean() == pytest.approx(0.4)
    assert math.isnan(equal_kl_beta(reward, 10.0))  # more than log 32
    assert math.isnan(equal_kl_beta(np.zeros((20, 4)), 0.1))


@pytest.mark.parametrize(
    ("gold", "proxy", "reason"),
    [
        (np.ones((5, 4)), np.arange(20.0).reshape(5, 4), "gold reward is the same"),
        (np.arange(20.0).reshape(5, 4), np.ones((5, 4)), "model's reward is the same"),
        (np.arange(4.0).reshape(1, 4), np.arange(4.0).reshape(1, 4), "fewer than two prompts"),
        (np.full((5, 4), np.nan), np.ones((5, 4)), "fewer than two prompts"),
        (np.zeros((5, 0)), np.zeros((5, 0)), "fewer than two prompts"),
    ],
)
def test_what_cannot_be_known_is_undefined(
    gold: np.ndarray, proxy: np.ndarray, reason: str
) -> None:
    gap = performance_gap(gold, proxy, 1.0, np.arange(len(gold)))
    assert math.isnan(gap.gap.value)
    assert reason in (gap.gap.undefined_reason or "")


def test_too_few_effective_samples_are_said() -> None:
    gold = np.random.default_rng(5).normal(size=(50, 8))
    gap = performance_gap(gold, gold, 0.1, np.arange(50))
    assert "effective sample size" in (gap.gap.undefined_reason or "")
    assert gap.effective_gold < 2
