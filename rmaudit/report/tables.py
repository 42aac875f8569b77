"""How the columns of an audit's tables read: their heads, their units, and how they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from rmaudit.report.schema import AuditRecord
from rmaudit.report.wording import METHODS, axis_unit, heading, minus, number
from rmaudit.rewards.ensemble import AGGREGATE_NAMES

PROSE = 30  # characters from which on the texts of a column get room
# By column, what its values are called.
VALUES: Mapping[str, Mapping[str, str]] = {
    "method": METHODS,
    "form": METHODS,
    "aggregate": AGGREGATE_NAMES,
    "run": AGGREGATE_NAMES,
    "of": {"context": "prompt"},
}
# Columns of shares that are no metric of their audit, by name or by table and name.
_SHARE = re.compile(r"(^|[_ ])(share|rate|accuracy|confidence)([_ ]|$)")
SHARES = {
    *("faults.value", "skew.value", "label_shifts.expected", "reliability.calibrated"),
    *("accuracy_by_length.value", "best_of_n.wrong", "classes.error", "attacks.success"),
    *("attacks.success_random", "exploits.accepted, searched half"),
    *("exploits.beats, searched half", "good_turing.missing_mass", "constants.share"),
}
# Columns of remarks on rows; left out where no row has one.
REMARKS = ("note", "reason")
DIFFERENCES = {"constants.excess_over_rejected", "attributes.excess", "subsets.excess"}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it reads; `kind` is "right" for numbers, "prose" for sentences, or ""."""

    name: str
    kind: str
    unit: str | None  # "percent", "points", or None for what stands in its own unit
    place: int  # in the rows of the table

    @property
    def head(self) -> str:
        """What stands above it."""
        return f"{self.name}, points" if self.unit == "points" else self.name

    def shown(self, value: JsonValue) -> JsonValue:
        """A value as it reads; numbers of a unit are written out."""
        if self.unit is None or not isinstance(value, int | float) or isinstance(value, bool):
            return value
        return number(100 * value, 1) + ("%" if self.unit == "percent" else "")


def columns(audit: AuditRecord, name: str) -> list[Column]:
    """The columns of one of an audit's tables, without those of words that no row has.

    A column that is called as one of the audit's metrics has its unit; the ends of an interval
    (``low``, ``x_low``) have that of what they belong to. Only numbers from -1 to 1 are shares.
    """
    table = audit.tables[name]
    metrics = {m.id.partition(".")[2]: axis_unit(m.id, m.unit) for m in audit.metrics}
    units: dict[str, str | None] = {}  # by column and by what its name begins with
    made: list[Column] = []
    left: str | None = None  # unit of the nearest column that is no end of an interval
    for place, column in enumerate(table.columns):
        stem = re.sub(r"_(low|high|share)$", "", column)
        if column in ("low", "high"):
            unit = left
        elif column.endswith(("_low", "_high")) and stem in units:
            unit = units[stem]
        else:
            unit = left = units[stem] = _unit(column, stem, name, metrics)
        values = [row[place] for row in table.rows if row[place] is not None]
        if not any(v != "" for v in values) and (values or column in REMARKS):
            continue
        kind = _kind(values)
        fits = kind == "right" and all(isinstance(v, int | float) and abs(v) <= 1 for v in values)
        made.append(Column(heading(column, name), kind, unit if fits else None, place))
    return made


def _unit(column: str, stem: str, table: str, metrics: Mapping[str, str | None]) -> str | None:
    for name in (column, stem):
        if name in metrics:
            return metrics[name]
        if f"{table}.{name}" in DIFFERENCES:
            return "points"
        if f"{table}.{name}" in SHARES or _SHARE.search(name):
            return "percent"
    return None


def _kind(values: Sequence[JsonValue]) -> str:
    numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
    if all(numbers):  # or none is defined: dashes stand where the numbers would
        return "right"
    # Sentences get room, or a wide table sets a word on each line.
    long = any(isinstance(v, str) and len(v) > PROSE and " " in v for v in values)
    return "prose" if long else ""


def cell_words(value: JsonValue, column: str) -> JsonValue:
    """A value of a column as it reads: "bon" is "best of n" as a method."""
    if column in REMARKS and isinstance(value, str):
        return minus(value)
    return VALUES.get(column, {}).get(value, value) if isinstance(value, str) else value
