"""How much the outputs to one prompt differ: repeated bigrams, self-BLEU, distance of embeddings.

All are about one list of outputs; they depend on how many there are, so lists are compared at equal
size only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLEU_ORDER = 4
Words = Sequence[str]


def distinct_n(outputs: Sequence[Words], n: int = 2) -> float:
    """Different n-grams over all n-grams of the outputs, 0 to 1; low is repetitive.

    NaN without an n-gram. Li et al. 2016 (arXiv 1510.03055), Section 5.
    """
    grams = [gram for words in outputs for gram in _ngrams(words, n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def self_bleu(outputs: Sequence[Words]) -> float:
    """Mean BLEU-4 of each output against the others, 0 to 1; high is repetitive.

    Zhu et al. 2018 (arXiv 1802.01886), with precisions of bigrams and up smoothed by one (Lin & Och
    2004) and the closest reference length. NaN with fewer than two outputs that have a word.
    """
    some = [list(words) for words in outputs if words]
    if len(some) < 2:
        return math.nan
    counts = [[Counter(_ngrams(w, n)) for n in range(1, BLEU_ORDER + 1)] for w in some]
    scores = []
    for i, words in enumerate(some):
        others = [j for j in range(len(some)) if j != i]
        logs = 0.0
        for n in range(BLEU_ORDER):
            allowed: Counter[tuple[str, ...]] = Counter()
            for j in others:
                allowed |= counts[j][n]  # the most often that any other output has it
            matched = (counts[i][n] & allowed).total()
            total = counts[i][n].total()
            smooth = 0 if n == 0 else 1
            if matched + smooth == 0:
                logs = -math.inf
                break
            logs += math.log((matched + smooth) / (total + smooth))
        nearest = min((abs(len(some[j]) - len(words)), len(some[j])) for j in others)[1]
        penalty = min(0.0, 1 - nearest / len(words))
        scores.append(math.exp(penalty + logs / BLEU_ORDER))
    return float(np.mean(scores))


def embedding_diversity(vectors: NDArray[np.float32]) -> float:
    """Mean cosine distance over pairs of rows of length one, 0 to 2; low is alike. NaN for one."""
    n = len(vectors)
    if n < 2:
        return math.nan
    alike = float(np.sum(vectors.sum(axis=0, dtype=np.float64) ** 2)) - n
    return 1 - alike / (n * (n - 1))


def _ngrams(words: Words, n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[k:] for k in range(n)), strict=False))
