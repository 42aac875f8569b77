"""Words that tell the texts of a cluster from the others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmaudit.typing import Integers

ROLES = {"user", "assistant", "system"}  # they stand before the turns of a conversation


def distinctive_words(texts: Sequence[str], codes: Integers, most: int) -> dict[int, list[str]]:
    """By cluster, the words with the largest share of its texts less their share of all texts.

    Parameters
    ----------
    texts
        One or more.
    codes
        The cluster of each text, (n,).
    most
        Words returned, at most.

    Returns
    -------
    dict
        Most distinctive first. English function words ("and", "to") and the roles of turns only
        where a cluster has no other distinctive word; empty where it has none at all.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    without_topic = ENGLISH_STOP_WORDS | ROLES
    counter = CountVectorizer(binary=True, max_features=5000)
    try:
        present = counter.fit_transform(texts)
    except ValueError:  # no words
        return {int(code): [] for code in np.unique(codes)}
    known = counter.get_feature_names_out()
    functional = np.array([word in without_topic for word in known])
    overall = np.asarray(present.mean(axis=0)).ravel()
    words = {}
    for code in np.unique(codes):
        excess = np.asarray(present[codes == code].mean(axis=0)).ravel() - overall
        order = np.argsort(-excess, kind="stable")
        order = order[excess[order] > 0]
        telling = order[~functional[order]]
        words[int(code)] = [str(known[i]) for i in (telling if telling.size else order)[:most]]
    return words
