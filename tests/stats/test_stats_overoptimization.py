"""Fits, peak and safe budget: planted curves, slow definitions, coverage by simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.special import stdtrit

from rmaudit.overoptimization.curves import Curve, Pool, best_of_n_curve, tilted_curve, unit_parts
from rmaudit.overoptimization.fits import (
    Form,
    fit_form,
    form_terms,
    overoptimization,
    peak_of,
)
from rmaudit.results import Estimate
from rmaudit.stats.best_of_n import best_of_n_kl, n_of_best_of_n

NS = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256])


def planted(
    alpha: float, beta: float, form: Form, rng: np.random.Generator, prompts: int = 200
) -> Curve:
    """Prompts whose gain is d(a - b d) or d(a - b log d), (a, b) drawn around the planted ones."""
    kl = np.array([best_of_n_kl(int(n)) for n in NS])
    d = np.sqrt(kl)
    x, z = form_terms(d[None], form)
    own = np.array([alpha, beta]) + rng.normal(size=(prompts, 2)) * [0.4, 0.08]
    own += rng.exponential(size=(prompts, 1)) * 0.2 - 0.2  # skewed, as real prompts are
    gold = own[:, :1] * x + own[:, 1:] * z
    pool = rng.normal(size=(prompts, 16))  # what the SD is measured on; its truth is one
    start = np.zeros(prompts)
    return Curve(
        "bon",
        NS.astype(float),
        np.broadcast_to(kl, gold.shape).copy(),
        np.broadcast_to(d, gold.shape) + 0.0,
        gold,
        start,
        start,
        np.arange(prompts),
        unit_parts(pool),
        unit_parts(pool),
        np.full(NS.size, math.nan),
    )


def pool_of(prompts: int, size: int, noise: float, seed: int) -> Pool:
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=(prompts, size))
    return Pool.of(gold + noise * rng.normal(size=gold.shape), gold, np.arange(prompts))


def test_the_error_of_a_gain_is_that_of_leaving_out_each_prompt_with_its_part_of_the_sd() -> None:
    """The slow definition: a jackknife of mean over SD. The SD as given would be a tenth wider."""
    pool = pool_of(80, 16, 0.5, 3)
    curve = best_of_n_curve(pool, (1, 8, 16))
    gain = curve.gold - curve.gold_start[:, None]

    def ratio(rows: np.ndarray) -> np.ndarray:
        square, freedom = curve.gold_unit[rows].sum(axis=0)
        return np.asarray(gain[rows].mean(axis=0) / math.sqrt(square / freedom))

    left = np.stack([ratio(np.delete(np.arange(80), i)) for i in range(80)])
    slow = np.sqrt(79 / 80 * ((left - left.mean(axis=0)) ** 2).sum(axis=0))
    given = gain.std(axis=0, ddof=1) / curve.sd("gold") / math.sqrt(80)
    for k, estimate in enumerate(curve.gains("gold")[1:], 1):
        error = (estimate.high - estimate.low) / 2 / stdtrit(79, 0.975)
        assert estimate.value == pytest.approx(ratio(np.arange(80))[k])
        assert error == pytest.approx(slow[k], rel=0.02)
        assert error < 0.92 * given[k]


@pytest.mark.parametrize(("size", "least"), [(8, 10), (16, 10), (32, 16), (64, 20), (128, 20)])
def test_a_tilted_point_needs_half_of_the_samples_or_twenty(size: int, least: float) -> None:
    curve = tilted_curve(pool_of(20, size, 1.0, 0))
    assert (curve.ess[curve.usable] >= least).all()
    assert (curve.ess[~curve.usable] < least).all()


@pytest.mark.parametrize("form", ["bon", "rl"])
def test_exact_curves_give_back_alpha_and_beta(form: Form) -> None:
    d = np.sqrt([[0.1, 0.5, 1.0, 2.0, 5.0]])
    x, z = form_terms(d, form)
    for alpha, beta in ((0.6, 0.1), (0.49, 0.12), (0.3, -0.02)):
        found = fit_form(d, alpha * x + beta * z, np.array([1, 2, 3, 4, 5.0]), form)
        np.testing.assert_allclose(np.concatenate(found), [alpha, beta], atol=1e-9)


def test_weighted_fit_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    d, y, w = rng.uniform(0.1, 3, 9), rng.normal(size=9), rng.uniform(0.1, 2, 9)
    for form in ("bon", "rl"):
        x, z = form_terms(d, form)  # type: ignore[arg-type]
        root = np.sqrt(w)
        slow = np.linalg.lstsq(np.stack([x, z], 1) * root[:, None], y * root, rcond=None)[0]
        fast = fit_form(d[None], y[None], w, form)  # type: ignore[arg-type]
        np.testing.assert_allclose(np.concatenate(fast), slow)


def test_peak_is_where_the_curve_is_highest() -> None:
    d = np.linspace(0.001, 30, 300_001)
    for form, alpha, beta in (("bon", 0.6, 0.1), ("rl", 0.6, 0.3)):
        x, z = form_terms(d, form)  # type: ignore[arg-type]
        top = d[np.argmax(alpha * x + beta * z)] ** 2
        found = peak_of(np.array([alpha]), np.array([beta]), form)  # type: ignore[arg-type]
        assert found[0] == pytest.approx(top, rel=1e-3)
    assert peak_of(np.array([0.5]), np.array([-0.1]), "bon")[0] == math.inf
    assert peak_of(np.array([-0.5]), np.array([0.1]), "bon")[0] == 0


@pytest.mark.parametrize(("form", "alpha", "beta"), [("bon", 0.6, 0.15), ("rl", 0.6, 0.3)])
def test_fits_cover_the_planted_values(form: Form, alpha: float, beta: float) -> None:
    rng = np.random.default_rng(7)
    inside = np.zeros(3)
    repeats = 300
    peak = float(peak_of(np.array([alpha]), np.array([beta]), form)[0])
    for _ in range(repeats):
        curve = planted(alpha, beta, form, rng)
        fit = overoptimization(curve, rng, resamples=300).fit(form)
        pairs = ((fit.alpha, alpha), (fit.beta, beta), (fit.peak_kl, peak))
        inside += [e.low <= truth <= e.high for e, truth in pairs]
    # 95 % within four standard errors of 300 repeats; 300 resamples cost under a point.
    assert (inside / repeats > 0.95 - 0.01 - 4 * math.sqrt(0.95 * 0.05 / repeats)).all()
    assert (inside / repeats < 0.9999).all()


def test_best_of_n_kl_and_extrapolation() -> None:
    curve = planted(0.6, 0.05, "bon", np.random.default_rng(1))
    fit = overoptimization(curve, np.random.default_rng(2), resamples=400).fit("bon")
    # The planted peak is at d = 6, KL 36: far beyond best of 256.
    assert fit.extrapolated
    assert "extrapolated beyond the 4.55 nats" in fit.peak_kl.method
    assert fit.peak_n.value == pytest.approx(n_of_best_of_n(fit.peak_kl.value))


def test_a_gain_that_never_turns_has_no_peak() -> None:
    curve = planted(0.5, -0.05, "bon", np.random.default_rng(3))
    found = overoptimization(curve, np.random.default_rng(4), resamples=400)
    peak = found.fit("bon").peak_kl
    assert not peak.defined
    assert "need not turn" in (peak.undefined_reason or "")
    assert found.best_kl.value == pytest.approx(best_of_n_kl(256))
    assert found.loss_after_peak.value == 0
    assert found.safe_strength.value == 256


def test_safe_budget_is_the_slow_definition() -> None:
    curve = planted(0.6, 0.2, "bon", np.random.default_rng(5), prompts=60)
    found = overoptimization(curve, np.random.default_rng(6), resamples=400)
    from scipy.stats import t

    safe, before = 1, 0.0
    for k, n in enumerate(NS[1:], 1):
        gain = curve.gold[:, k]
        bound = gain.mean() - t.ppf(0.95, 59) * gain.std(ddof=1) / math.sqrt(60)
        if bound <= before:
            break
        safe, before = int(n), bound
    assert 1 < safe < 256
    assert found.safe_strength.value == safe
    assert found.safe_kl.value == pytest.approx(best_of_n_kl(safe))
    assert found.safe_kl.low <= found.safe_kl.value <= found.safe_kl.high


def test_a_useless_proxy_has_no_safe_budget() -> None:
    rng = np.random.default_rng(8)
    gold = rng.normal(size=(100, 32))
    pool = Pool.of(-gold + 0.1 * rng.normal(size=gold.shape), gold, np.arange(100))
    found = overoptimization(best_of_n_curve(pool), rng, resamples=400)
    assert (found.safe_kl.value, found.safe_strength.value) == (0, 1)
    assert found.best_kl.value == 0
    assert found.loss_after_peak.low > 1
    tilted = overoptimization(tilted_curve(pool), rng, resamples=400)
    assert tilted.safe_kl.value == 0
    assert "falls from the start" in (tilted.safe_strength.undefined_reason or "")


def test_scale_and_shift_change_nothing_but_raw_numbers() -> None:
    pool = pool_of(60, 16, 1.0, 9)
    shift = np.random.default_rng(0).normal(size=(60, 1)) * 50
    moved = replace(pool, proxy=pool.proxy * 7 + shift, gold=pool.gold * 0.01 - shift)
    for make in (best_of_n_curve, tilted_curve):
        one, other = (
            overoptimization(make(p), np.random.default_rng(1), resamples=200)  # type: ignore[operator]
            for p in (pool, moved)
        )
        for name in ("gain_at_peak", "proxy_gold_gap", "safe_kl"):
            assert getattr(one, name).value == pytest.approx(getattr(other, name).value, abs=1e-8)
        assert one.fits[0].alpha.low == pytest.approx(other.fits[0].alpha.low, abs=1e-8)


def test_best_of_n_of_a_perfect_proxy_is_the_order_statistic() -> None:
    pool = pool_of(4000, 16, 0.0, 10)
    curve = best_of_n_curve(pool, [1, 2, 4])
    # Mean of the largest of 2 and 4 standard normals (Harter 1961).
    assert curve.gold.mean(axis=0) == pytest.approx([0, 0.5642, 1.0294], abs=0.02)


def test_tilted_normal_has_the_known_kl_and_gain() -> None:
    """Tilting a standard normal by exp(x / beta) shifts it by 1 / beta: KL 1 / (2 beta²)."""
    curve = tilted_curve(pool_of(3000, 64, 0.0, 11), [1.0, 2.0, 4.0])
    assert curve.strength.tolist() == [4, 2, 1]
    assert curve.kl.mean(axis=0) == pytest.approx([1 / 32, 1 / 8, 1 / 2], rel=0.03)
    assert curve.gold.mean(axis=0) == pytest.approx([0.25, 0.5, 1], abs=0.02)
    assert curve.usable.all()


def test_intervals_of_a_tilt_include_the_error_of_the_sd_that_sets_its_betas() -> None:
    """Half-widths against the jackknife that draws each curve anew."""
    pool = pool_of(150, 16, 0.7, 14)
    pool.proxy[:30] *= 0.02  # prompts unlike each other: the SD has an error worth the name

    def measured(keep: np.ndarray, resamples: int) -> list[Estimate]:
        part = Pool.of(pool.proxy[keep], pool.gold[keep], np.arange(keep.sum()))
        rng = np.random.default_rng(0)
        found = overoptimization(tilted_curve(part), rng, resamples=resamples)
        fit = found.fit("bon")
        return [fit.alpha, fit.beta, found.gain_at_peak, found.proxy_gold_gap, found.safe_strength]

    ours = measured(np.ones(150, dtype=bool), 2000)
    without = [measured(np.arange(150) != i, 2) for i in range(150)]
    jackknife = np.sqrt(149 * np.var([[e.value for e in row] for row in without], axis=0))
    errors = [(e.high - e.low) / 2 / stats.t.ppf(0.975, 149) for e in ours]
    np.testing.assert_allclose(errors, jackknife, rtol=0.08)  # 2,000 resamples: 3 %


def test_points_of_few_effective_samples_take_no_part() -> None:
    curve = tilted_curve(pool_of(100, 16, 0.5, 12))
    assert curve.usable[0]
    assert not curve.usable[-1]
    found = overoptimization(curve, np.random.default_rng(0), resamples=200)
    assert found.measured_kl < 0.4  # 16 samples say nothing of more


def test_pools_keep_most_samples_and_say_what_they_lost() -> None:
    proxy = np.ones((5, 4)) * np.arange(4)
    gold = proxy.copy()
    gold[0] = np.nan  # no gold at all
    gold[1, 1:] = np.nan  # one sample
    gold[2, 3] = np.nan  # three of four
    gold[3, 0] = np.nan
    pool = Pool.of(proxy, gold, np.array([0, 1, 2, 3, 4]))
    # Three prompts with three samples keep nine; one with four keeps four.
    assert pool.size == 3
    assert pool.gold.tolist() == [[0, 1, 2], [1, 2, 3], [0, 1, 2]]
    assert pool.set_aside == {"no sample has both rewards": 1, "one sample has both rewards": 1}
    assert pool.clusters.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="from 1 to 3"):
        best_of_n_curve(pool, [1, 4])


def test_what_no_curve_can_be_drawn_from() -> None:
    ones = np.ones((4, 3))
    noise = np.random.default_rng(0).normal(size=(4, 3))
    assert "one sample" in str(Pool.of(noise[:, :1], noise[:, :1], np.arange(4)).set_aside)
    assert "fewer than two" in (Pool.of(noise[:, :1], noise[:, :1], np.arange(4)).lacks() or "")
    assert "proxy reward is the same" in (Pool.of(ones, noise, np.arange(4)).lacks() or "")
    assert "gold reward is the same" in (Pool.of(noise, ones, np.arange(4)).lacks() or "")
    assert Pool.of(noise, noise, np.arange(4)).lacks() is None
