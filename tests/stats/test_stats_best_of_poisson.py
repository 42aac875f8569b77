"""Best of n with a Poisson n: against simulation, the definition, and the tilted policy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.overoptimization.curves import Pool, poisson_curve, tilted_curve
from rmaudit.stats.best_of_n import (
    best_of_n_kl,
    best_of_n_mean,
    best_of_poisson_kl,
    best_of_poisson_mean,
    poisson_beyond,
)


def test_the_kl_is_that_of_simulated_choices() -> None:
    rng = np.random.default_rng(0)
    n = 1 + rng.poisson(3.0, 200_000)
    kept = rng.random(n.size) ** (1 / n)  # the quantile of the largest of n
    edges = np.linspace(0, 1, 41)
    share = np.histogram(kept, edges)[0] / n.size
    coarse = float(np.sum(share * np.log(np.maximum(share, 1e-12) * 40)))
    assert best_of_poisson_kl(4.0) == pytest.approx(coarse, abs=0.02)
    assert best_of_poisson_kl(1.0) == pytest.approx(0, abs=1e-12)
    assert best_of_poisson_kl(4.0) < best_of_n_kl(4)


def test_the_mean_is_the_mixture_of_its_definition() -> None:
    rng = np.random.default_rng(1)
    proxy, gold = rng.standard_normal((2, 5, 12))
    mu = 1.5
    chance = [math.exp(-mu) * mu**k / math.factorial(k) for k in range(12)]
    slow = sum(c * best_of_n_mean(gold, proxy, k + 1) for k, c in enumerate(chance))
    assert np.allclose(best_of_poisson_mean(gold, proxy, 1 + mu), slow / sum(chance))
    assert poisson_beyond(1 + mu, 12) == pytest.approx(1 - sum(chance))


def test_a_pool_of_twelve_carries_a_curve_that_lies_on_the_tilted_one() -> None:
    """Proxy uniform, so that the optimal policy of a KL is known; gold is a curve of the proxy."""
    rng = np.random.default_rng(2)
    proxy = rng.random((4000, 12))
    gold = proxy - 1.2 * np.maximum(proxy - 0.8, 0) * 3
    codes = np.arange(4000)
    small = Pool.of(proxy, gold, codes)
    assert tilted_curve(small).usable.sum() < tilted_curve(small).usable.size
    curve = poisson_curve(small)
    assert curve.strength[-1] >= 6
    wide = rng.random((1, 400_000))
    for place in (2, 4):
        kl = curve.kl_at[place]
        betas = np.geomspace(0.05, 5, 60)
        weights = [np.exp((wide[0] - 1) / beta) for beta in betas]
        shares = [w / w.sum() for w in weights]
        kls = np.array([np.sum(w * np.log(w * wide.size)) for w in shares])
        beta = float(np.exp(np.interp(kl, kls[::-1], np.log(betas)[::-1])))
        weight = np.exp((wide[0] - 1) / beta)
        tilted = float(np.sum(weight * wide[0]) / weight.sum())
        assert curve.raw("proxy")[place] == pytest.approx(tilted, abs=0.01)
