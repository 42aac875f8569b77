"""Where in a row a value stands: ``question.full_text``, ``answers[].rank``, ``messages[-1]``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

MISSING = object()
Spec = str | tuple[str, ...]
"""A path, or several whose texts are joined by a line end, without the missing and empty ones."""
_STEP = re.compile(r"([^.\[\]]+)|\[(-?\d+|:user|user:|)\]")
_TURNS = (":user", "user:")


def _asks(turn: Any) -> bool:
    return isinstance(turn, Mapping) and turn.get("role", turn.get("from")) in ("user", "human")


@cache
def _steps(path: str) -> tuple[str | int | None, ...]:
    """Names, places, None for each item of a list; ":user" for the turns up to the user's last."""
    steps: list[str | int | None] = []
    for name, place in _STEP.findall(path):
        if name or place in _TURNS:
            steps.append(name or place)
        else:
            steps.append(int(place) if place else None)
    return tuple(steps)


def column(path: str) -> str:
    """The column that a path begins with."""
    return str(_steps(path)[0])


def columns(spec: Spec | None) -> set[str]:
    """The columns that a spec reads, in a table that may have one by the path's own name."""
    if spec is None:
        return set()
    paths = (spec,) if isinstance(spec, str) else spec
    return {name for path in paths for name in (path, column(path))}


def get(record: Mapping[str, Any], spec: Spec | None) -> Any:
    """The value of a spec in a row, or `MISSING`."""
    if spec is None:
        return MISSING
    if isinstance(spec, tuple):
        parts = [value for path in spec if (value := get(record, path)) is not MISSING]
        texts = [str(part) for part in parts if part not in (None, "")]
        if not parts:
            return MISSING
        return parts[0] if len(parts) == 1 else "\n".join(texts)
    if spec in record:  # also of a column whose own name has a dot
        return record[spec]
    return _walk(record, _steps(spec))


def _walk(value: Any, steps: tuple[str | int | None, ...]) -> Any:
    for place, step in enumerate(steps):
        if step is None:
            if not isinstance(value, list):
                return MISSING
            each = [_walk(item, steps[place + 1 :]) for item in value]
            return [None if item is MISSING else item for item in each]
        if isinstance(step, int) or step in _TURNS:
            if not isinstance(value, list):
                return MISSING
            if step in _TURNS:
                end = 1 + max((i for i, turn in enumerate(value) if _asks(turn)), default=-1)
                value = value[:end] if step == ":user" else value[end:]
            elif -len(value) <= step < len(value):  # type: ignore[operator]
                value = value[step]  # type: ignore[index]
            else:
                return MISSING
        elif isinstance(value, Mapping) and step in value:
            value = value[step]
        else:
            return MISSING
    return value
