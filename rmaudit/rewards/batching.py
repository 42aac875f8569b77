"""Texts in batches of similar length: little padding, and no batch beyond what memory holds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from rmaudit.typing import Integers


def length_batches(
    tokens: Sequence[int] | Integers,
    token_budget: int,
    most: int = sys.maxsize,
    *,
    equal: bool = False,
) -> list[Integers]:
    """Places of texts, in order of length, cut into batches.

    Parameters
    ----------
    tokens
        Length of each text, (n,).
    token_budget
        Padded tokens of a batch, at most; one text may exceed it on its own.
    most
        Texts of a batch, at most.
    equal
        Whether all texts of a batch have the same length: nothing is padded.

    Returns
    -------
    Every place once, the shortest text first; equally long texts in their own order.
    """
    lengths = np.asarray(tokens, dtype=np.int64)
    batches: list[list[int]] = []
    for place in np.argsort(lengths, kind="stable").tolist():
        # In order of length the next text is the longest of the batch that it joins.
        last = batches[-1] if batches else []
        fits = len(last) < most and (len(last) + 1) * int(lengths[place]) <= token_budget
        if last and fits and not (equal and lengths[last[0]] != lengths[place]):
            last.append(place)
        else:
            batches.append([place])
    return [np.array(batch, dtype=np.int64) for batch in batches]
