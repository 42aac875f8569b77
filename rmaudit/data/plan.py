"""How the rows of one table are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rmaudit.data.faults import Fault
from rmaudit.data.layouts.shapes import Gathering, Row, Shape
from rmaudit.data.messages import unread_keys, with_system
from rmaudit.data.profile import Profile
from rmaudit.data.rows import COLUMNS
from rmaudit.data.types import DataType


class Unclear(Exception):  # noqa: N818 - of a table, not of the program
    """A table that could be read as something it is not: refused, with what to say instead."""


@dataclass(frozen=True)
class Plan:
    """How rows become rows of one type; `read` is None where they are that as they stand."""

    kind: DataType | None
    read: Callable[[Row], list[Row]] | None
    used: frozenset[str]
    layout: str = ""
    notes: tuple[str, ...] = ()
    gather: Callable[[pd.DataFrame], pd.DataFrame] | None = None  # at the end, on the whole table


def through(shape: Shape, prepare: Callable[[Row], Row]) -> Callable[[Row], list[Row]]:
    """Rows by a shape; what it does not read is kept beside them, never in place of its own."""
    known = {*COLUMNS[shape.kind]}
    reads = shape.reads

    def read(record: Row) -> list[Row]:
        prepared = prepare(record)
        rest = {
            f"{name}_given" if name in known and name != "prompt" else name: value
            for name, value in prepared.items()
            if name not in reads
        }
        rows = []
        for row in _made(shape, prepared):
            whole = {**rest, **row}
            system, tools = whole.pop("system", None), whole.pop("tools", None)
            if system or tools:
                given = whole.get("prompt")
                whole["prompt"] = with_system("" if given is None else given, system, tools)
            rows.append(whole)
        if not rows and not isinstance(shape, Gathering):
            raise Fault(None, "nothing to compare")
        return rows

    return read


def _made(shape: Shape, prepared: Row) -> list[Row]:
    """What a shape makes of a row; a row that is not built as the shape expects is at fault.

    Layouts look into values that others wrote: what they do not find there is the row's fault,
    and the next row is read.
    """
    try:
        return list(shape.rows(prepared))
    except KeyError as error:
        raise Fault(None, "not built as this layout is", f"no {error.args[0]!r} inside") from error
    except (TypeError, AttributeError, IndexError) as error:
        detail = "a value inside is of another kind"
        raise Fault(None, "not built as this layout is", detail) from error


def turn_notes(profile: Profile, used: set[str]) -> tuple[str, ...]:
    """What turns hold that nothing reads."""
    keys: set[str] = set()
    reasoning = False
    for name in used & profile.names:
        for value in profile.values[name]:
            if isinstance(value, list | dict):
                keys |= unread_keys(value)
                reasoning |= _reasons(value)
    notes = []
    if keys:
        notes.append(f"keys of turns that are not read: {', '.join(sorted(keys))}")
    if reasoning:
        notes.append("reasoning_content of a response is not scored: only its content is")
    return tuple(notes)


def _reasons(value: Any) -> bool:
    last = value[-1] if isinstance(value, list) and value else value
    return isinstance(last, dict) and bool(last.get("reasoning_content"))
