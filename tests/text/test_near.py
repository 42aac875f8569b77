"""Near-duplicates: against the definition, and texts with a word put in."""

from __future__ import annotations

import numpy as np

from rmaudit.text.near import SIMILAR, near_duplicates, shingles, similarity

WORDS = [f"w{i}" for i in range(300)]


def texts(n: int, seed: int, words: int = 14) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, words)) for _ in range(n)]


def test_similarity_is_the_share_of_words_and_pairs_in_common() -> None:
    one, other = shingles("A b c."), shingles("a b, d")
    # a, b, c, "a b", "b c" against a, b, d, "a b", "b d": three of seven.
    assert similarity(one, other) == 3 / 7
    assert shingles("").size == 0


def test_a_word_put_in_is_found_and_other_texts_are_not() -> None:
    known = texts(300, 0)
    changed = [f"{t.rsplit(' ', 4)[0]} please {' '.join(t.split()[-4:])}" for t in known]
    found = near_duplicates(changed, known)
    assert (found == np.arange(300)).mean() > 0.99
    assert (near_duplicates(texts(300, 1), known) == -1).all()
    assert near_duplicates(["", "w1"], [""]).tolist() == [-1, -1]


def test_whatever_is_found_is_as_similar_as_is_asked() -> None:
    known = texts(60, 2, 8)
    rng = np.random.default_rng(3)
    mixed = [" ".join(rng.permutation(t.split())[:6]) for t in known]
    for text, place in zip(mixed, near_duplicates(mixed, known), strict=True):
        every = [similarity(shingles(text), shingles(each)) for each in known]
        if place >= 0:
            assert every[place] >= SIMILAR
            assert every[place] == max(every)
