"""Agreement among people: Krippendorff's alpha and the noise ceiling.

Votes come as one array of labels and one of item codes, one entry a vote, so that 3 annotators or
123 an item, and items with different numbers of votes, are the same to them.
"""

from __future__ import annotations

import numpy as np

from rmaudit.results import Estimate
from rmaudit.stats.bootstrap import cluster_bootstrap, cluster_sums
from rmaudit.stats.intervals import cluster_ratio
from rmaudit.typing import Array, Float


def vote_counts(
    votes: Array, items: Array, n_items: int, *, also: tuple[str, ...] = ()
) -> tuple[Array, Float]:
    """The categories, sorted, and how many votes of each an item has, (n_items, n_categories).

    `also` names categories that count even if nobody used them.
    """
    categories = np.unique(np.concatenate([votes, np.array(also)]) if also else votes)
    codes = np.searchsorted(categories, votes)
    flat = np.bincount(items * categories.size + codes, minlength=n_items * categories.size)
    return categories, flat.reshape(n_items, categories.size).astype(np.float64)


def krippendorff_alpha(
    counts: Float,
    values: Float | None,
    clusters: Array,
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
    confidence: float = 0.95,
    swapped: Float | None = None,
) -> Estimate:
    """Krippendorff's alpha, ``1 - D_observed / D_expected``; 1 is perfect, 0 is chance.

    Parameters
    ----------
    counts
        Votes per item and category, (n_items, n_categories). Items with one vote do not count.
    values
        The categories' numbers, (n_categories,), for the interval level of measurement; None for
        the nominal one.
    clusters
        Prompt codes of the items, (n_items,).
    swapped
        The counts with the two sides of every pair exchanged, where the order of the sides carries
        no meaning (preference pairs that name the preferred output first make nearly every vote
        the same, and agreement look like chance). Expected disagreement is then that of both
        orders together.

    Returns
    -------
    Estimate
        Undefined where no item has two votes, or where all votes are the same.

    References
    ----------
    Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections C and D.
    """
    sizes = counts.sum(axis=1)
    paired = sizes >= 2
    if not paired.any():
        return Estimate.undefined("no item has two votes", confidence=confidence)
    both = counts if swapped is None else (counts + swapped) / 2
    counts, sizes, both = counts[paired], sizes[paired], both[paired]
    _, codes = np.unique(clusters[paired], return_inverse=True)
    if (both.sum(axis=0) > 0).sum() < 2:
        n_prompts = int(codes.max()) + 1
        return Estimate.undefined(
            "all votes are the same", n=len(sizes), n_clusters=n_prompts, confidence=confidence
        )
    distance = _distance(counts.shape[1], values)  # (n_categories, n_categories)
    within = np.einsum("ic,cd,id->i", counts, distance, counts) / (sizes - 1)
    sums = cluster_sums(np.column_stack([within, sizes, both]), codes)

    def alpha(weights: Float) -> Float:
        total = weights @ sums  # (b, 2 + n_categories)
        n, categories = total[:, 1], total[:, 2:]
        expected = np.einsum("bc,cd,bd->b", categories, distance, categories) / (n - 1)
        ratio = np.full(len(total), np.nan)
        np.divide(total[:, 0], expected, out=ratio, where=expected > 0)
        return 1 - ratio

    return cluster_bootstrap(
        alpha, len(sums), n=len(sizes), rng=rng, resamples=resamples, confidence=confidence
    )


def noise_ceiling(counts: Float, clusters: Array, *, confidence: float = 0.95) -> Estimate:
    """How often the other annotators' most frequent label is that of a left-out one.

    A model cannot be expected to agree with one annotator more than the others do. The left-out
    annotator takes no part in the vote: a plug-in majority, which contains the vote it predicts,
    is biased upward at three votes. Equally frequent labels share the credit. Undefined where no
    item has two votes.
    """
    sizes = counts.sum(axis=1)
    paired = sizes >= 2
    counts, sizes = counts[paired], sizes[paired]
    agreeing = np.zeros(len(sizes))
    for category in range(counts.shape[1]):
        others = counts.copy()
        others[:, category] -= 1
        top = others.max(axis=1, initial=0)
        winners = (others == top[:, None]).sum(axis=1)
        wins = (others[:, category] == top) & (counts[:, category] > 0)
        agreeing += np.where(wins, counts[:, category] / winners, 0.0)
    return cluster_ratio(agreeing, sizes, clusters[paired], confidence=confidence, bounds=(0, 1))


def _distance(n_categories: int, values: Float | None) -> Float:
    """Squared distance between categories: 0/1 (nominal) or the numbers' difference squared."""
    if values is None:
        return 1.0 - np.eye(n_categories)
    return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)
