"""The table of a `Dataset` from checked rows: one type a column, gaps filled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.data.rows import NO_SLICE, SLICES, Row
from rmaudit.data.types import prompt_key

_TEXT = ("id", "group", *SLICES, "chosen", "rejected", "output")
_FLOATS = ("chosen_reward", "rejected_reward", "rating")
_FLAGS = ("tie", "label")


def from_rows(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as columns; what a row lacks is missing."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns: dict[str, Any] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        # Known columns get their type at the end; pandas finds one for the others.
        columns[name] = pd.Series(values, dtype=object if name in _KNOWN else None)
    return pd.DataFrame(columns)


def finish(pieces: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The pieces as one table in the order of the source's rows."""
    frame = pieces[0] if len(pieces) == 1 else pd.concat(pieces, ignore_index=True)
    rows = frame["row"].to_numpy(dtype=np.int64)
    if (np.diff(rows) < 0).any():
        frame = frame.iloc[np.argsort(rows, kind="stable")]
    frame = frame.reset_index(drop=True)
    for name, filler in _FILLERS.items():
        if name in frame:
            frame[name] = _filled(frame, name, filler)
    for name in frame.columns:
        if name in _TYPES:
            frame[name] = frame[name].astype(_TYPES[name])
    if pd.api.types.infer_dtype(frame["prompt"], skipna=False) == "string":
        frame["prompt"] = frame["prompt"].astype("str")
    return frame


def _filled(frame: pd.DataFrame, name: str, filler: Callable[[pd.Series[Any]], Any]) -> Any:
    missing = np.flatnonzero(frame[name].isna().to_numpy())
    if not len(missing):
        return frame[name]
    values = frame[name].astype(object).to_numpy(copy=True)
    for position in missing:
        values[position] = filler(frame.iloc[position])
    return pd.Series(values, index=frame.index, dtype=object)


def _no_rewards(row: pd.Series[Any]) -> list[float]:
    return [float("nan")] * (len(row["outputs"]) if "outputs" in row else 1)


_TYPES: Mapping[str, Any] = {
    "row": np.int64,
    **dict.fromkeys(_TEXT, "str"),
    **dict.fromkeys(_FLOATS, np.float64),
    **dict.fromkeys(_FLAGS, np.bool_),
}
# What a row gets that lacks a column which others have; outputs come first, rewards need them.
_FILLERS: Mapping[str, Callable[[pd.Series[Any]], Any]] = {
    "outputs": lambda row: [],
    "group": lambda row: prompt_key(row["prompt"]),
    **dict.fromkeys(SLICES, lambda row: NO_SLICE),
    "prompt_rejected": lambda row: row["prompt"],
    "annotator_votes": lambda row: [],
    "annotators": lambda row: [],
    **dict.fromkeys(("rewards", "proxy_rewards", "gold_rewards"), _no_rewards),
}
_KNOWN = {*_TYPES, *_FILLERS, "prompt", "ranking"}
