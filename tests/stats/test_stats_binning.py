"""Binned and smooth calibration errors: by hand, by definition, netcal, relplot, simulation."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d
from scipy.special import expit, logit

from rmaudit.stats import binning, reliability
from rmaudit.stats.binning import _smoother, bin_codes, binned_calibration, equal_mass_edges
from rmaudit.stats.calibration import brier_score, fold
from rmaudit.stats.deviations import absolute_sum, deviation_interval, largest_absolute
from rmaudit.stats.reliability import reliability_diagram


def simulate(n: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    """Margins whose sigmoid is calibrated after division by `scale`."""
    strength = np.abs(rng.normal(1.0, 1.5, n))
    return scale * np.where(rng.random(n) < expit(strength), strength, -strength)


def measure(margins: np.ndarray, codes: np.ndarray | None = None, **options):
    clusters = np.arange(margins.size) if codes is None else codes
    options = {"resamples": 200, "rng": np.random.default_rng(0)} | options
    return binned_calibration(margins, clusters, **options)


def test_by_hand() -> None:
    # Two bins: confidence 0.6 with 1 of 2 right, confidence 0.9 with 2 of 3 right.
    margins = np.array([1, -1, 1, 1, -1]) * logit([0.6, 0.6, 0.9, 0.9, 0.9])
    found = measure(margins, bins=2)
    low, high = 0.6 - 1 / 2, 0.9 - 2 / 3
    assert found.ece.value == pytest.approx(0.4 * low + 0.6 * high, abs=1e-12)
    assert found.mce.value == pytest.approx(high, abs=1e-12)
    assert found.brier_reliability.value == pytest.approx(0.4 * low**2 + 0.6 * high**2, abs=1e-12)
    assert found.brier_resolution.value == pytest.approx(0.6 * (1 / 6) ** 2, abs=1e-12)


def test_no_error_has_a_bound_above_one() -> None:
    # Three prompts, one bin each: wide intervals, of errors that are shares.
    margins = np.array([-3.0, 2.0, 4.0, -5.0, 1.0, -2.0])
    found = measure(margins, np.array([0, 0, 1, 1, 2, 2]), bins=6)
    for one in (found.mce, found.ece, found.ece_debiased, found.smooth_ece):
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert found.mce.high == 1


def test_against_the_definition_with_votes_and_ties() -> None:
    rng = np.random.default_rng(1)
    margins, share = rng.normal(1, 2, 300).round(1), rng.integers(0, 6, 300) / 5
    claimed, correct = fold(margins, share)
    edges = equal_mass_edges(claimed)
    ece, gaps = 0.0, []
    for low, high in itertools.pairwise(edges):
        rows = (claimed >= low) & ((claimed < high) | (high == 1.0))
        gaps.append(abs(claimed[rows].mean() - correct[rows].mean()))
        ece += rows.mean() * gaps[-1]
    found = measure(margins, targets=share)
    assert found.ece.value == pytest.approx(ece, abs=1e-12)
    assert found.mce.value == pytest.approx(max(gaps), abs=1e-12)


def test_own_statistic_equals_netcal() -> None:
    from netcal.metrics import ECE, MCE

    margins = simulate(500, 2.0, np.random.default_rng(2))
    claimed, correct = fold(margins)
    found = measure(margins)
    expected = ECE(15, equal_intervals=False).measure(claimed, correct)
    assert found.ece.value == pytest.approx(expected, abs=1e-12)
    largest = MCE(15, equal_intervals=False).measure(claimed, correct)
    assert found.mce.value == pytest.approx(largest, abs=1e-12)
    # The resampled statistic is our own: it must be the same number on the data themselves.
    sums = binning._Sums.build((claimed, correct), (claimed, correct), np.arange(500), 15)
    deviations = sums.deviations(np.ones((1, 500)))
    assert absolute_sum(deviations.weighted)[0] == pytest.approx(expected, abs=1e-12)
    assert largest_absolute(deviations.gap)[0] == pytest.approx(largest, abs=1e-12)


def test_edges_hold_equal_mass_and_merge_where_confidences_are_tied() -> None:
    claimed = np.linspace(0.5, 0.99, 300)
    assert np.bincount(bin_codes(claimed, equal_mass_edges(claimed))).tolist() == [20] * 15
    tied = np.repeat([0.6, 0.8], 50)
    edges = equal_mass_edges(tied)
    assert (np.diff(edges) > 0).all()
    assert np.unique(bin_codes(tied, edges)[:50]).size == 1
    assert np.unique(bin_codes(tied, edges)).size == 2


@pytest.mark.parametrize("margins", [[0.0] * 6, [50.0, 60, 70, -55], [1e3, -1e3, 1e3, 1e3]])
def test_saturated_and_constant_confidences(margins: list[float]) -> None:
    found = measure(np.array(margins))
    claimed, correct = fold(np.array(margins))
    if np.ptp(claimed) == 0:  # one bin
        assert found.ece.value == pytest.approx(abs(claimed[0] - correct.mean()), abs=1e-12)
    assert 0 <= found.ece.low <= found.ece.value <= found.ece.high


def test_debiased_equals_its_monte_carlo_definition() -> None:
    margins = simulate(300, 1.5, np.random.default_rng(3))
    claimed, correct = fold(margins)
    place = bin_codes(claimed, equal_mass_edges(claimed))
    n = np.bincount(place)
    c, a = np.bincount(place, claimed) / n, np.bincount(place, correct) / n
    rng = np.random.default_rng(4)
    redrawn = a + rng.normal(size=(200_000, n.size)) * np.sqrt(a * (1 - a) / n)
    sizes = (n / 300 * np.abs(redrawn - c)).sum(axis=1)
    expected = 2 * (n / 300 * np.abs(a - c)).sum() - sizes.mean()
    error = sizes.std() / np.sqrt(200_000)
    assert measure(margins).ece_debiased.value == pytest.approx(expected, abs=5 * error)


def test_debiased_is_unbiased_where_plain_is_not() -> None:
    rng = np.random.default_rng(5)
    plain, debiased = [], []
    for _ in range(60):
        found = measure(simulate(1000, 2.0, rng), resamples=2)
        plain.append(found.ece.value)
        debiased.append(found.ece_debiased.value)
    reference = measure(simulate(400_000, 2.0, rng), resamples=2).ece.value
    error = np.std(debiased) / np.sqrt(60)
    assert abs(np.mean(debiased) - reference) < 4 * error
    assert np.mean(plain) > np.mean(debiased)


def test_published_ece_of_a_calibrated_model() -> None:
    """Ten-bin ECE of a perfect model at 1,000 pairs: 0.033, from uniform p on the whole range."""
    rng = np.random.default_rng(6)
    values = []
    for _ in range(60):
        p = rng.random(1000)
        margins = np.where(rng.random(1000) < p, 1, -1) * logit(p)
        values.append(measure(margins, bins=10, resamples=2).ece.value)
    # confidences max(p, 1 - p) are surer than p itself, so a little below the published number
    assert 0.025 < np.mean(values) < 0.036


def test_smooth_equals_relplot_and_ignores_global_randomness() -> None:
    from relplot import smECE

    margins = simulate(400, 2.0, np.random.default_rng(7))
    value = measure(margins).smooth_ece.value
    assert value == pytest.approx(smECE(*fold(margins)), abs=1e-12)


@pytest.mark.parametrize(("points", "width"), [(201, 0.1), (201, 0.8), (673, 0.015), (2001, 0.004)])
def test_smoother_is_a_gaussian_filter(points: int, width: float) -> None:
    grid = np.random.default_rng(11).normal(size=(3, points))
    start, step = int(max(0.5 - 4 * width, 0) * (points - 1)), max(1, points // 400)
    slowly = gaussian_filter1d(grid, width * (points - 1), axis=1, mode="mirror")
    np.testing.assert_allclose(grid @ _smoother(points, width), slowly[:, start::step], atol=1e-12)


def test_murphy_parts_add_up_when_bins_hold_one_confidence() -> None:
    rng = np.random.default_rng(8)
    margins = rng.choice([-1, 1, 1], 400) * rng.choice(logit([0.55, 0.7, 0.9]), 400)
    found = measure(margins)
    whole = found.brier_reliability.value - found.brier_resolution.value + 0.25
    assert brier_score(margins, np.arange(400)).value == pytest.approx(whole, abs=1e-12)


def test_scale_error_is_mended_by_cross_fitted_temperature() -> None:
    found = measure(simulate(4000, 3.0, np.random.default_rng(9)))
    assert found.ece.value > 0.12
    assert found.ece_after_temperature.value < 0.04
    assert found.ece_after_temperature.high < found.ece.low


def test_duplicating_every_row_changes_no_value_and_no_interval() -> None:
    margins = simulate(200, 2.0, np.random.default_rng(10))
    once, twice = measure(margins), measure(np.tile(margins, 2), np.tile(np.arange(200), 2))
    for name in ("ece", "mce", "brier_reliability", "brier_resolution"):
        first, second = getattr(once, name), getattr(twice, name)
        # quantile edges of doubled data may move one row to the next bin
        assert second.value == pytest.approx(first.value, abs=0.02)
        assert second.n_clusters == first.n_clusters


def test_blocks_of_prompts_give_the_intervals_of_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    margins = simulate(6_000, 2.0, np.random.default_rng(7))
    codes = np.arange(6_000) // 2
    found = measure(margins, codes, resamples=2_000)
    monkeypatch.setattr(binning, "_MOST_PROMPTS", 1_000)
    monkeypatch.setattr(binning, "_BLOCKS", 700)
    blocks = measure(margins, codes, resamples=2_000)
    for name in ("ece", "smooth_ece", "brier_reliability", "brier_resolution"):
        one, other = getattr(found, name), getattr(blocks, name)
        assert other.value == pytest.approx(one.value)
        width = one.high - one.low
        assert other.low == pytest.approx(one.low, abs=0.12 * width)
        assert other.high == pytest.approx(one.high, abs=0.12 * width)


def test_same_seed_same_answer() -> None:
    margins = simulate(100, 1.0, np.random.default_rng(11))
    assert measure(margins) == measure(margins)


def test_one_prompt_is_undefined_throughout() -> None:
    found = measure(np.array([1.0, -1.0, 2.0]), np.zeros(3, dtype=int))
    assert found.ece.undefined_reason == "one prompt: no interval"
    assert np.isnan(found.smooth_ece.value)


def test_no_temperature_leaves_only_the_scaled_error_undefined() -> None:
    found = measure(np.array([1.0, 2.0, 3.0, 4.0]))
    assert found.ece.defined
    assert "the temperature is undefined" in str(found.ece_after_temperature.undefined_reason)


def test_deviation_interval_holds_zero_for_noise_and_not_for_a_fault() -> None:
    rng = np.random.default_rng(12)
    noise = rng.normal(size=(4000, 10))
    low, high = deviation_interval(noise[0], noise[0] + noise, absolute_sum, tail=0.025)
    assert low == 0
    assert high > 0
    fault = np.full(10, 5.0)
    low, high = deviation_interval(fault, fault + noise, absolute_sum, tail=0.025)
    # far from zero the size is linear: 50 +- 1.96 sqrt(10)
    assert (low, high) == pytest.approx((50 - 6.2, 50 + 6.2), abs=0.4)


@pytest.mark.parametrize(("scale", "pairs"), [(1.0, 1), (1.5, 1), (2.0, 3)])
def test_intervals_cover_as_stated(scale: float, pairs: int) -> None:
    """The audit says 92 to 99 %; 80 replications have a standard error of 3 points."""
    rng = np.random.default_rng(int(10 * scale) + pairs)
    strength = np.abs(rng.normal(1.0, 1.5, 25_000))
    claimed, right = expit(scale * strength), expit(strength)
    hits = {"ece_debiased": 0, "mce": 0, "brier_reliability": 0}
    for _ in range(80):
        margins = simulate(200 * pairs, scale, rng)
        codes = np.repeat(np.arange(200), pairs)
        found = measure(margins, codes, rng=rng, resamples=200)
        place = bin_codes(claimed, equal_mass_edges(fold(margins)[0]))
        size = np.bincount(place)
        gap = np.bincount(place, claimed - right) / size
        truth = {
            "ece_debiased": (size / size.sum()) @ np.abs(gap),
            "mce": np.abs(gap).max(),
            "brier_reliability": (size / size.sum()) @ gap**2,
        }
        for name, value in truth.items():
            estimate = getattr(found, name)
            # the reference of a calibrated model is zero but for rounding
            hits[name] += estimate.low <= value + 1e-12 and value <= estimate.high + 1e-12
    for name, count in hits.items():
        assert count / 80 > 0.92 - 4 * 0.03, name


def test_reliability_diagram() -> None:
    rng = np.random.default_rng(13)
    margins = simulate(3000, 1.0, rng)
    diagram = reliability_diagram(margins, np.arange(3000), rng=rng)
    claimed, correct = fold(margins)
    place = bin_codes(claimed, equal_mass_edges(claimed))
    assert diagram.count.tolist() == np.bincount(place).tolist() == [200] * 15
    assert diagram.accuracy[4].value == pytest.approx(correct[place == 4].mean(), abs=1e-12)
    # The band is the normal one of a share at the claimed probability, with 200 pairs a bin.
    middle = claimed[place == 7].mean()
    reach = 1.96 * np.sqrt(middle * (1 - middle) / 200)
    band = (diagram.band_low[7], diagram.band_high[7])
    assert band == pytest.approx((middle - reach, middle + reach), abs=0.012)
    assert np.abs(diagram.curve_y - diagram.curve_x).max() < 0.12


def test_band_narrows_with_votes() -> None:
    rng = np.random.default_rng(14)
    margins = rng.normal(1, 1, 400)
    one = reliability_diagram(margins, np.arange(400), rng=rng)
    nine = reliability_diagram(margins, np.arange(400), rng=rng, votes=np.full(400, 9))
    ratio = (nine.band_high - nine.band_low).mean() / (one.band_high - one.band_low).mean()
    assert ratio == pytest.approx(1 / 3, rel=0.1)


def test_band_of_large_data_is_the_simulated_one(monkeypatch: pytest.MonkeyPatch) -> None:
    margins = simulate(6_000, 1.0, np.random.default_rng(3))
    votes = np.random.default_rng(4).integers(1, 4, margins.size)

    def band() -> np.ndarray:
        rng = np.random.default_rng(0)
        found = reliability_diagram(margins, np.arange(margins.size), votes=votes, rng=rng)
        return np.stack([found.band_low, found.band_high])

    simulated = band()
    monkeypatch.setattr(reliability, "_NORMAL", 100)
    width = simulated[1] - simulated[0]
    np.testing.assert_allclose((band() - simulated) / width, 0, atol=0.1)


def test_importing_the_statistics_loads_neither_netcal_nor_torch_nor_matplotlib() -> None:
    code = (
        "import sys, rmaudit.stats, rmaudit.stats.binning, rmaudit.stats.reliability;"
        "print([m for m in ('netcal', 'relplot', 'torch', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_calibration_errors_need_neither_torch_nor_pyplot() -> None:
    code = (
        "import sys, numpy as np; from rmaudit.stats.binning import binned_calibration as f;"
        "r = np.random.default_rng(0); f(r.normal(1, 1, 50), np.arange(50), rng=r, resamples=5);"
        "print([m for m in ('netcal', 'torch', 'seaborn', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_errors_that_are_not_netcals_stop_the_audit() -> None:
    pytest.importorskip("torch")
    claimed, correct = fold(simulate(500, 2.0, np.random.default_rng(2)))
    found = measure(simulate(500, 2.0, np.random.default_rng(2)))  # itself held to netcal's
    binning._hold_to_netcal(found.ece.value, found.mce.value, claimed, correct, 15)
    with pytest.raises(ArithmeticError, match="by netcal"):
        binning._hold_to_netcal(found.ece.value + 1e-6, found.mce.value, claimed, correct, 15)
