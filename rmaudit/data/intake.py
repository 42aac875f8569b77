"""One pass over an input: its layout is decided, rows are read, checked and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.data.chunks import Columns, Reader, Records
from rmaudit.data.columns import check_columns, records
from rmaudit.data.faults import Damage, Fault
from rmaudit.data.mapping import ColumnMap
from rmaudit.data.names import listed, looks_like
from rmaudit.data.plan import Plan, Unclear
from rmaudit.data.profile import Profile
from rmaudit.data.resolve import resolve
from rmaudit.data.rows import COLUMNS, Row, check
from rmaudit.data.suggestion import suggestion
from rmaudit.data.types import DataType, Reading, SetAside, Source, prompt_key
from rmaudit.errors import DataError, UsageError

_UNKNOWN = Plan(None, None, frozenset())
UNKNOWN_LABELS = ("not a label", "not a verdict")
MOST_LOST = 0.2  # share of rows with such labels up to which the others are used


class Intake:
    """One pass over an input: rows are read, checked and counted, chunk by chunk."""

    def __init__(
        self, reader: Reader, kind: DataType | None, limit: int | None, mapping: ColumnMap
    ) -> None:
        if kind is not None and kind not in COLUMNS:
            raise UsageError(f"no data type is named {kind!r}; known: {', '.join(COLUMNS)}")
        self.set_aside: list[SetAside] = []
        self.ids = Ids()
        self._asked = kind
        self._mapping = mapping
        self._plan = Plan(kind, None, frozenset())
        self._profile: Profile | None = None
        self._columns: dict[str, None] = {}  # all that any row had, in order
        self._shapes: set[tuple[str, ...]] = set()
        self._reader = reader
        self._limit = limit
        self._read = 0
        self._used = 0
        self._silent: list[int] = []  # used rows that made none themselves
        self._prompted = False  # pairs of which the first ones have a column `prompt`
        self._labels: set[bool] = set()  # of single responses: whether both were met

    @property
    def kind(self) -> DataType | None:
        """The type of the rows, once some were read."""
        return self._plan.kind

    def gathered(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The whole table with what its layout keeps in several rows in one."""
        return frame if self._plan.gather is None else self._plan.gather(frame)

    def pieces(self) -> Iterator[pd.DataFrame | list[Row]]:
        """Checked rows: whole columns where the input has them, else row by row."""
        try:
            for chunk in self._chunks():
                if isinstance(chunk, Records):
                    yield self._checked(chunk.rows)
                    continue
                frame, others = self._check_columns(chunk)
                if frame is not None and len(frame):
                    yield frame
                if others:
                    yield others
        except Damage as damage:
            self._read += 1
            fault = Fault(None, "rest of the file cannot be read", str(damage))
            self._put_aside(damage.row, fault)
        if len(self._silent) == self._used:  # rows that go into others' are used if there are any
            for number in self._silent:
                self._put_aside(number, Fault(None, "nothing to compare"))
            self._used = 0
        self._refuse_lost_labels()

    def source(self) -> Source:
        """Where the rows came from, and their counts."""
        return Source(
            path=self._reader.path,
            sha256=self._reader.sha256,
            rows_read=self._read,
            rows_used=self._used,
            rows_set_aside=len(self.set_aside),
            reasons=dict(Counter(each.reason for each in self.set_aside).most_common()),
        )

    def reading(self) -> Reading:
        """How the columns were understood."""
        used = self._plan.used
        unused = [name for name in self._columns if name not in used]
        # Those that may hold what was meant to be measured come first.
        unused.sort(key=lambda name: looks_like(name) is None)
        notes = self._plan.notes
        if repeated := len(self.ids.repeated):
            ids = "1 id is" if repeated == 1 else f"{repeated:,} ids are"
            notes += (f"{ids} on several rows: rows of one id are one group",)
        return Reading(
            self._plan.layout,
            tuple(name for name in self._columns if name in used),
            tuple(unused),
            notes,
        )

    def nothing_usable(self) -> DataError:
        """One line on why a whole input is of no use, and what to do."""
        source = self.source()
        if not source.rows_read:
            return DataError(f"{source.path}: is empty; give a file with at least one row")
        columns = self._columns
        shown = f"; its columns are {listed(columns)}" if columns else ""
        known = "; ".join(f"{kind}: {', '.join(main)}" for kind, main in _MAIN.items())
        advice = f"; {suggestion(self._profile)}" if self._profile and columns else ""
        return DataError(
            f"{source.path}: none of {source.rows_read} rows can be used: "
            f"{reasons_of(self.set_aside)}{shown}; needs JSON objects or table rows with columns "
            f"of a type ({known}) or of a layout in `rmaudit data formats`{advice}"
        )

    def _refuse_lost_labels(self) -> None:
        """Rows whose labels are not understood are no random ones: many of them are refused."""
        lost = [each for each in self.set_aside if each.reason in UNKNOWN_LABELS]
        if not lost or not self._used:
            return
        if (
            MOST_LOST * self._read >= len(lost)
            and self._labels != {True}
            and self._labels != {False}
        ):
            return
        first = lost[0]
        raise DataError(
            f"{self._reader.path}: labels are not understood: column {first.column!r}, row "
            f"{first.row}: {first.detail} ({len(lost):,} of {self._read:,} rows); write other words"
            " for them, or take these rows out"
        )

    def _chunks(self) -> Iterator[Records | Columns]:
        for chunk in self._reader.chunks():
            if self._limit is not None:
                chunk = _first(chunk, self._limit - self._read)
            size = len(chunk.rows) if isinstance(chunk, Records) else chunk.table.num_rows
            if not size:
                if self._limit is not None and self._read >= self._limit:
                    return
                continue
            self._read += size
            self._look(chunk)
            yield chunk

    def _look(self, chunk: Records | Columns) -> None:
        """Decide how rows are read, by the first chunk and by columns that come later."""
        if isinstance(chunk, Columns):
            new = [name for name in chunk.table.column_names if name not in self._columns]
            if not new and self._profile is not None:
                return
            self._columns |= dict.fromkeys(chunk.table.column_names)
            chunk = Records(_records(Columns(chunk.first, chunk.table.slice(0, 256))))
            rows = [value for _, value in chunk.rows if isinstance(value, dict)]
        else:
            rows = [value for _, value in chunk.rows if isinstance(value, dict)]
            shapes = {tuple(row) for row in rows} - self._shapes
            if not shapes:
                return
            self._shapes |= shapes
            new = [str(n) for shape in shapes for n in shape if str(n) not in self._columns]
            if not new and self._profile is not None:
                return
            for row in rows:
                self._columns |= dict.fromkeys(map(str, row))
        self._decide(rows)

    def _decide(self, rows: Sequence[Mapping[str, Any]]) -> None:
        before = self._profile
        profile = Profile.of([*(before.rows if before else ()), *rows])
        try:
            plan = resolve(profile, self._asked, self._mapping)
        except Unclear as unclear:
            if before is None:
                raise DataError(
                    f"{self._reader.path}: {unclear}; its columns are {listed(self._columns)}"
                ) from unclear
            return  # later columns change nothing for the rows before: they are named as unused
        self._profile = profile
        if plan.gather is not None and plan.layout == self._plan.layout:
            plan = replace(plan, read=self._plan.read, gather=self._plan.gather)  # it has read rows
        if before is None:
            self._prompted = plan.kind == "preference" and "prompt" in profile.names
        if before is None or self._plan.kind is None or plan.kind == self._plan.kind:
            self._plan = plan

    def _check_columns(self, chunk: Columns) -> tuple[pd.DataFrame | None, list[Row]]:
        if self.kind is None or self._plan.read is not None:
            return None, self._checked(_records(chunk))
        frame, others = check_columns(chunk, self.kind)
        if frame is None:
            return None, self._checked(others)
        frame["id"] = _ids(frame)
        ids = frame["id"].tolist()
        if others or not self.ids.all_new(ids):
            # Which of two rows with one id comes first can be told row by row only.
            return None, self._checked(_records(chunk))
        self._used += len(ids)
        return frame, []

    def _checked(self, rows: Iterable[tuple[int, object]]) -> list[Row]:
        good: list[Row] = []
        for number, value in rows:
            try:
                made = self._check(number, value)
            except Fault as fault:
                self._put_aside(number, fault)
            else:
                good += made
                self._used += 1
                if not made:
                    self._silent.append(number)
        return good

    def _check(self, number: int, value: object) -> list[Row]:
        if isinstance(value, Fault):
            raise value
        plan = self._plan
        if plan.kind is None and isinstance(value, dict):
            raise Fault(None, "no data type fits its columns")
        kind = plan.kind or "deployment"
        if self._prompted and isinstance(value, dict) and "prompt" not in value:
            raise Fault("prompt", "missing column", "other rows have one")
        if plan.read is None or not isinstance(value, dict):
            row = check(value, kind)
            if kind == "unpaired":
                self._labels.add(row["label"])
            row["id"] = self.ids.new(row.get("id"), number)
            row["row"] = number
            return [row]
        rows = [check(each, kind) for each in plan.read(value)]
        several = len(rows) > 1
        for place, row in enumerate(rows, start=1):
            if kind == "unpaired":
                self._labels.add(row["label"])
            if several:  # rows made of one row are one item
                item = row.get("id", f"row-{number}")
                item = f"{row['subset']}/{item}" if "subset" in row and "id" in row else item
                row.setdefault("group", prompt_group(rows) or item)
                row["id"] = f"{item}/{place}"
            row["id"] = self.ids.new(row.get("id"), number)
            row["row"] = number
        return rows

    def _put_aside(self, number: int, fault: Fault) -> None:
        self.set_aside.append(
            SetAside(self._reader.path, number, fault.column, fault.reason, fault.detail)
        )


