"""Rules that do not read what a response says: how far a benchmark can be won without."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from rmaudit.audits.common.attribute import markdown_marks
from rmaudit.suites.item import Item
from rmaudit.typing import Float


def rewards(items: Sequence[Item], *, first: bool) -> dict[str, list[Float]]:
    """Rewards of the blind rules by name, one array of (n_responses,) an item.

    Parameters
    ----------
    items
        Items with texts; without any, no rule but the first response applies, and none where what
        was decided is all that is recorded.
    first
        Whether the order in which responses stand says nothing of which is better.
    """
    found: dict[str, list[Float]] = {}
    if all(item.responses for item in items):
        lengths = [
            np.array([len(text) for text in item.responses], dtype=np.float64) for item in items
        ]
        texts = np.array([text for item in items for text in item.responses], dtype=object)
        ends = list(accumulate(len(item.responses) for item in items))[:-1]
        found["longer"] = lengths
        found["shorter"] = [-length for length in lengths]
        found["markdown"] = np.split(markdown_marks(texts), ends)
    if first and all(item.size for item in items):
        found["first"] = [-np.arange(item.size, dtype=np.float64) for item in items]
    return found
