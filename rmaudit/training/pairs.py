"""Preference rows as pairs of token sequences, and the split into training and held-out prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.data.types import Dataset
from rmaudit.errors import DataError
from rmaudit.rewards.base import Encoded, Text

Integers = NDArray[np.int64]
Encode = Callable[[Sequence[Text]], list[Encoded]]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Encoded pairs. `lengths` counts the tokens of the longer text of each, (n_pairs,)."""

    chosen: list[list[int]]
    rejected: list[list[int]]
    lengths: Integers
    outputs_truncated: int

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, positions: Integers) -> Pairs:
        """Some of the pairs, in that order."""
        return Pairs(
            [self.chosen[i] for i in positions],
            [self.rejected[i] for i in positions],
            self.lengths[positions],
            self.outputs_truncated,
        )


def usable(data: Dataset) -> Dataset:
    """The rows to train on: all but labelled ties.

    Raises
    ------
    DataError
        If the data is not of type preference or holds ties alone.
    """
    where = data.source.path
    if data.type != "preference":
        raise DataError(
            f"{where}: reward training needs preference data (prompt, chosen, rejected), this is "
            f"{data.type} data"
        )
    if "tie" in data.frame:
        data = data.take(~data.frame["tie"].to_numpy(dtype=bool))
    if not len(data):
        raise DataError(f"{where}: no pair to train on; every row is a labelled tie or set aside")
    return data


def encode_pairs(data: Dataset, encode: Encode) -> Pairs:
    """Tokenise both sides as scoring does."""
    frame = data.frame
    prompts = frame["prompt"].tolist()
    other = prompts
    if "prompt_rejected" in frame:
        own = frame["prompt_rejected"].tolist()
        other = [o if _is_prompt(o) else p for o, p in zip(own, prompts, strict=True)]
    sides = [
        encode([Text(p, o) for p, o in zip(context, frame[side].tolist(), strict=True)])
        for context, side in ((prompts, "chosen"), (other, "rejected"))
    ]
    chosen, rejected = ([list(text.payload) for text in side] for side in sides)
    return Pairs(
        chosen,
        rejected,
        np.array([max(len(a), len(b)) for a, b in zip(chosen, rejected, strict=True)]),
        sum(text.output_truncated for side in sides for text in side),
    )


def split(data: Dataset, share: float, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Positions to train on and to hold out; no prompt (or group) is in both.

    Raises
    ------
    DataError
        If something is to be held out and there are fewer than two prompts.
    """
    clusters = data.clusters
    n_clusters = int(clusters.max()) + 1
    if share == 0:
        return np.arange(len(data)), np.array([], dtype=np.int64)
    if n_clusters < 2:
        raise DataError(
            f"{data.source.path}: all rows share one prompt, so none can be held out; add prompts "
            "or set held_out_share to 0"
        )
    n_held_out = min(max(1, round(share * n_clusters)), n_clusters - 1)
    held_out = np.isin(clusters, rng.permutation(n_clusters)[:n_held_out])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _is_prompt(value: object) -> bool:
    """Whether a cell of an optional prompt column is filled in."""
    return isinstance(value, list) or (isinstance(value, str) and not pd.isna(value))
