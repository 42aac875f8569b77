"""Published scores of several models, in a column ``scores``, as the rewards of one of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

from rmaudit.data.faults import Fault
from rmaudit.data.messages import is_null
from rmaudit.data.rows import number
from rmaudit.data.types import Dataset
from rmaudit.errors import DataError


def score_names(data: Dataset) -> list[str]:
    """The models that the column ``scores`` has scores of, in order of appearance."""
    if "scores" not in data.frame:
        return []
    return list(dict.fromkeys(name for each in data.frame["scores"] for name in _of(each)))


def _of(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def with_scores(data: Dataset, name: str) -> Dataset:
    """The same data with one model's scores as its rewards, which `recorded` reads.

    ``scores`` maps a model's name to a list (rankings, samples; one score an output) or to
    ``{"chosen": ..., "rejected": ...}`` (pairs). A score that a row lacks is NaN.

    Raises
    ------
    DataError
        If no row has scores of that model, or they do not fit the outputs.
    """
    column = data.frame["scores"].tolist() if "scores" in data.frame else []
    if not any(name in _of(each) for each in column):
        known = ", ".join(score_names(data)) or "none: there is no column 'scores'"
        raise DataError(f"{data.source.path}: has no scores of {name!r}; known: {known}")
    scores = [_of(each).get(name) for each in column]
    frame = data.frame.copy(deep=False)
    try:
        if data.type == "preference":
            for side in ("chosen", "rejected"):
                frame[f"{side}_reward"] = _numbers([_of(each).get(side) for each in scores])
        else:
            sizes = [len(each) for each in frame["outputs"]] if "outputs" in frame else None
            frame["rewards"] = _lists(data, scores, sizes or [1] * len(frame))
    except Fault as fault:
        raise DataError(
            f"{data.source.path}: column 'scores' of {name!r}: {fault.reason} ({fault.detail})"
        ) from fault
    return replace(data, frame=frame)


def _numbers(values: list[object]) -> list[float]:
    """Checked numbers; a column of floats, as files have it, needs no look at each."""
    if set(map(type, values)) == {float}:
        return cast("list[float]", values)
    return [number(value, "scores") for value in values]


def _lists(data: Dataset, scores: list[object], sizes: list[int]) -> list[list[float]]:
    lists = []
    for row, values, size in zip(data.frame["row"], scores, sizes, strict=True):
        if is_null(values):
            lists.append([math.nan] * size)
            continue
        each = values if isinstance(values, list) else [values]
        if len(each) != size:
            raise Fault("scores", "wrong length", f"row {row}: {len(each)} for {size} outputs")
        lists.append([number(value, "scores") for value in each])
    return lists
