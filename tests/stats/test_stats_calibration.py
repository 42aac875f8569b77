"""Proper scores, over-confidence and temperature: by hand, by definition, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from rmaudit.stats.calibration import (
    brier_score,
    cross_fitted_margins,
    fold,
    negative_log_likelihood,
    overconfidence,
    temperature,
)
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.law import p_at_least


def simulate(n: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Margins whose sigmoid is calibrated after division by `scale`."""
    strength = np.abs(rng.normal(1.0, 1.5, n))
    return scale * np.where(rng.random(n) < expit(strength), strength, -strength)


def test_fold_by_hand() -> None:
    log3 = math.log(3)  # sigmoid = 3/4
    confidence, correct = fold(np.array([log3, -log3, 0.0]), np.array([1.0, 0.8, 0.7]))
    assert confidence == pytest.approx([0.75, 0.75, 0.5], abs=1e-15)
    assert correct == pytest.approx([1.0, 0.2, 0.5], abs=1e-15)


def test_scores_by_hand() -> None:
    log3 = math.log(3)
    margins, codes = np.array([log3, log3, -log3, 0.0]), np.arange(4)
    # p = 3/4, 3/4, 1/4, 1/2
    brier = (1 / 16 + 1 / 16 + 9 / 16 + 1 / 4) / 4
    assert brier_score(margins, codes).value == pytest.approx(brier, abs=1e-15)
    nll = -(2 * math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 2)) / 4
    assert negative_log_likelihood(margins, codes).value == pytest.approx(nll, abs=1e-15)
    # confidence 3/4, 3/4, 3/4, 1/2; right 1, 1, 0, 1/2
    assert overconfidence(margins, codes).value == pytest.approx((2.75 - 2.5) / 4, abs=1e-15)


def test_scores_equal_those_of_the_symmetrised_set() -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(1, 2, 200)
    p = expit(margins)
    both, labels = np.r_[p, 1 - p], np.r_[np.ones(200), np.zeros(200)]
    codes = np.arange(200)
    assert brier_score(margins, codes).value == pytest.approx(brier_score_loss(labels, both))
    assert negative_log_likelihood(margins, codes).value == pytest.approx(log_loss(labels, both))


def test_votes_are_the_target() -> None:
    margins, share = np.array([1.0, -2.0]), np.array([2 / 3, 1 / 4])
    p = expit(margins)
    codes = np.arange(2)
    assert brier_score(margins, codes, targets=share).value == pytest.approx(
        np.mean((p - share) ** 2), abs=1e-15
    )
    nll = -np.mean(share * np.log(p) + (1 - share) * np.log(1 - p))
    estimate = negative_log_likelihood(margins, codes, targets=share)
    assert estimate.value == pytest.approx(nll, abs=1e-14)


def test_relabelling_the_outputs_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    margins, share, codes = rng.normal(1, 1, 90), rng.random(90), np.repeat(np.arange(45), 2)
    flip = rng.random(90) < 0.5
    swapped, other = np.where(flip, -margins, margins), np.where(flip, 1 - share, share)
    for statistic in (brier_score, negative_log_likelihood, overconfidence, temperature):
        first = statistic(margins, codes, targets=share)
        second = statistic(swapped, codes, targets=other)
        assert second.value == pytest.approx(first.value, rel=1e-9)
        assert second.ci == pytest.approx(first.ci, rel=1e-9)


def test_huge_margins_stay_finite() -> None:
    margins = np.array([1e4, -1e4, 2e3, 5.0])
    assert negative_log_likelihood(margins, np.arange(4)).value == pytest.approx(
        (1e4 + np.log1p(np.exp(-5.0))) / 4
    )


def test_temperature_equals_logistic_regression_without_penalty() -> None:
    margins = simulate(400, 2.5, np.random.default_rng(2))
    both = np.r_[margins, -margins][:, None]
    labels = np.r_[np.ones(400), np.zeros(400)]
    fit = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10, max_iter=1000)
    slope = fit.fit(both, labels).coef_[0, 0]
    assert temperature(margins, np.arange(400)).value == pytest.approx(1 / slope, rel=1e-5)


def test_temperature_is_equivariant_in_scale() -> None:
    margins = simulate(300, 1.0, np.random.default_rng(3))
    codes = np.arange(300)
    one, many = temperature(margins, codes), temperature(1e6 * margins, codes)
    assert many.value == pytest.approx(1e6 * one.value, rel=1e-9)
    assert many.ci == pytest.approx((1e6 * one.low, 1e6 * one.high), rel=1e-9)


def test_temperature_of_two_margins_by_hand() -> None:
    # margins 1, 1, 1, -1 (3/4 right): sigmoid(1 / T) = 3/4, so T = 1 / log 3
    estimate = temperature(np.array([1.0, 1, 1, -1]), np.arange(4))
    assert estimate.value == pytest.approx(1 / math.log(3), rel=1e-10)


