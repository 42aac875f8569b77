"""Published scores of several models, in a column ``scores``, as the rewards of one of them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.data.faults import Fault
from rmaudit.data.names import listed
from rmaudit.data.types import Dataset
from rmaudit.data.values import is_null, number
from rmaudit.errors import DataError

SIDES = ("chosen", "rejected")


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
    frame = data.frame.copy(deep=False)
    if data.type == "preference" and (sides := _columns(frame, name)) is not None:
        for side, rewards in zip(SIDES, sides, strict=True):
            frame[f"{side}_reward"] = rewards
        return replace(data, frame=frame)
    column = frame["scores"].tolist() if "scores" in frame else []
    if not any(name in _of(each) for each in column):
        known = listed(score_names(data)) or "none: there is no column 'scores'"
        raise DataError(f"{data.source.path}: has no scores of {name!r}; known: {known}")
    scores = [_of(each).get(name) for each in column]
    try:
        if data.type == "preference":
            for side in SIDES:
                values = [_of(each).get(side) for each in scores]
                frame[f"{side}_reward"] = [number(value, "scores") for value in values]
        else:
            sizes = [len(each) for each in frame["outputs"]] if "outputs" in frame else None
            frame["rewards"] = _lists(data, scores, sizes or [1] * len(frame))
    except Fault as fault:
        raise DataError(
            f"{data.source.path}: column 'scores' of {name!r}: {fault.reason} ({fault.detail})"
        ) from fault
    return replace(data, frame=frame)


def _columns(frame: pd.DataFrame, name: str) -> list[NDArray[np.float64]] | None:
    """Both sides' scores of one model as columns, if that is how the source has them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if "scores" not in frame or not isinstance(frame["scores"].dtype, pd.ArrowDtype):
        return None
    scores: Any = pa.array(frame["scores"].array)
    models = {field.name: field.type for field in scores.type}
    if name not in models or not pa.types.is_struct(models[name]):
        return None
    types = {field.name: field.type for field in models[name]}
    if not all(side in types and pa.types.is_floating(types[side]) for side in SIDES):
        return None
    of_model = pc.struct_field(scores, name)
    if of_model.null_count == len(of_model):
        return None
    sides = [pc.struct_field(of_model, side) for side in SIDES]
    return [side.to_numpy(zero_copy_only=False).astype(np.float64) for side in sides]


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
