"""Diversity of outputs, by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.text.diversity import distinct_n, embedding_diversity, self_bleu


def test_distinct_bigrams_by_hand() -> None:
    # a b, b c / a b, b d: three different of four.
    assert distinct_n([["a", "b", "c"], ["a", "b", "d"]]) == 3 / 4
    assert distinct_n([["a"], ["a"]], 1) == 1 / 2
    assert math.isnan(distinct_n([["a"], ["b"]]))


def test_self_bleu_of_equal_and_of_unlike_outputs() -> None:
    same = ["the", "visit", "is", "on", "monday"]
    assert self_bleu([same, same, same]) == pytest.approx(1)
    assert self_bleu([["a", "b"], ["c", "d"]]) == 0
    assert math.isnan(self_bleu([same, []]))


def test_self_bleu_by_hand() -> None:
    # Unigrams 3 of 4, bigrams (2+1)/(3+1), trigrams (1+1)/(2+1), fourgrams (0+1)/(1+1).
    one, other = ["a", "b", "c", "d"], ["a", "b", "c", "e"]
    expected = (3 / 4 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert self_bleu([one, other]) == pytest.approx(expected)
    # A shorter output pays exp(1 - 4/2): unigrams 2/2, bigrams 2/2, then 1/1, 1/1.
    short = self_bleu([["a", "b"], one])
    long = (2 / 4 * 2 / 4 * 1 / 3 * 1 / 2) ** 0.25
    assert short == pytest.approx((math.exp(-1) + long) / 2)


def test_embedding_diversity_is_the_mean_over_pairs() -> None:
    rng = np.random.default_rng(0)
    v = rng.normal(size=(6, 4))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    slow = np.mean([1 - v[i] @ v[j] for i in range(6) for j in range(i)])
    assert embedding_diversity(v.astype(np.float32)) == pytest.approx(slow, abs=1e-6)
    assert math.isnan(embedding_diversity(v[:1].astype(np.float32)))