def prompt_group(rows: Sequence[Row]) -> str | None:
    """The group of rows that are one item: their prompt, where they have one in common.

    Two items of one prompt are then one unit, as without a group.
    """
    prompts = {prompt_key(row["prompt"]) for row in rows}
    return next(iter(prompts)) or None if len(prompts) == 1 else None


class Ids:
    """The ids of a table: unique, and which of them one item has several of."""

    def __init__(self) -> None:
        self.repeated: set[str] = set()
        self._known: set[str] = set()
        self._times: dict[str, int] = {}
        self._later: dict[str, str] = {}

    def all_new(self, ids: list[str]) -> bool:
        """Whether none of these ids was there before or is there twice; then they are known."""
        if len(set(ids)) < len(ids) or not self._known.isdisjoint(ids):
            return False
        self._known.update(ids)
        return True

    def new(self, given: str | None, number: int) -> str:
        """The id of a row: its own, with the time it was met behind it if it was met before."""
        if given is None:
            given, own = f"row-{number}", False
        else:
            own = True
        name = given
        if name in self._known:
            if own:
                self.repeated.add(given)
            while name in self._known:
                self._times[given] = self._times.get(given, 1) + 1
                name = f"{given}#{self._times[given]}"
            self._later[name] = given
        self._known.add(name)
        return name

    def group(self, id_: str) -> str | None:
        """The item of a row whose id is on several rows."""
        item = self._later.get(id_, id_)
        return item if item in self.repeated else None


