r"""Who moves first where the policy cannot move one response without others like it.

A gradient step on the advantages :math:`A_j` of some samples changes the log-probability of
another response :math:`y` by :math:`f(y) = \sum_j A_j K(y, y_j)`, with :math:`K` the inner product
of the gradients of their log-probabilities (the tangent kernel: Jacot et al. 2018, arXiv
1806.07572). So a component rises as it goes with :math:`f`, not with :math:`A`. A policy that can
change every response by itself has :math:`f = A`; one that writes word by word moves responses
together as far as they share words, and cannot learn what no word says.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rmaudit.audits.mix.measure import Groups, correlation_within
from rmaudit.results import Estimate
from rmaudit.typing import Float

MOST_PROMPTS, MOST_SAMPLES = 2000, 64  # an interval over these is narrow enough
_WORD = re.compile(r"\w+|[^\w\s]")


def word_slopes(
    groups: Groups, texts: Sequence[Sequence[str]], rng: np.random.Generator
) -> dict[str, Estimate]:
    r"""Slope of each component against the square root of KL, of a policy that shares words.

    :math:`\sqrt 2 \, Cov(f, r_k) / (SD(f) \, SD(r_k))` within groups, with the tilt :math:`f` of
    `tilt`. From -sqrt(2) to sqrt(2). Undefined for a component that never varies.

    Parameters
    ----------
    texts
        The samples' responses, by group, in the order of the columns of `groups.total`.
    rng
        Chooses 2,000 groups where there are more; of each, the first 64 samples count.
    """
    count = len(groups.total)
    rows = np.arange(count)
    if count > MOST_PROMPTS:
        drawn = rng.choice(count, MOST_PROMPTS, replace=False)
        rows = np.sort(np.argsort(groups.codes)[drawn])  # whatever the order of the groups
    few = replace(
        groups,
        total=groups.total[rows, :MOST_SAMPLES],
        components={n: v[rows, :MOST_SAMPLES] for n, v in groups.components.items()},
        codes=groups.codes[rows],
    )
    advantage = np.sum(list(few.parts().values()), axis=0)
    there = few.there
    moved = np.zeros_like(advantage)
    for place, row in enumerate(rows.tolist()):
        kept = np.flatnonzero(there[place])
        if np.any(advantage[place]):
            own = [texts[row][k] for k in kept.tolist()]
            moved[place, kept] = tilt(own, advantage[place, kept])
    return {
        name: _root_two(correlation_within(few, moved, values))
        for name, values in few.components.items()
    }


def tilt(texts: Sequence[str], advantage: Float) -> Float:
    """What training on the other samples of a prompt does to each one, (n,), up to a factor.

    Features of a response are its words and pairs of adjacent words. Those that occur in the same
    samples of the prompt count once, as do those that occur in exactly the others: a sentence is
    one choice, however many words it has. Where nothing is shared, the tilt is the advantage.
    """
    occurs: dict[object, int] = {}
    for place, text in enumerate(texts):
        words = _WORD.findall(text.lower())
        for feature in {*words, *itertools.pairwise(words)}:
            occurs[feature] = occurs.get(feature, 0) | 1 << place
    every = (1 << len(texts)) - 1
    patterns = sorted({min(mask, every ^ mask) for mask in occurs.values()} - {0})
    if not patterns:  # one text, drawn again and again
        return np.zeros(len(texts))
    features = np.array(
        [[mask >> place & 1 for mask in patterns] for place in range(len(texts))], dtype=np.float64
    )
    features -= features.mean(axis=0)
    # Without the sample itself: the inner product of two gradients is then without bias.
    return np.asarray(features @ (features.T @ advantage) - (features**2).sum(axis=1) * advantage)


def _root_two(estimate: Estimate) -> Estimate:
    """A correlation as a slope per square root of KL."""
    if not estimate.defined:
        return estimate
    root = math.sqrt(2)
    return replace(
        estimate,
        value=root * estimate.value,
        low=root * estimate.low,
        high=root * estimate.high,
        influence=None,
        bounds=(-root, root),
    )