@pytest.mark.parametrize(
    ("margins", "reason"),
    [
        ([], "no rows"),
        ([1.0, -2.0, 0.5], "mean margin is not positive"),
        ([0.0, 0.0], "mean margin is not positive"),
        ([1.0, 2.0, 0.0], "no margin is on the wrong side"),
    ],
)
def test_temperature_undefined(margins: list[float], reason: str) -> None:
    estimate = temperature(np.array(margins), np.arange(len(margins)))
    assert math.isnan(estimate.value)
    assert reason in str(estimate.undefined_reason)


def test_temperature_of_one_prompt_has_no_interval() -> None:
    estimate = temperature(np.array([1.0, 1, -1]), np.zeros(3, dtype=int))
    assert estimate.undefined_reason == "one prompt: no interval"


def test_cross_fitted_margins_use_other_prompts_only() -> None:
    margins = simulate(60, 2.0, np.random.default_rng(4))
    codes = np.repeat(np.arange(30), 2)
    scaled = cross_fitted_margins(margins, codes, rng=np.random.default_rng(5))
    assert scaled is not None
    slopes = scaled / margins
    assert (np.ptp(slopes.reshape(30, 2), axis=1) < 1e-12).all()  # a prompt is in one fold
    for slope in np.unique(slopes.round(12)):
        held_out = np.isclose(slopes, slope)
        fitted = temperature(margins[~held_out], codes[~held_out]).value
        assert 1 / slope == pytest.approx(fitted, rel=1e-9)


def test_cross_fitted_margins_without_a_temperature() -> None:
    rng = np.random.default_rng(0)
    assert cross_fitted_margins(np.ones(6), np.arange(6), rng=rng) is None


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_intervals_cover(scale: float) -> None:
    """800 replications at 200 prompts have a standard error of 0.8 points; four of them."""
    rng = np.random.default_rng(int(10 * scale))
    grid = np.linspace(-11.0, 13.0, 4001)  # the expectations, by integration
    mass = np.exp(-0.5 * ((grid - 1.0) / 1.5) ** 2)
    mass /= mass.sum()
    right, claimed = expit(np.abs(grid)), expit(scale * np.abs(grid))
    truth = {
        temperature: scale,
        overconfidence: mass @ (claimed - right),
        brier_score: mass @ (right * (1 - claimed) ** 2 + (1 - right) * claimed**2),
        negative_log_likelihood: mass
        @ (np.logaddexp(0, -scale * np.abs(grid)) + (1 - right) * scale * np.abs(grid)),
    }
    hits = dict.fromkeys(truth, 0)
    for _ in range(800):
        margins = simulate(200, scale, rng)
        for statistic, value in truth.items():
            estimate = statistic(margins, np.arange(200))
            hits[statistic] += estimate.low <= value <= estimate.high
    for statistic, count in hits.items():
        assert abs(count / 800 - 0.95) < 0.015 + 4 * 0.008, statistic.__name__


def test_few_pairs_all_correct_are_no_certainty() -> None:
    """15 of 15 by labels of chance 0.6 is one draw in 2,100; a sandwich has z = 9."""
    margins = np.full(15, math.log(1.5)) + np.linspace(-0.2, 0.2, 15)
    found = overconfidence(margins, np.arange(15))
    product = float(np.prod(expit(margins)))
    # The high end is where all correct have half of 2.5% to spare: chances' product is 5%.
    shift = -found.high
    assert np.prod(expit(margins) + shift) == pytest.approx(0.05, rel=1e-3)
    assert 0.3 * product < p_at_least(found, 0.0) < 0.02
    # The same of 15 wrong ones, from the other side.
    wrong = overconfidence(-margins, np.arange(15))
    assert np.prod(1 - (expit(margins) - wrong.low)) == pytest.approx(0.05, rel=1e-3)


def test_false_alarms_of_small_subsets_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(3)
    draws, under, found = 600, 0, 0
    for _ in range(draws):
        strength = np.abs(rng.normal(0, 1, 15)) * np.where(rng.random(15) < 0.4, 0.4, 4)
        sound = np.where(rng.random(15) < expit(strength), strength, -strength)
        under += p_at_least(overconfidence(sound, np.arange(15), confidence=0.99), 0.0) < 0.005
        timid = np.where(rng.random(15) < expit(8 * strength), strength, -strength) / 4
        found += overconfidence(timid, np.arange(15)).high < 0
    assert under <= 9  # of 0.5%: three expected, over 9 in 0.1%
    assert found > 0.4 * draws


def test_large_samples_keep_the_sandwich_and_copies_are_one_cluster() -> None:
    rng = np.random.default_rng(5)
    margins = simulate(900, 1.0, rng)
    sandwich = cluster_mean(np.subtract(*fold(margins)), np.arange(900), bounds=(-1.0, 1.0))
    found = overconfidence(margins, np.arange(900))
    assert found.high - found.low == pytest.approx(sandwich.high - sandwich.low, rel=0.1)
    copies = overconfidence(np.repeat(margins, 3), np.repeat(np.arange(900), 3))
    assert (copies.low, copies.high) == pytest.approx((found.low, found.high), abs=2e-3)
    # Equal rewards claim one half and keep it, whatever the label.
    level = overconfidence(np.r_[margins, np.zeros(100)], np.arange(1000))
    assert level.value == pytest.approx(0.9 * found.value)
    assert level.high - level.low < 0.95 * (found.high - found.low)
