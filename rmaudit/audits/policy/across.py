"""Whether a policy gives one prompt's responses to other prompts as well: part of `policy`.

Diversity within a prompt does not see it: four responses that differ, the same four for every
prompt, are as diverse as any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from rmaudit.audits.common.draw import sample_order
from rmaudit.text.near import near_duplicates
from rmaudit.typing import Mask

FEWEST_WORDS = 5  # "Yes." and "Paris." may well answer many prompts
MOST_COMPARED = 4  # responses of a row: more find a similar one by chance


def half_of(keys: Sequence[str], seed: int) -> set[str]:
    """Half of the different keys, whatever their order: the prompts that others are held against.

    The other half is measured against these, so that each of its prompts is a draw of its own.
    """
    distinct = sorted(set(keys))
    return {distinct[i] for i in sample_order(distinct, seed)[: len(distinct) // 2]}


def shared(rows: pd.DataFrame, reference: Mask) -> list[float]:
    """Share of a row's responses that are similar to one that its policy gave a reference row.

    Parameters
    ----------
    rows
        Columns policy and outputs (a list of texts). The first responses count, the same number
        in every row, and those of five words or more.
    reference
        Rows that the others are held against, (n_rows,).

    Returns
    -------
    list of float
        0 to 1, (n_rows,); similar as in `rmaudit.text.near`. NaN for rows of the reference and
        for rows without a response that counts.
    """
    outputs = rows["outputs"].tolist()
    size = min(min((len(row) for row in outputs if any(row)), default=0), MOST_COMPARED)
    kept = [[t for t in row[:size] if len(t.split()) >= FEWEST_WORDS] for row in outputs]
    policies = rows["policy"].tolist()
    result = [math.nan] * len(kept)
    for name in dict.fromkeys(policies):
        own = [i for i, policy in enumerate(policies) if policy == name]
        known = list(dict.fromkeys(t for i in own if reference[i] for t in kept[i]))
        asked = list(dict.fromkeys(t for i in own if not reference[i] for t in kept[i]))
        near = dict(zip(asked, (near_duplicates(asked, known) >= 0).tolist(), strict=True))
        for i in own:
            if not reference[i] and kept[i] and known:
                result[i] = sum(near[t] for t in kept[i]) / len(kept[i])
    return result
