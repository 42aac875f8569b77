"""Texts as whole numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def text_codes(texts: Iterable[str], *, sort: bool = False) -> tuple[NDArray[np.int64], list[str]]:
    """Codes 0..k-1 of texts, (n,), and the text of each code.

    Codes follow the first appearance of a text, or the texts' order if `sort`. Two texts have one
    code exactly where they are equal: pandas' own, up to 2.x, cuts them at a zero character.
    """
    known: dict[str, int] = {}
    codes = np.array([known.setdefault(text, len(known)) for text in texts], dtype=np.int64)
    names = list(known)
    if not sort:
        return codes, names
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    return place[codes], [names[i] for i in order]
