"""Best of n against brute-force enumeration of every subset."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from rmaudit.rewards.ensemble import aggregate_rewards
from rmaudit.stats.best_of_n import (
    best_of_n_kl,
    best_of_n_mean,
    best_of_n_weights,
    n_grid,
    n_of_best_of_n,
)


def enumerated(gold: np.ndarray, proxy: np.ndarray, n: int) -> float:
    """The definition: the mean over all subsets of the mean gold among the subset's best."""
    total = []
    for subset in combinations(range(len(proxy)), n):
        part = list(subset)
        top = proxy[part] == proxy[part].max()
        total.append(gold[part][top].mean())
    return float(np.mean(total))


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("levels", [None, 3, 1])
def test_it_is_the_expectation_over_all_subsets(n: int, levels: int | None) -> None:
    rng = np.random.default_rng(n)
    gold = rng.normal(size=(6, 8))
    proxy = rng.normal(size=(6, 8)) if levels is None else rng.integers(0, levels, (6, 8)) * 1.0
    slow = [enumerated(g, p, n) for g, p in zip(gold, proxy, strict=True)]
    np.testing.assert_allclose(best_of_n_mean(gold, proxy, n), slow, rtol=0, atol=1e-9)


def test_by_hand() -> None:
    # Of 1, 2, 3 the best of two is 3 in two of the three pairs, 2 in one.
    weights = best_of_n_weights(np.array([[3.0, 1.0, 2.0]]), 2)
    np.testing.assert_allclose(weights, [[2 / 3, 0, 1 / 3]])


def test_a_large_pool_does_not_overflow() -> None:
    proxy = np.random.default_rng(0).normal(size=(1, 5000))
    weights = best_of_n_weights(proxy, 1000)
    assert weights.sum() == pytest.approx(1, abs=1e-9)
    assert weights[0, proxy.argmax()] == pytest.approx(1000 / 5000, abs=1e-9)


def test_pools_of_different_size() -> None:
    gold = np.array([[1.0, 2.0, 3.0], [5.0, 7.0, np.nan], [1.0, np.nan, np.nan]])
    proxy = np.array([[1.0, 2.0, 3.0], [2.0, 1.0, 9.0], [1.0, 1.0, 1.0]])
    # The sample without a gold reward takes no part; one sample has no best of two.
    np.testing.assert_allclose(best_of_n_mean(gold, proxy, 2), [8 / 3, 5.0, np.nan])
    assert np.isnan(best_of_n_mean(gold, proxy, 4)).all()
    with pytest.raises(ValueError, match="1 or more"):
        best_of_n_weights(proxy, 0)


def test_an_aggregate_selects_by_itself() -> None:
    """Each aggregate has a curve of its own: selection is by the aggregate, not by member one."""
    rng = np.random.default_rng(3)
    gold = rng.normal(size=(4, 6))
    members = gold + rng.normal(size=(3, 4, 6)) * 2
    for how in ("mean", "wco", "uwo"):
        proxy = aggregate_rewards(members.reshape(3, -1), how).reshape(4, 6)  # type: ignore[arg-type]
        slow = [enumerated(g, p, 3) for g, p in zip(gold, proxy, strict=True)]
        np.testing.assert_allclose(best_of_n_mean(gold, proxy, 3), slow, atol=1e-9)
        assert not np.allclose(slow, best_of_n_mean(gold, members[0], 3))


def test_kl_bound_and_its_inverse() -> None:
    known = {1: 0.0, 4: 0.636, 16: 1.835, 64: 3.175, 1000: 5.909}
    for n, kl in known.items():
        assert best_of_n_kl(n) == pytest.approx(kl, abs=5e-4)
        assert n_of_best_of_n(best_of_n_kl(n)) == pytest.approx(n, rel=1e-6)
    assert n_of_best_of_n(-1) == 1


def test_kl_is_an_upper_bound_where_outputs_are_likely() -> None:
    # Four outputs of probability 1/4: best of 3 takes the i-th with ((i)^3 - (i-1)^3) / 4^3.
    chosen = np.diff((np.arange(5) / 4) ** 3)
    exact = float((chosen * np.log(chosen * 4)).sum())
    assert exact < best_of_n_kl(3)


def test_grid_of_n() -> None:
    assert n_grid(5).tolist() == [1, 2, 3, 4, 5]
    grid = n_grid(1000)
    assert (grid[0], grid[-1]) == (1, 1000)
    assert len(grid) <= 40
    assert math.log(grid[-1] / grid[-2]) < 0.4