def reasons_of(set_aside: Sequence[SetAside]) -> str:
    """Reasons with their counts; of the most frequent one, where and what was found."""
    counts = Counter(each.reason for each in set_aside).most_common()
    parts = []
    for place, (reason, count) in enumerate(counts):
        first = next(each for each in set_aside if each.reason == reason)
        where = f"{first.column}: " if first.column and place == 0 else ""
        detail = f": {first.detail}" if first.detail and place == 0 else ""
        parts.append(f"{where}{reason} ({count}){detail}")
    return ", ".join(parts)


def _records(chunk: Columns) -> list[tuple[int, object]]:
    return records(chunk.table, np.arange(chunk.first, chunk.first + chunk.table.num_rows))


def _first(chunk: Records | Columns, count: int) -> Records | Columns:
    if isinstance(chunk, Records):
        return Records(chunk.rows[:count])
    return Columns(chunk.first, chunk.table.slice(0, count))


def _ids(frame: pd.DataFrame) -> Any:
    made = "row-" + frame["row"].astype("str")
    return frame["id"].where(frame["id"].notna(), made) if "id" in frame else made


_MAIN = {
    "preference": ("prompt", "chosen", "rejected"),
    "ranking": ("prompt", "outputs", "ranking"),
    "rating": ("prompt", "output", "rating"),
    "unpaired": ("prompt", "output", "label"),
    "deployment": ("prompt",),
    "samples": ("prompt", "outputs"),
}
