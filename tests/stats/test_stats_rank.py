"""Rank statistics against scipy, scikit-learn and counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from rmaudit.stats import rank
from rmaudit.stats.rank import (
    auroc,
    auroc_statistic,
    kendall_tau_b,
    kendall_tau_b_within,
    spearman,
    spearman_within,
)


def test_tau_by_hand() -> None:
    # pairs of (1, 2, 3) and (1, 3, 3): two concordant, one tied in y: 2 / sqrt(3 * 2)
    assert kendall_tau_b(np.array([1, 2, 3]), np.array([1, 3, 3])) == pytest.approx(
        2 / math.sqrt(6), abs=1e-15
    )


@pytest.mark.parametrize("n", [2, 5, 40, 400])
def test_against_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.integers(0, 5, n).astype(float), rng.integers(0, 4, n).astype(float)
    x[0], x[1], y[0], y[1] = 0, 1, 0, 1
    assert kendall_tau_b(x, y) == pytest.approx(stats.kendalltau(x, y).statistic, abs=1e-12)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_within_is_one_cluster_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "_CELLS", 50)  # several blocks a size
    rng = np.random.default_rng(0)
    codes = rng.permutation(np.r_[np.repeat(np.arange(40), 3), np.repeat(np.arange(45, 60), 6)])
    x, y = rng.normal(size=codes.size), rng.integers(0, 3, codes.size).astype(float)
    tau, rho = kendall_tau_b_within(x, y, codes), spearman_within(x, y, codes)
    assert tau.shape == rho.shape == (60,)
    for code in range(60):
        rows = codes == code
        if np.unique(y[rows]).size < 2:
            assert math.isnan(tau[code])
            assert math.isnan(rho[code])
        else:
            assert tau[code] == pytest.approx(stats.kendalltau(x[rows], y[rows])[0], abs=1e-12)
            assert rho[code] == pytest.approx(stats.spearmanr(x[rows], y[rows])[0], abs=1e-12)


@pytest.mark.parametrize("function", [kendall_tau_b, spearman])
@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [2.0]), ([1.0, 1.0], [1.0, 2.0])])
def test_undefined_is_nan(function, x: list[float], y: list[float]) -> None:
    assert math.isnan(function(np.array(x), np.array(y)))


def test_auroc_counts_ties_as_half() -> None:
    # positives 3 and 1 against negatives 1 and 0: 1 + 1 + 1/2 + 1 of 4
    score, label = np.array([3.0, 1, 1, 0]), np.array([1, 1, 0, 0])
    assert auroc(score, label) == 3.5 / 4


def test_auroc_against_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    score, label = rng.integers(0, 20, 300).astype(float), rng.random(300) < 0.3
    weights = rng.exponential(size=300)
    assert auroc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    assert auroc(score, label, weights) == pytest.approx(
        roc_auc_score(label, score, sample_weight=weights), abs=1e-12
    )


def test_auroc_statistic_equals_repeating_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rank, "_CELLS", 120)  # blocks of two resamples
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(20), 3)
    score, label = rng.normal(size=60).round(1), rng.random(60) < 0.5
    weights = rng.multinomial(20, np.full(20, 1 / 20), size=5).astype(float)
    areas = auroc_statistic(score, label, codes)(weights)
    for area, counts in zip(areas, weights, strict=True):
        rows = np.repeat(np.arange(60), counts[codes].astype(int))
        assert area == pytest.approx(roc_auc_score(label[rows], score[rows]), abs=1e-12)


@pytest.mark.parametrize("label", [[], [1, 1], [0, 0]])
def test_auroc_needs_both_labels(label: list[int]) -> None:
    assert math.isnan(auroc(np.arange(len(label)), np.array(label)))
