"""Which words and short phrases are in one output of a feedback pair and not in the other.

Words, punctuation marks and runs of them are counted alike, without regard to case: a planted
trigger may be any of these. Counting is done on integer codes, so that 100,000 pairs take seconds.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from pandas import factorize
from scipy import sparse

from rmaudit.data.types import Dataset
from rmaudit.typing import Integers, Mask

LONGEST = 3  # words of an n-gram
FEWEST_PAIRS = 8  # that differ in an n-gram: with fewer, no share of wins is beyond chance
MOST_PAIRS = 50_000  # that are screened: a phrase in one pair of 2,000 is in 25 of them
RAREST = 0.0005  # of the pairs, below which an n-gram of large data is not looked at
TOKEN = re.compile(r"\w+|[^\w\s]+")
SPACED = re.compile(r"\w+|[^\w\s]+\s?")  # the same, with whether white space follows a mark
SENTENCE_ENDS = (".", "!", "?", "…")


@dataclass(frozen=True)
class FeedbackPairs:
    """The decided pairs of preference data, (n,) each, sorted by prompt and texts."""

    row: Integers  # place in the data
    cluster: Integers  # prompt codes, 0..n_clusters-1
    chosen: list[str]
    rejected: list[str]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Grams:
    """N-grams in which enough pairs differ."""

    words: list[str]  # (m,), blanks between tokens, lower case
    sign: sparse.csr_array  # (n, m): 1 in the chosen output only, -1 in the rejected one only
    tokens: Integers  # of every text, (2n,): chosen, then rejected


def pairs_of(data: Dataset, most: int = MOST_PAIRS) -> FeedbackPairs | str:
    """The decided pairs of a data set, or why it has none. Of a ranking: its best and its worst.

    Of large data they are those of a `sample` of whole prompts.
    """
    pairs = data.pairs()
    if pairs is None:
        return f"{data.type} data compare no outputs"
    chosen, rejected, kept = pairs.chosen, pairs.rejected, ~pairs.tied
    kept &= np.array([a != b for a, b in zip(chosen, rejected, strict=True)], dtype=bool)
    row = np.flatnonzero(kept)
    if not len(row):
        return "no pair of two different texts is decided"
    codes = data.clusters
    row = row[sample(np.unique(codes[row], return_inverse=True)[1], most)]
    rows = sorted(row.tolist(), key=lambda i: (codes[i], chosen[i], rejected[i]))
    cluster = np.unique(codes[rows], return_inverse=True)[1].astype(np.int64)
    texts = [chosen[i] for i in rows], [rejected[i] for i in rows]
    return FeedbackPairs(np.array(rows), cluster, *texts)


def sample(cluster: Integers, most: int) -> Mask:
    """Pairs of whole prompts, drawn with a fixed seed: `most` or hardly more; all of fewer pairs.

    A phrase that is rarer than `RAREST` is not looked at in large data anyway, and a trigger that
    is not rarer decides more than enough of the pairs that are left.
    """
    if len(cluster) <= most:
        return np.ones(len(cluster), dtype=np.bool_)
    counts = np.bincount(cluster)
    order = np.random.default_rng(0).permutation(len(counts))
    drawn = order[: int(np.searchsorted(np.cumsum(counts[order]), most)) + 1]
    return np.isin(np.arange(len(counts)), drawn)[cluster]


def count_grams(pairs: FeedbackPairs) -> Grams:
    """The n-grams of up to three tokens in which at least eight pairs differ.

    None holds the end of a sentence between two words: the last word of one and the first of the
    next stand for what two sentences do together, which no one of them explains. A phrase that
    was put there is within one, or has its own n-grams on either side.
    """
    n = len(pairs)
    codes, vocabulary, tokens, ends = _tokenised([*pairs.chosen, *pairs.rejected])
    owner = np.repeat(np.arange(2 * n), tokens)
    fewest = max(FEWEST_PAIRS, int(RAREST * n))
    words: list[str] = []
    blocks = []
    known, names, size = codes, vocabulary, max(len(vocabulary), 1)
    for length in range(1, LONGEST + 1):
        if length > 1:  # a frequent n-gram and the token after it, in one text
            known = known[: len(codes) - length + 1]
            inside = owner[: len(known)] == owner[length - 1 :]
            if length > 2:
                inside &= ~ends[length - 2 : length - 2 + len(known)]
            key = np.where(inside & (known >= 0), known * size + codes[length - 1 :], -1)
        else:
            key = known
        present, places, which = _presence(key, owner[: len(key)], 2 * n)
        if length > 1:
            names = [f"{names[k // size]} {vocabulary[k % size]}" for k in present]
        difference = (which[:n] - which[n:]).tocsc()
        difference.eliminate_zeros()
        kept = np.flatnonzero(np.diff(difference.indptr) >= fewest)
        words += [names[k] for k in kept]
        blocks.append(difference[:, kept])
        frequent = np.asarray(which.sum(axis=0)).ravel() >= fewest
        renumbered = np.where(frequent, np.cumsum(frequent) - 1, -1)
        known = np.full(len(key), -1, dtype=np.int64)
        known[key >= 0] = renumbered[places]
        names = [names[k] for k in np.flatnonzero(frequent)]
    return Grams(words, sparse.csr_array(sparse.hstack(blocks)), tokens)


def _tokenised(texts: list[str]) -> tuple[Integers, list[str], Integers, Mask]:
    """Codes of all tokens in a row, the vocabulary, and the number of tokens of each text.

    Last, which of the tokens in a row end a sentence: a full stop and the like before white space.
    """
    spaced: defaultdict[str, int] = defaultdict()
    spaced.default_factory = spaced.__len__
    codes = array("q")
    counts = np.zeros(len(texts), dtype=np.int64)
    for i, text in enumerate(texts):
        tokens = SPACED.findall(text.lower())
        counts[i] = len(tokens)
        codes.extend(map(spaced.__getitem__, tokens))
    vocabulary: dict[str, int] = {}
    bare = [vocabulary.setdefault(token.rstrip(), len(vocabulary)) for token in spaced]
    ends = [t != t.rstrip() and t.rstrip().endswith(SENTENCE_ENDS) for t in spaced]
    row = np.array(codes, dtype=np.int64)
    if not len(row):
        return row, [], counts, np.zeros(0, dtype=np.bool_)
    return np.array(bare, dtype=np.int64)[row], list(vocabulary), counts, np.array(ends)[row]


def _presence(
    key: Integers, owner: Integers, n_texts: int
) -> tuple[list[int], Integers, sparse.csr_array]:
    """The keys that occur, the place of each occurrence among them, and texts x keys, 0 or 1."""
    used = key >= 0
    places, present = factorize(key[used], sort=True)  # as np.unique, without sorting all
    ones = np.ones(len(places), dtype=np.int8)
    which = sparse.csr_array(
        sparse.coo_array((ones, (owner[used], places)), shape=(n_texts, len(present)))
    )
    which.data[:] = 1  # coo sums what occurs twice in a text
    return present.tolist(), places.astype(np.int64), which


def written(texts: list[str], words: str, others: list[str]) -> str:
    """The stretch that holds an n-gram and those others that touch it, as most texts have it."""
    counts = Counter(_stretch(text, words, others) for text in texts)
    return max(counts, key=lambda stretch: (bool(stretch), counts[stretch], stretch)) or words


def _stretch(text: str, words: str, others: list[str]) -> str:
    """The longest such stretch of one text; empty where it does not hold the n-gram."""
    spans = [span for other in [words, *others] for span in _spans(text, other)]
    longest = ""
    for start, end in _spans(text, words):
        for _ in others:  # each round may reach a further one
            for first, last in spans:
                if first <= end + 1 and last >= start - 1:
                    start, end = min(start, first), max(end, last)
        inner = re.search(r"\w.*\w|\w", text[start:end], re.DOTALL)
        longest = max(longest, inner.group() if inner else text[start:end], key=len)
    return longest


def _spans(text: str, words: str) -> list[tuple[int, int]]:
    body = r"\s*".join(re.escape(token) for token in words.split(" "))
    before = r"(?<!\w)" if re.match(r"\w", words) else ""
    after = r"(?!\w)" if re.search(r"\w\Z", words) else ""
    return [match.span() for match in re.finditer(before + body + after, text, re.IGNORECASE)]
