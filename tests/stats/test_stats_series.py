"""Means over windows of a time series: errors and sets hold what they promise under dependence."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.stats.series import Points, argmax_set, highest_over, noise_of, window_means

N, WINDOWS = 120, 12


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    out = np.empty(n)
    out[0] = rng.standard_normal()
    for t, shock in enumerate(rng.standard_normal(n - 1) * math.sqrt(1 - phi**2), 1):
        out[t] = phi * out[t - 1] + shock
    return out


def points(values: np.ndarray, *, turns: bool = False) -> Points:
    noise = noise_of(values, turns=turns)
    assert noise is not None
    return window_means(values, np.arange(N) * 1.0, np.linspace(-0.5, N - 0.5, WINDOWS + 1), noise)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_dependence_and_variance_are_found_behind_a_trend(phi: float) -> None:
    rng = np.random.default_rng(0)
    trend = 5 * np.sqrt(np.linspace(0, 1, N))
    found = [noise_of(trend + ar1(rng, N, phi)) for _ in range(60)]
    assert np.mean([one.phi for one in found if one]) == pytest.approx(phi, abs=0.08)
    if phi < 0.8:  # nearer to one the variance of so short a series has a long tail
        assert np.mean([one.variance for one in found if one]) == pytest.approx(1, abs=0.12)


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_the_error_of_a_difference_covers_the_truth(phi: float) -> None:
    rng = np.random.default_rng(1)
    along = np.zeros(WINDOWS)
    along[-1], along[0] = 1, -1
    held = []
    for _ in range(200):
        made = points(ar1(rng, N, phi))
        held.append(abs(along @ made.value) <= made.quantile(0.975) * made.error(along))
    assert 0.90 <= np.mean(held) <= 0.99  # 0.95 and three Monte Carlo errors, less the estimate's


def test_window_means_have_the_covariance_of_their_definition() -> None:
    rng = np.random.default_rng(2)
    values = ar1(rng, N, 0.6)
    noise = noise_of(values)
    assert noise is not None
    made = points(values)
    steps = np.arange(N)
    full = noise.variance * noise.phi ** np.abs(steps[:, None] - steps[None, :])
    width = N // WINDOWS
    slow = full.reshape(WINDOWS, width, WINDOWS, width).mean(axis=(1, 3))
    assert np.allclose(made.covariance, slow)
    assert np.allclose(made.value, values.reshape(WINDOWS, width).mean(axis=1))


def test_a_rise_is_said_to_fall_in_few_series_and_a_turn_in_most() -> None:
    rng = np.random.default_rng(3)
    u = np.linspace(0, 1, N)
    rising, turning = 1 - np.exp(-4 * u), 1 - np.exp(-6 * u) - 2.5 * np.maximum(u - 0.4, 0)
    falls, found, held = 0, 0, 0
    for _ in range(60):
        noise = 0.12 * ar1(rng, N, 0.8)
        falls += highest_over(points(rising + noise, turns=True), WINDOWS - 1, rng).low > 0
        made = points(turning + noise, turns=True)
        found += highest_over(made, WINDOWS - 1, rng).low > 0
        truth = turning.reshape(WINDOWS, -1).mean(axis=1)
        held += argmax_set(made, rng)[int(np.argmax(truth))]
    assert falls <= 8  # at most 5 %, and three Monte Carlo errors
    assert found >= 45
    assert held >= 54


def test_a_corner_is_no_noise_where_it_may_turn() -> None:
    tent = np.minimum(np.arange(N), N - np.arange(N)) * 1.0
    plain, cornered = noise_of(tent), noise_of(tent, turns=True)
    assert plain is not None
    assert cornered is not None
    assert cornered.variance < 1e-3 * plain.variance


def test_two_values_have_no_noise_of_their_own() -> None:
    assert noise_of(np.array([1.0, 2.0])) is None
    three = noise_of(np.array([1.0, 2.0, 1.0]))
    assert three is not None
    assert three.freedom == pytest.approx(1, abs=0.5)


def test_of_points_without_an_error_the_highest_are_known() -> None:
    exact = Points(np.array([0.0, 2.0, 1.0, 2.0]), np.zeros((4, 4)), 5.0, 4)
    inside = argmax_set(exact, np.random.default_rng(0))
    assert inside.tolist() == [False, True, False, True]
    flat = Points(np.ones(3), np.zeros((3, 3)), 5.0, 3)
    assert argmax_set(flat, np.random.default_rng(0)).all()
    noisy = np.diag([0.0, 0.0, 1.0])  # of the third little is known: it may be the highest
    mixed = argmax_set(Points(np.array([0.0, 2.0, 1.0]), noisy, 50.0, 3), np.random.default_rng(0))
    assert mixed.tolist() == [False, True, True]
