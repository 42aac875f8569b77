"""Agreement among annotators, by hand and against the published package."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from rmaudit.stats.agreement import krippendorff_alpha, noise_ceiling, vote_counts


def long_form(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Votes and item codes of an (annotators, items) table with NaN for no vote."""
    annotators, items = np.nonzero(~np.isnan(table))
    return table[annotators, items], items


@pytest.mark.parametrize("level", ["nominal", "interval"])
@pytest.mark.parametrize(("annotators", "categories"), [(3, 2), (9, 5), (123, 3)])
def test_alpha_is_the_published_packages(level: str, annotators: int, categories: int) -> None:
    rng = np.random.default_rng(annotators)
    truth = rng.integers(0, categories, 40)
    noise = rng.integers(0, categories, (annotators, 40))
    table = np.where(rng.random((annotators, 40)) < 0.6, truth, noise).astype(float)
    table[rng.random(table.shape) < 0.2] = np.nan  # not everybody votes on everything
    votes, items = long_form(table)
    values, counts = vote_counts(votes, items, 40)
    ours = krippendorff_alpha(
        counts,
        values if level == "interval" else None,
        np.arange(40),
        rng=np.random.default_rng(0),
        resamples=200,
    )
    theirs = krippendorff.alpha(reliability_data=table, level_of_measurement=level)
    assert ours.value == pytest.approx(theirs, abs=1e-9)
    assert ours.low < ours.value < ours.high


def test_alpha_by_hand() -> None:
    # Ten items each of aa, ab, bb. Observed disagreement: 10 items x 2 / (2 - 1) = 20. Expected:
    # 2 x 30 x 30 / (60 - 1). Alpha is 1 - 20 x 59 / 1800.
    counts = np.repeat(np.array([[2.0, 0], [1, 1], [0, 2]]), 10, axis=0)
    ours = krippendorff_alpha(
        counts, None, np.arange(30), rng=np.random.default_rng(0), resamples=100
    )
    assert ours.value == pytest.approx(1 - 20 * 59 / 1800, abs=1e-12)


def test_alpha_of_one_vote_each_or_of_one_label_is_undefined() -> None:
    rng = np.random.default_rng(0)
    single = krippendorff_alpha(np.eye(3), None, np.arange(3), rng=rng)
    assert single.undefined_reason == "no item has two votes"
    same = krippendorff_alpha(np.array([[3.0, 0], [2, 0]]), None, np.arange(2), rng=rng)
    assert same.undefined_reason == "all votes are the same"


def test_noise_ceiling_by_hand() -> None:
    # aab: each a is left with a, b, which tie: 1/2 each; b is left with aa: 0. aaa: 3 of 3.
    # Together (1/2 + 1/2 + 0 + 3) / 6 = 4/6.
    counts = np.array([[2.0, 1], [3, 0]])
    assert noise_ceiling(counts, np.arange(2)).value == pytest.approx(4 / 6)


def test_noise_ceiling_is_unbiased_where_the_plug_in_majority_is_not() -> None:
    # Three annotators, each right with probability 0.7. The other two agree with the third's
    # label: both right or both wrong as the third (0.7^3 + 0.3^3), or one each, which is half.
    p = 0.7
    truth = p**3 + (1 - p) ** 3 + 0.5 * 2 * p * (1 - p)
    votes = np.random.default_rng(1).random((20_000, 3)) < p
    counts = np.column_stack([votes.sum(axis=1), 3 - votes.sum(axis=1)]).astype(float)
    ceiling = noise_ceiling(counts, np.arange(len(counts)))
    standard_error = (ceiling.high - ceiling.low) / (2 * 1.96)
    assert abs(ceiling.value - truth) < 4 * standard_error
    plug_in = np.maximum(counts[:, 0], counts[:, 1]).sum() / 60_000
    assert plug_in - truth > 20 * standard_error


def test_alpha_of_pairs_does_not_depend_on_which_side_is_named_first() -> None:
    # Five items aab. By the order given, 10 of 15 votes are a; with both orders half of them are:
    # expected 2 x 7.5 x 7.5 / 14, observed 5 items x 2 x 2 x 1 / 2.
    counts = np.tile([[2.0, 1.0]], (5, 1))
    flipped = counts[:, ::-1].copy()
    rng = np.random.default_rng(0)
    alpha = krippendorff_alpha(counts, None, np.arange(5), swapped=flipped, rng=rng, resamples=100)
    assert alpha.value == pytest.approx(1 - 10 / (2 * 7.5 * 7.5 / 14))
    mixed = np.where(np.arange(5)[:, None] < 2, flipped, counts)
    other = krippendorff_alpha(
        mixed, None, np.arange(5), swapped=mixed[:, ::-1], rng=rng, resamples=100
    )
    assert other.value == pytest.approx(alpha.value)
