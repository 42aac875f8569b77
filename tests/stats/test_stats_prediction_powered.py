"""Prediction-powered means: the formula, coverage, and never wider than gold alone."""

from __future__ import annotations

import numpy as np
import pytest

from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.prediction_powered import prediction_powered_mean, width_ratio


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
