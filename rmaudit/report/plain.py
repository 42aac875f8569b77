"""Whatever audits hand over, as plain JSON values; and JSON that people can read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
import pandas as pd

TEXT_LIMIT = 20_000  # characters of one text in an example
_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = r"(?:-?[0-9][0-9.eE+-]*|null)"
# A list of numbers over several lines. A JSON string cannot hold a bare newline, so no text of a
# prompt can look like one.
_NUMBERS = re.compile(rf"\[\n\s*({_NUMBER}(?:,\n\s*{_NUMBER})*)\n\s*\]")


def plain(value: Any) -> Any:
    """JSON values: NaN, infinities and missing values as None, numpy and pandas as Python's own."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(plain(str(key))): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    if isinstance(value, AbstractSet):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if value is pd.NA or value is pd.NaT:
        return None
    return plain(str(value))


def deeper_than(value: Any, levels: int) -> bool:
    """Whether JSON nests further than that: no serialiser's own depth is asked."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def example(row: Mapping[str, Any]) -> dict[str, Any]:
    """An example of a finding; a very long text is cut, and says by how much."""
    return {key: _cut(value) for key, value in plain(row).items()}


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > TEXT_LIMIT:
        return f"{value[:TEXT_LIMIT]} … ({len(value) - TEXT_LIMIT:,} more characters)"
    return value


def table(frame: pd.DataFrame) -> dict[str, Any]:
    """Columns and rows; an index that means something becomes a column."""
    if not isinstance(frame.index, pd.RangeIndex):
        frame = frame.reset_index()
    rows = zip(*(frame.iloc[:, i].tolist() for i in range(frame.shape[1])), strict=True)
    return {"columns": [str(plain(str(c))) for c in frame.columns], "rows": plain(list(rows))}


def dumps(document: Any) -> str:
    """Indented JSON with each list of numbers on one line."""
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
    return _NUMBERS.sub(_one_line, text) + "\n"


def _one_line(match: re.Match[str]) -> str:
    return "[" + " ".join(match.group(1).split()) + "]"
