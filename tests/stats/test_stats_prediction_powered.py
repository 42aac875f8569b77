"""Prediction-powered means: the formula, coverage, and never wider than gold alone."""

from __future__ import annotations

import numpy as np
import pytest

from rmaudit.overoptimization.curves import Pool, best_of_n_curve, judged
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.prediction_powered import (
    prediction_powered_mean,
    prediction_powered_values,
    width_ratio,
)


def drawn(
    seed: int, correlation: float, gold: int = 100, rest: int = 900
) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    judge = rng.normal(size=gold + rest)
    noise = np.sqrt(1 - correlation**2) * rng.normal(size=gold + rest)
    truth = 0.3 + correlation * judge + noise
    return (
        np.where(np.arange(gold + rest) < gold, truth, np.nan),
        5 * judge + 2,
        np.arange(gold + rest),
    )


def test_the_value_and_the_error_are_the_formulas() -> None:
    y, f, codes = drawn(0, 0.8)
    gold, judge, others = y[:100], f[:100], f[100:]
    cov = np.cov(gold, judge)
    weight = cov[0, 1] / ((1 + 100 / 900) * cov[1, 1])
    found = prediction_powered_mean(y, f, codes)
    assert found.value == pytest.approx(weight * others.mean() + (gold - weight * judge).mean())
    assert found.influence is not None
    square = weight**2 * others.var(ddof=1) / 900 + (gold - weight * judge).var(ddof=1) / 100
    assert np.sum(found.influence**2) == pytest.approx(square)
    assert (found.n, found.n_clusters, found.method) == (100, 100, "prediction-powered")


def test_the_width_is_what_is_said_beforehand() -> None:
    for correlation in (0.41, 0.8):
        shares = []
        for seed in range(40):
            y, f, codes = drawn(seed, correlation)
            both, alone = prediction_powered_mean(y, f, codes), cluster_mean(y[:100], codes[:100])
            shares.append((both.high - both.low) / (alone.high - alone.low))
        assert np.mean(shares) == pytest.approx(width_ratio(correlation, 9), abs=0.02)
    assert width_ratio(0.41, np.inf) == pytest.approx(0.912, abs=1e-3)  # 9 % narrower
    assert width_ratio(0.14, np.inf) == pytest.approx(0.990, abs=1e-3)  # nothing


def test_it_covers_and_a_worthless_judge_costs_nothing() -> None:
    inside = 0
    for seed in range(400):
        y, f, codes = drawn(seed, 0.6, gold=40, rest=300)
        found = prediction_powered_mean(y, f, codes)
        inside += found.low <= 0.3 <= found.high
    assert inside >= 366  # 95 % less 3.9 standard errors, less what a fitted weight costs
    for seed in range(40):
        y, f, codes = drawn(seed, 0.0, gold=30, rest=60)
        both, alone = prediction_powered_mean(y, f, codes), cluster_mean(y[:30], codes[:30])
        assert both.high - both.low <= 1.01 * (alone.high - alone.low)


def test_rows_of_one_prompt_stay_together() -> None:
    y, f, codes = drawn(1, 0.5, gold=20, rest=40)
    with pytest.raises(ValueError, match="split by prompt"):
        prediction_powered_mean(y, f, np.zeros_like(codes))
    assert prediction_powered_mean(y[:20], f[:20], codes[:20]) == cluster_mean(y[:20], codes[:20])


def pools(seed: int, correlation: float, prompts: int = 120, gold: int = 40) -> tuple[Pool, Pool]:
    """The same samples with gold on some prompts alone, and with a judge on all."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(prompts, 8)) + rng.normal(size=(prompts, 1))
    proxy = truth + rng.normal(size=truth.shape)
    other = rng.normal(size=truth.shape) + rng.normal(size=(prompts, 1))
    judge = 2 * (correlation * truth + np.sqrt(1 - correlation**2) * other) + 1
    truth[gold:] = np.nan
    codes = np.arange(prompts)
    return Pool.of(proxy, truth, codes), Pool.of(proxy, truth, codes, judge)


def test_values_have_the_mean_and_the_error_of_the_prediction_powered_mean() -> None:
    y, f, codes = drawn(2, 0.8, gold=400, rest=900)
    codes = codes // 2  # two rows a prompt, with gold or without
    values = prediction_powered_values(y[:, None], f[:, None], codes)[:, 0]
    found, wanted = cluster_mean(values, codes), prediction_powered_mean(y, f, codes)
    assert found.value == pytest.approx(wanted.value, rel=1e-12)
    # Two degrees of freedom of 200 prompts, and the quantile of Student's law.
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=0.01)
    assert prediction_powered_values(f[:, None], f[:, None], codes) == pytest.approx(f[:, None])


def test_the_gain_of_best_of_n_covers_and_a_good_judge_narrows_it() -> None:
    # E of the best of 8 by truth plus noise of equal variance: the normal maximum over sqrt(2).
    truth = 1.4236 / np.sqrt(2)
    inside, width = 0, []
    for seed in range(300):
        alone, both = (best_of_n_curve(pool, (1, 8)) for pool in pools(seed, 0.9))
        gains = [cluster_mean(c.gold[:, 1] - c.gold_start, c.clusters) for c in (alone, both)]
        inside += gains[1].low <= truth <= gains[1].high
        width.append((gains[1].high - gains[1].low) / (gains[0].high - gains[0].low))
    assert 274 <= inside <= 296  # 95 % of 300, 2.9 standard errors either way
    assert np.mean(width) < 0.85


def test_a_judge_that_is_worth_nothing_is_left_aside() -> None:
    for seed in range(20):
        alone, both = (best_of_n_curve(pool) for pool in pools(seed, 0.0))
        for a, b in zip(alone.means("gold"), both.means("gold"), strict=True):
            assert b.high - b.low <= 1.01 * (a.high - a.low)


def test_under_thirty_prompts_with_gold_they_stand_alone() -> None:
    alone, both = pools(0, 0.9, gold=29)
    assert both.judge is None
    assert judged(both) == "(judge_rewards are left aside: 29 prompts have gold, 30 are needed)"
    assert len(both.gold) == len(alone.gold) == 29
    assert both.set_aside == {"no sample has both rewards": 91}
