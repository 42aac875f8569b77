"""Compact letter display: which of many are told apart, in a few letters.

By insertion and absorption (Piepho 2004, Journal of Computational and Graphical Statistics 13).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray


def letters(apart: NDArray[np.bool_]) -> list[str]:
    """A compact letter display: items that share no letter are apart, all others share one.

    Parameters
    ----------
    apart
        (k, k), symmetric; items in the order in which letters are given out.
    """
    count = len(apart)
    columns = [frozenset(range(count))]
    for i, j in combinations(range(count), 2):
        if apart[i, j]:
            split = [part for c in columns for part in _split(c, i, j)]
            columns = [c for c in dict.fromkeys(split) if not any(c < other for other in split)]
    columns.sort(key=lambda column: sorted(column))
    return ["".join(_letter(n) for n, c in enumerate(columns) if i in c) for i in range(count)]


def _split(column: frozenset[int], i: int, j: int) -> list[frozenset[int]]:
    return [column - {i}, column - {j}] if i in column and j in column else [column]


def _letter(number: int) -> str:
    """a, b, ..., z, (27), (28), ..."""
    return chr(ord("a") + number) if number < 26 else f"({number + 1})"
