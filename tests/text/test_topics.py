"""Words that name a cluster are of its topic, and function words only where nothing else is."""

from __future__ import annotations

import numpy as np

from rmaudit.text.topics import distinctive_words


def test_words_of_the_topic_name_a_cluster() -> None:
    texts = [
        "User: how do I plant the roses? Assistant: and to the roses",
        "User: plant roses and tulips",
        "the invoice of May",
        "the invoice of June",
    ]
    words = distinctive_words(texts, np.array([0, 0, 1, 1]), 2)
    # "and", "user" and "of" are as frequent there, and as rare elsewhere.
    assert set(words[0]) == {"plant", "roses"}
    assert words[1][0] == "invoice"


def test_function_words_name_a_cluster_that_has_no_others() -> None:
    words = distinctive_words(["and to", "and so", "rose", "rose"], np.array([0, 0, 1, 1]), 3)
    assert words == {0: ["and", "so", "to"], 1: ["rose"]}


def test_texts_without_words_have_no_names() -> None:
    assert distinctive_words(["!", "?"], np.array([0, 3]), 3) == {0: [], 3: []}
