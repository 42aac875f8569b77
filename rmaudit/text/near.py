"""Near-duplicates: texts that share most of their words and word pairs with another one.

Candidates come from MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman & Ullman,
Mining of Massive Datasets, chapter 3), and are then compared exactly.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from rmaudit.typing import Float, Integers

SIMILAR = 0.6  # Jaccard similarity of words and word pairs: one word put into ten leaves 0.75
BANDS, ROWS = 24, 3  # a pair of similarity 0.6 shares a band with a chance of 0.997
MOST_COMPARED = 20  # candidates per text
_PRIME = (1 << 61) - 1
_WORD = re.compile(r"\w+")


def near_duplicates(texts: Sequence[str], known: Sequence[str]) -> Integers:
    """For each text the place of a similar one among `known`, or -1, (n,)."""
    ours, theirs = [shingles(text) for text in texts], [shingles(text) for text in known]
    partner = np.full(len(texts), -1, dtype=np.int64)
    signatures = [_signatures(each) for each in (ours, theirs)]
    buckets: dict[tuple[int, bytes], list[int]] = {}
    for band in range(BANDS):
        part = slice(band * ROWS, (band + 1) * ROWS)
        for place, signature in enumerate(signatures[1]):
            if theirs[place].size:
                same = buckets.setdefault((band, signature[part].tobytes()), [])
                if len(same) < MOST_COMPARED:
                    same.append(place)
    for i, signature in enumerate(signatures[0]):
        if not ours[i].size:
            continue
        looked: set[int] = set()
        for band in range(BANDS):
            part = slice(band * ROWS, (band + 1) * ROWS)
            looked.update(buckets.get((band, signature[part].tobytes()), ()))
        candidates = sorted(looked)
        if candidates:
            alike = _similarities(ours[i], [theirs[j] for j in candidates])
            best = int(alike.argmax())
            if alike[best] >= SIMILAR:
                partner[i] = candidates[best]
    return partner


def shingles(text: str) -> Integers:
    """Codes of the different words and pairs of neighbouring words of a text, sorted."""
    words = _WORD.findall(text.lower())
    both = [*words, *(f"{a} {b}" for a, b in pairwise(words))]
    return np.unique(np.array([zlib.crc32(each.encode()) for each in both], dtype=np.int64))


def similarity(one: Integers, other: Integers) -> float:
    """Jaccard similarity of two sorted sets of codes, 0 to 1."""
    return float(_similarities(one, [other])[0]) if one.size and other.size else 0.0


def _similarities(one: Integers, others: Sequence[Integers]) -> Float:
    """Jaccard similarity of a set with each of several, none empty, (n,)."""
    sizes = np.array([other.size for other in others])
    codes = np.concatenate(others)
    place = np.searchsorted(one, codes)
    held = one[np.minimum(place, one.size - 1)] == codes
    common = np.add.reduceat(held, np.cumsum(sizes) - sizes, dtype=np.int64)
    return np.asarray(common / (one.size + sizes - common))


def _signatures(sets: Sequence[Integers]) -> np.ndarray:
    """The least of each hash over each set, (n, BANDS * ROWS)."""
    rng = np.random.default_rng(0)
    scale = rng.integers(1, 2**31, size=BANDS * ROWS, dtype=np.int64)
    shift = rng.integers(0, 2**61, size=BANDS * ROWS, dtype=np.int64)
    result = np.zeros((len(sets), BANDS * ROWS), dtype=np.int64)
    for i, codes in enumerate(sets):
        if codes.size:
            result[i] = ((codes[:, None] * scale + shift) % _PRIME).min(axis=0)
    return result
