"""Disagreement and selective prediction against their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from rmaudit.stats.bootstrap import cluster_bootstrap, cluster_sums
from rmaudit.stats.calibration import temperature
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.uncertainty import (
    area_under_risk_coverage,
    auroc_estimate,
    mutual_information,
    risk_coverage,
    scaled_information,
    selective_accuracy,
    sign_disagreement,
)


def test_sign_disagreement_compares_pairs_of_members() -> None:
    margins = np.array([[1.0, 1, 0], [2, -1, 0], [3, 1, 5]])
    # +++: 0 of 3. +-+: 2 of 3. 00+: two pairs with one undecided, (1/2 + 1/2) / 3.
    assert sign_disagreement(margins) == pytest.approx([0, 2 / 3, 1 / 3])
    assert np.isnan(sign_disagreement(margins[:1])).all()


def test_mutual_information_is_the_definition() -> None:
    margins = np.random.default_rng(0).normal(0, 3, (5, 50))

    def entropy(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    for i in range(50):
        p = [1 / (1 + math.exp(-m)) for m in margins[:, i]]
        slow = entropy(sum(p) / 5) - sum(map(entropy, p)) / 5
        assert mutual_information(margins)[i] == pytest.approx(slow, abs=1e-9)
    assert mutual_information(np.ones((4, 1)))[0] == 0
    opposed = np.array([[800.0], [-800.0]])  # certain and contrary: a label tells one bit
    assert mutual_information(opposed)[0] == pytest.approx(math.log(2))


def test_interval_of_the_information_is_the_jackknifes_with_temperatures_refitted() -> None:
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(300), 2)
    sure = 2 * rng.normal(0.8, 1.0, 300)[clusters]
    margins = sure + rng.normal(0, 1.5, (3, 600)) * rng.exponential(1, 300)[clusters]

    def measured(keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        part, codes = margins[:, keep], clusters[keep]
        return part / [[temperature(margin, codes).value] for margin in part], codes

    scaled, codes = measured(np.ones(600, dtype=bool))
    ours = scaled_information(scaled, codes)
    without = [mutual_information(measured(clusters != c)[0]).mean() for c in range(300)]
    jackknife = math.sqrt(299 * np.var(without))
    error = (ours.high - ours.low) / 2 / stats.t.ppf(0.975, 299)
    assert ours.value == pytest.approx(mutual_information(scaled).mean(), abs=1e-12)
    assert error == pytest.approx(jackknife, rel=0.05)
    given = cluster_mean(mutual_information(scaled), codes)
    assert abs((given.high - given.low) / (ours.high - ours.low) - 1) > 0.1
    assert ours.influence is not None
    each = np.mean(without) - without  # to first order; their root mean square is error / sqrt(300)
    np.testing.assert_allclose(ours.influence, each, rtol=0.1, atol=0.2 * error / math.sqrt(300))


def test_risk_coverage_by_hand_and_with_ties() -> None:
    errors = np.array([0.0, 1, 0, 1])
    assert risk_coverage(errors, np.array([1.0, 2, 3, 4])) == pytest.approx(
        [0, 1 / 2, 1 / 3, 1 / 2]
    )
    tied = np.array([1.0, 1, 2, 2])
    orders = [
        risk_coverage(errors[list(a + b)], np.arange(4.0))
        for a in itertools.permutations([0, 1])
        for b in itertools.permutations([2, 3])
    ]
    assert risk_coverage(errors, tied) == pytest.approx(np.mean(orders, axis=0))


def test_auroc_is_sklearns_and_its_interval_the_bootstraps() -> None:
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(300), 2)
    label = (rng.random(600) < 0.3).astype(float)
    score = np.round(label + rng.normal(0, 1.5, 600) + rng.normal(0, 1, 300)[clusters], 1)
    ours = auroc_estimate(score, label, clusters)
    assert ours.value == pytest.approx(roc_auc_score(label, score), abs=1e-9)

    def slow(weights: np.ndarray) -> np.ndarray:
        return np.array([roc_auc_score(label, score, sample_weight=w[clusters]) for w in weights])

    boot = cluster_bootstrap(slow, 300, n=600, rng=rng, resamples=400)
    # Each bootstrap end has a Monte Carlo error of about 8 % of the half-width.
    assert (ours.high - ours.low) == pytest.approx(boot.high - boot.low, rel=0.2)


def test_a_tie_is_half_an_error() -> None:
    score = np.array([0.1, 0.2, 0.3, 0.4])
    label = np.array([0.0, 0.5, 0.0, 1.0])
    doubled = roc_auc_score([0, 0, 0, 1, 0, 0, 1, 1], np.repeat(score, 2))
    assert auroc_estimate(score, label, np.arange(4)).value == pytest.approx(doubled)


@pytest.mark.parametrize("statistic", ["aurc", "excess", "selective"])
def test_intervals_of_selective_prediction_are_the_bootstraps(statistic: str) -> None:
    rng = np.random.default_rng(3)
    n, per_prompt = 900, 3
    clusters = np.arange(n) // per_prompt
    uncertainty = rng.random(n) + 0.5 * rng.random(n // per_prompt)[clusters]
    errors = (rng.random(n) < 0.1 + 0.35 * uncertainty / 1.5).astype(float)

    def estimate(e: np.ndarray, u: np.ndarray, c: np.ndarray):  # type: ignore[no-untyped-def]
        if statistic == "selective":
            return selective_accuracy(e, u, c)
        return area_under_risk_coverage(e, u, c)[statistic == "excess"]

    ours = estimate(errors, uncertainty, clusters)
    rows = [np.flatnonzero(clusters == c) for c in range(n // per_prompt)]
    draws = []
    for _ in range(400):
        picked = np.concatenate([rows[c] for c in rng.integers(0, len(rows), len(rows))])
        # Copies of a pair share its rank by chance, not by a tie.
        jitter = 1e-9 * rng.random(picked.size)
        draws.append(estimate(errors[picked], uncertainty[picked] + jitter, clusters[picked]).value)
    half = (ours.high - ours.low) / (2 * 1.96)
    assert half == pytest.approx(np.std(draws), rel=0.2)  # an SD of 400 draws: 3.5 % error


def test_influence_on_the_area_is_the_jackknifes() -> None:
    rng = np.random.default_rng(4)
    n = 60
    uncertainty, errors = rng.random(n), rng.choice([0.0, 0.5, 1.0], n)
    found, _ = area_under_risk_coverage(errors, uncertainty, np.arange(n))
    without = [
        risk_coverage(np.delete(errors, i), np.delete(uncertainty, i)).mean() for i in range(n)
    ]
    assert found.influence is not None
    jackknife = math.sqrt((n - 1) / n) * (np.mean(without) - without)
    np.testing.assert_allclose(found.influence, jackknife, atol=1e-12)


def test_order_of_equally_uncertain_pairs_does_not_matter() -> None:
    errors, tied = np.array([0.0, 1, 1, 0, 1, 0]), np.array([1.0, 1, 2, 2, 2, 3])
    turned = [1, 0, 4, 3, 2, 5]
    one, _ = area_under_risk_coverage(errors, tied, np.arange(6))
    other, _ = area_under_risk_coverage(errors[turned], tied, np.arange(6))
    assert one.ci == pytest.approx(other.ci, abs=1e-12)


def test_excess_is_zero_for_the_best_order() -> None:
    # In the limit of many pairs the best order's AURC is r + (1 - r) log(1 - r).
    errors = np.r_[np.zeros(7000), np.ones(3000)]
    _, excess = area_under_risk_coverage(
        errors, errors + np.arange(10_000) / 1e6, np.arange(10_000)
    )
    assert excess.value == pytest.approx(0, abs=1e-3)


def test_selective_accuracy_keeps_the_surest() -> None:
    errors = np.array([0.0, 0, 0, 1, 0, 0, 0, 0, 1, 1])
    kept = selective_accuracy(errors, np.arange(10.0), np.arange(10))
    assert kept.value == pytest.approx(7 / 8)


def test_nothing_is_undefined_not_zero() -> None:
    nothing = np.array([])
    codes = np.array([], dtype=int)
    assert not area_under_risk_coverage(nothing, nothing, codes)[0].defined
    assert not selective_accuracy(nothing, nothing, codes).defined
    assert not auroc_estimate(np.ones(4), np.zeros(4), np.arange(4)).defined


def test_cluster_sums_are_sums() -> None:
    sums = cluster_sums(np.array([[1.0, 2], [3, 4], [5, 6]]), np.array([0, 1, 0]))
    assert sums.tolist() == [[6, 8], [3, 4]]
