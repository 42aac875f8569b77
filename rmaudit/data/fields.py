"""Columns of a table as rewards read them: by name, or "COLUMN.FIELD" for a field of an object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from rmaudit.data.types import Dataset

RESPONSES = frozenset(
    {
        *("row", "prompt", "prompt_rejected", "chosen", "rejected", "output", "outputs", "tie"),
        *("rewards", "proxy_rewards", "gold_rewards", "judge_rewards", "scores"),
        *("chosen_reward", "rejected_reward"),
        *("ranking", "rating", "label", "annotator_votes", "annotators"),
    }
)
"""Columns that hold prompts, responses and what is said of them."""
EVERYTHING_BUT = RESPONSES | {"id", "group"}
"""What a reward that reads whatever there is does not get: other names for a row."""
REFERENCES = ("reference", "answer", "ground_truth", "solution", "reward_model.ground_truth")
"""Columns that may hold the reference answer, in the order in which they are looked for."""


def field_names(data: Dataset) -> tuple[str, ...]:
    """Every name that `field_values` knows, columns first."""
    columns = [str(name) for name in data.frame.columns]
    nested = [
        f"{name}.{key}"
        for name in columns
        if isinstance(first := _first(data.frame[name]), Mapping)
        for key in first
    ]
    return (*columns, *nested)


def field_values(data: Dataset, name: str) -> list[Any]:
    """One value per row, as plain Python; None where a row has none.

    Raises
    ------
    KeyError
        If there is no such column.
    """
    if name in data.frame:
        return [_plain(value) for value in data.frame[name].tolist()]
    column, _, key = name.partition(".")
    values = data.frame[column].tolist()
    return [_plain(value.get(key)) if isinstance(value, Mapping) else None for value in values]


def _first(values: pd.Series[Any]) -> object:
    """The first value that is there."""
    if values.dtype != object:
        return None
    return next((value for value in values.tolist() if value is not None), None)


def _plain(value: Any) -> Any:
    if value is pd.NA or value is pd.NaT:
        return None
    return value.tolist() if hasattr(value, "tolist") else value
