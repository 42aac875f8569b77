"""The row check on whole columns, for Arrow tables of plain text and numbers.

The rules are those of `rmaudit.data.rows`, which also gets every row that is not plain: a test
holds the two to the same result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.data.chunks import Columns
from rmaudit.data.faults import Fault
from rmaudit.data.rows import COLUMNS, SLICES
from rmaudit.data.types import DataType

_TEXT = ("prompt", "chosen", "rejected", "output")
_NAMES = ("id", "group", *SLICES)
_NUMBERS = ("chosen_reward", "rejected_reward", "rating")
_FLAGS = ("tie", "label")
_NEEDED: Mapping[DataType, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "rating": ("prompt", "output", "rating"),
    "unpaired": ("prompt", "output", "label"),
    "deployment": ("prompt",),
}


def check_columns(
    chunk: Columns, kind: DataType
) -> tuple[pd.DataFrame | None, list[tuple[int, object]]]:
    """The rows that can be used as they are, checked; and the others, for the row check."""
    numbers = np.arange(chunk.first, chunk.first + chunk.table.num_rows)
    if not _is_plain(chunk.table, kind):
        return None, records(chunk.table, numbers)
    plain = np.ones(len(numbers), dtype=np.bool_)
    for name in _NEEDED[kind]:
        if name != "prompt":  # null is no prompt
            plain &= chunk.table.column(name).is_valid().to_numpy()
        if name == "rating":
            plain &= np.isfinite(_floats(chunk.table.column(name)))
    others = records(chunk.table.filter(~plain), numbers[~plain])
    table = chunk.table if plain.all() else chunk.table.filter(plain)
    try:
        frame = _frame(table, kind)
    except (ValueError, OverflowError):  # metadata that pandas cannot hold
        return None, records(chunk.table, numbers)
    if kind == "preference" and "tie" not in frame:
        frame["tie"] = False
    frame["row"] = numbers[plain]
    return frame, others


def _frame(table: Any, kind: DataType) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "row_given" if name == "row" else name: _series(name, table.column(name), kind)
            for name in table.column_names
        }
    )


def records(table: Any, numbers: Any) -> list[tuple[int, object]]:
    """The rows of a table as records; one that Python cannot hold as a fault."""
    try:
        values: list[object] = table.to_pylist()
    except (ValueError, OverflowError):  # text that is no Unicode, times finer than its own
        values = [_record(table.slice(i, 1)) for i in range(table.num_rows)]
    return list(zip(numbers.tolist(), values, strict=True))


def _record(one: Any) -> object:
    try:
        return one.to_pylist()[0]
    except UnicodeDecodeError as error:
        return Fault(None, "text is not valid Unicode", f"not UTF-8 at byte {error.start + 1}")
    except (ValueError, OverflowError) as error:
        return Fault(None, "a value out of range", str(error))


def _is_plain(table: Any, kind: DataType) -> bool:
    """Whether every column that the row check would look at is text, a number or a flag."""
    import pyarrow as pa

    if kind not in _NEEDED or not set(_NEEDED[kind]) <= set(table.column_names):
        return False
    looked_at = {*COLUMNS[kind], *_NAMES, "annotator_votes", "annotators", "output", "completion"}
    tests = pa.types
    for name in looked_at & set(table.column_names):
        type_ = table.schema.field(name).type
        if tests.is_dictionary(type_):
            type_ = type_.value_type
        text = tests.is_string(type_) or tests.is_large_string(type_)
        number = tests.is_integer(type_) or (tests.is_floating(type_) and name not in _NAMES)
        fits = (
            (name in _TEXT and text)
            or (name in _NAMES and (text or number))
            or (name in _NUMBERS and number)
            or (name in _FLAGS and tests.is_boolean(type_))
        )
        if not fits or (kind == "deployment" and name == "output"):
            return False
    try:
        table.validate(full=True)  # text that is no Unicode goes to the row check
    except pa.ArrowInvalid:
        return False
    return True


def _series(name: str, column: Any, kind: DataType) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    checked = name in COLUMNS[kind]
    if name in _NAMES or (checked and name in _TEXT):
        column = column.cast(pa.large_string())
        return (pc.fill_null(column, "") if name == "prompt" else column).to_pandas()
    if checked and name in _NUMBERS:
        return _floats(column)
    if checked and name in _FLAGS:
        return pc.fill_null(column, False).to_numpy()
    if name == "scores" and pa.types.is_struct(column.type):
        # Of a million rows, dictionaries of dictionaries would take gigabytes.
        return pd.Series(pd.arrays.ArrowExtensionArray(column))
    if pa.types.is_nested(column.type):
        return pd.Series(column.to_pylist(), dtype=object)
    return column.to_pandas()


def _floats(column: Any) -> Any:
    import pyarrow as pa

    return column.cast(pa.float64()).to_pandas().to_numpy(dtype=np.float64, na_value=np.nan)
