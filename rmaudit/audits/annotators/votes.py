"""Votes of the evaluation data, and the items on which annotators agree least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import example
from rmaudit.case import Case
from rmaudit.data.rows import GROUP
from rmaudit.typing import Float, Integers

CONTESTED = 20  # items kept in the table
# On a row whose majority is a tie, the sides are those of the source.
SIDES = {"response_1": "chosen", "response_2": "rejected"}


@dataclass(frozen=True)
class Votes:
    """One entry a vote."""

    label: NDArray[Any]  # (n_votes,)
    item: Integers  # evaluation row, (n_votes,)
    groups: Mapping[str, NDArray[Any]]  # by attribute: who voted, (n_votes,) each
    numeric: bool


def collect(case: Case) -> Votes:
    """All votes of the evaluation data, flat.

    Groups are `annotators` (their names), and every column `annotator_<attribute>` that holds a
    list as long as the votes (gender, age, ...): join the demographics to the rows beforehand.
    """
    frame = case.eval.frame
    lists = [_as_list(votes) for votes in frame["annotator_votes"]]
    item = np.repeat(np.arange(len(frame)), [len(votes) for votes in lists])
    flat = [vote for votes in lists for vote in votes]
    cast = np.array([vote is not None and vote == vote for vote in flat], dtype=bool)  # not NaN
    numeric = all(isinstance(v, (int, float)) for v, c in zip(flat, cast, strict=True) if c)
    label = np.array(
        [v if numeric else SIDES.get(str(v), str(v)) for v, c in zip(flat, cast, strict=True) if c]
    )
    groups = {}
    for column in frame.columns:
        attribute = column.removeprefix(GROUP)
        if column != "annotators" and (attribute in (column, "votes")):
            continue
        names = [_as_list(value) for value in frame[column]]
        if [len(n) for n in names] == [len(v) for v in lists]:
            flat_names = np.array([str(name) for row in names for name in row])
            groups["annotator" if column == "annotators" else attribute] = flat_names[cast]
    return Votes(label, item[cast].astype(np.int64), groups, numeric)


def swapped(categories: NDArray[Any], counts: Float) -> Float:
    """Vote counts with chosen and rejected exchanged."""
    sides = np.searchsorted(categories, ["chosen", "rejected"])
    result = counts.copy()
    result[:, sides] = counts[:, sides[::-1]]
    return result


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else []


def contested_items(
    case: Case, counts: Float, categories: NDArray[Any]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The items on which annotators agree least, kept rather than averaged away."""
    sizes = counts.sum(axis=1)
    agreement = counts.max(axis=1) / np.maximum(sizes, 1)
    agreement[sizes < 2] = np.inf
    order = np.lexsort((-sizes, agreement))[: min(CONTESTED, int((sizes >= 2).sum()))]
    split = [
        ", ".join(f"{int(counts[i, c])} {categories[c]}" for c in np.flatnonzero(counts[i]))
        for i in order
    ]
    frame = case.eval.frame
    table = pd.DataFrame(
        {"id": frame["id"].iloc[order].tolist(), "agreement": agreement[order], "votes": split}
    )
    examples = [
        example(frame.iloc[i].to_dict(), note=f"votes: {votes}")
        for i, votes in zip(order[: case.example_limit], split, strict=False)
    ]
    return table, examples
