"""The plan of a table: in a published layout, or told by the names of its columns."""

from __future__ import annotations

from rmaudit.data.inferred import Table
from rmaudit.data.layouts import Layout, recognised
from rmaudit.data.layouts.shapes import Fields, Gathering, Row
from rmaudit.data.mapping import ColumnMap
from rmaudit.data.messages import decoded
from rmaudit.data.names import STRENGTH
from rmaudit.data.paths import column
from rmaudit.data.plan import Plan, through, turn_notes
from rmaudit.data.profile import Profile
from rmaudit.data.types import DataType
from rmaudit.errors import UsageError, nearest


def resolve(profile: Profile, asked: DataType | None, mapping: ColumnMap) -> Plan:
    """The plan of a table.

    Raises
    ------
    Unclear
        If its labels, responses or context cannot be told.
    UsageError
        If the mapping names a column that is not there.
    """
    if mapping.optional and not (mapping.reads | {*mapping.ignored}) & profile.names:
        mapping = ColumnMap()
    for name in sorted({*mapping.paths, *mapping.ignored} - profile.names):
        if column(name) not in profile.names:
            raise UsageError(
                f"columns: there is no column {name!r}; {nearest(name, profile.names)}"
            )
    layout = None if mapping.specs else recognised(profile.names, profile.rows)
    if layout is not None:
        return _declared(layout, profile, asked)
    return Table(profile, asked, mapping).plan()


def _declared(layout: Layout, profile: Profile, asked: DataType | None) -> Plan:
    kind = asked or layout.shape.kind
    used = layout.shape.reads | profile.shared
    shape = layout.shape.begin() if isinstance(layout.shape, Gathering) else layout.shape
    plain = isinstance(layout.shape, Fields) and not layout.shape.renames
    if kind == "preference":
        used |= {name for name in STRENGTH if profile.numbers(name)}
    written = {name for name in used if profile.written(name)}

    def prepare(record: Row) -> Row:
        return {
            n: decoded(v) if n in written and isinstance(v, str) else v for n, v in record.items()
        }

    return Plan(
        kind,
        None if plain and not written else through(shape, prepare),
        frozenset(used),
        layout.name,
        turn_notes(profile, used),
        shape.gathered if isinstance(shape, Gathering) else None,
    )
