"""The table of a `Dataset` from checked rows: one type a column, gaps filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rmaudit.data.rows import COLUMNS, NO_SLICE, SHARED, SLICES, Row
from rmaudit.data.types import DataType, prompt_key

_TEXT = ("id", "group", *SLICES, "chosen", "rejected", "output")
_FLOATS = ("chosen_reward", "rejected_reward", "rating")
_FLAGS = ("tie", "label")
Filler = Callable[[pd.DataFrame], Sequence[Any]]


class Ids(Protocol):
    """Which rows have one id."""

    @property
    def repeated(self) -> set[str]:
        """Ids that several rows have."""

    def group(self, id_: str) -> str | None:
        """The item of a row whose id is on several rows."""


def from_rows(rows: Sequence[Row], kind: DataType) -> pd.DataFrame:
    """Rows as columns; what a row lacks is missing."""
    known = {"row", *SHARED, *COLUMNS[kind]}
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        # Known columns get their type at the end; pandas finds one for the others.
        columns[name] = pd.Series(values, dtype=object if name in known else None)
    return pd.DataFrame(columns)


def finish(pieces: Sequence[pd.DataFrame], kind: DataType, ids: Ids) -> pd.DataFrame:
    """The pieces as one table in the order of the source's rows; rows of one id are one group."""
    # A column of another type's name is metadata here, and holds whatever the user put there.
    known = {"row", *SHARED, *COLUMNS[kind]}
    frame = pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True)
    rows = frame["row"].to_numpy(dtype=np.int64)
    if (np.diff(rows) < 0).any():
        frame = frame.iloc[np.argsort(rows, kind="stable")]
    frame = frame.reset_index(drop=True)
    if ids.repeated and "group" not in frame:
        frame["group"] = _groups(frame, ids)
    for name, filler in _FILLERS.items():
        if name in known and name in frame:
            frame[name] = _filled(frame, name, filler)
    for name in frame.columns:
        if name in known and name in _TYPES:
            frame[name] = frame[name].astype(_TYPES[name])
    if pd.api.types.infer_dtype(frame["prompt"], skipna=False) == "string":
        frame["prompt"] = frame["prompt"].astype("str")
    return frame


def _groups(frame: pd.DataFrame, ids: Ids) -> Any:
    """By row, the id that rows of several prompts have; the unit of the others is the prompt."""
    item = pd.Series([ids.group(each) for each in frame["id"]], dtype=object, index=frame.index)
    prompts = pd.Series([prompt_key(prompt) for prompt in frame["prompt"]], index=frame.index)
    several = prompts.groupby(item).transform("nunique") > 1
    return item.where(several | (prompts == ""), None)


def _filled(frame: pd.DataFrame, name: str, filler: Filler) -> Any:
    missing = np.flatnonzero(frame[name].isna().to_numpy())
    if not len(missing):
        return frame[name]
    values = frame[name].astype(object).to_numpy(copy=True)
    for position, value in zip(missing, filler(frame.iloc[missing]), strict=True):
        values[position] = value  # one by one: a list is a value here
    return pd.Series(values, index=frame.index, dtype=object)


def _no_rewards(rows: pd.DataFrame) -> list[list[float]]:
    sizes = [len(each) for each in rows["outputs"]] if "outputs" in rows else [1] * len(rows)
    return [[float("nan")] * size for size in sizes]


def _empty_lists(rows: pd.DataFrame) -> list[list[Any]]:
    return [[] for _ in range(len(rows))]


_TYPES: Mapping[str, Any] = {
    "row": np.int64,
    **dict.fromkeys(_TEXT, "str"),
    **dict.fromkeys(_FLOATS, np.float64),
    **dict.fromkeys(_FLAGS, np.bool_),
}
# What rows get that lack a column which others have; outputs come first, rewards need them.
_FILLERS: Mapping[str, Filler] = {
    "outputs": _empty_lists,
    "group": lambda rows: [
        prompt_key(p) or id_ for p, id_ in zip(rows["prompt"], rows["id"], strict=True)
    ],
    **dict.fromkeys(SLICES, lambda rows: [NO_SLICE] * len(rows)),
    "prompt_rejected": lambda rows: rows["prompt"].tolist(),
    "annotator_votes": _empty_lists,
    "annotators": _empty_lists,
    **dict.fromkeys(("rewards", "proxy_rewards", "gold_rewards", "judge_rewards"), _no_rewards),
}
