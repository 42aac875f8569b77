"""The files of a report's folder: their names, and reading what lies beside the record."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd

from rmaudit import files
from rmaudit.data.types import SetAside
from rmaudit.errors import SchemaError

REPORT = "report.json"
BENCHMARK = "bench.json"  # the same record, of a benchmark run
SCORES = "scores.parquet"
INFLUENCE = "influence.parquet"
SET_ASIDE = "set_aside.jsonl"
SAMPLES = "samples.html"
TEXT = ("categorical", "string", "empty")  # empty: a report without any defined number
_STEP = re.compile(r"(?:checkpoint|step|global_step|iter)[-_]?(\d+)", re.IGNORECASE)
NAMED = ("metric", "slice", "prompt")  # columns of the influences that say whose a value is


def training_step(*names: str) -> int | None:
    """The step that the first of some names holds, as in ``checkpoint-500``; None without one."""
    for name in names:
        if steps := _STEP.findall(name):
            return int(steps[-1])
    return None


def report_file(folder: Path) -> Path:
    """The record in a folder: report.json, or bench.json where there is no report."""
    names = [name for name in (REPORT, BENCHMARK) if (folder / name).is_file()]
    return folder / (names or [REPORT])[0]


def write_influence(folder: Path, influence: pd.DataFrame) -> None:
    """Write influence.parquet (see `rmaudit.report.influence`)."""
    # One group of rows: each would repeat the names of all prompts.
    with files.unfinished(folder / INFLUENCE) as place:
        influence.to_parquet(
            place,
            index=False,
            row_group_size=max(1, len(influence)),
            use_dictionary=[*NAMED],  # the values are all different
            write_statistics=False,
        )


def read_table(path: Path) -> pd.DataFrame | None:
    """A Parquet file of a report; None if it isn't there.

    Raises
    ------
    SchemaError
        If it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        reason = " ".join(str(error).split())[:200]
        raise SchemaError(f"{path}: cannot be read ({reason}); audit again") from error


def read_influence(path: Path) -> pd.DataFrame | None:
    """The influences of a report (see `influence_frame`); None if the file isn't there.

    Raises
    ------
    SchemaError
        If it cannot be read, or holds something else.
    """
    frame = read_table(path)
    if frame is None:
        return None
    if not {*NAMED, "value"} <= set(frame.columns):
        raise SchemaError(f"{path}: lacks one of {', '.join(NAMED)}, value; audit again")
    for name in NAMED:
        if pd.api.types.infer_dtype(frame[name], skipna=False) not in TEXT:
            raise SchemaError(f"{path}: column {name} holds what is no text; audit again")
    frame = frame[[*NAMED, "value"]].astype(dict.fromkeys(NAMED, "category"))
    for name in NAMED:
        categories = frame[name].cat.categories
        if frame[name].isna().any() or not all(isinstance(each, str) for each in categories):
            raise SchemaError(f"{path}: column {name} holds what is no text; audit again")
    value = frame["value"].to_numpy()
    if value.dtype != np.float64 or not np.isfinite(value).all():
        raise SchemaError(f"{path}: column value holds what is no number; audit again")
    return frame


def read_set_aside(path: Path) -> tuple[SetAside, ...] | None:
    """The rows that could not be used; None if the file isn't there."""
    if not path.is_file():
        return None
    try:
        with files.opened(path) as lines:
            return tuple(SetAside(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SchemaError(f"{path}: cannot be read ({error}); audit again") from error
