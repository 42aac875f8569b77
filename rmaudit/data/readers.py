"""Load preference data of any format and type; rows that cannot be used are set aside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.data.chunks import Columns, Reader, Records
from rmaudit.data.columns import check_columns, records
from rmaudit.data.faults import Damage, Fault
from rmaudit.data.frames import finish, from_rows
from rmaudit.data.rows import COLUMNS, Row, check, infer_type
from rmaudit.data.tables import ArrowFiles, Hub, Memory, saved_folder
from rmaudit.data.textfiles import Csv, JsonLines
from rmaudit.data.types import Dataset, DataType, SetAside, Source
from rmaudit.errors import DataError, UsageError

Input = str | Path | pd.DataFrame | Sequence[Mapping[str, Any]]
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(:[^/\\]+)?")


def load(path: Input, type: DataType | None = None, limit: int | None = None) -> Dataset:
    """Read preference data and check every row.

    Parameters
    ----------
    path
        JSON Lines or CSV (plain, .gz or .zst), Parquet, a folder saved by `datasets`, a hub id
        ``org/dataset:split``; or a DataFrame or a list of objects.
    type
        What the rows are; by default what the columns say. Prompts with outputs and nothing else
        are deployment data unless `type` says samples.
    limit
        Read at most so many rows.

    Returns
    -------
    Dataset
        Rows read are rows used plus rows set aside, always.

    Raises
    ------
    DataError
        If the input cannot be read, or no row of it can be used.
    """
    intake = Intake(open_reader(path), type, limit)
    pieces: list[pd.DataFrame] = []
    rows: list[Row] = []
    for piece in intake.pieces():
        if isinstance(piece, pd.DataFrame):
            pieces.append(piece)
        else:
            rows += piece
    source = intake.source()
    if intake.kind is None or not source.rows_used:
        raise nothing_usable(source, intake.columns)
    if rows:
        pieces.append(from_rows(rows, intake.kind))
    return Dataset(intake.kind, finish(pieces, intake.kind), source, tuple(intake.set_aside))


def open_reader(path: Input) -> Reader:
    """The reader of an input, by its name or by what it is."""
    if not isinstance(path, str | Path):
        return Memory(path)
    file = Path(path)
    if file.is_dir():
        return saved_folder(file)
    if not file.exists() and not file.suffix and _HUB_ID.fullmatch(str(path)):
        return Hub(str(path))
    endings = [ending.lower() for ending in file.suffixes[-2:] if ending not in (".gz", ".zst")]
    ending = endings[-1] if endings else ""
    if ending in (".parquet", ".arrow"):
        return ArrowFiles(file, [file])
    return Csv(file) if ending == ".csv" else JsonLines(file)


class Intake:
    """One pass over an input: rows are read, checked and counted, chunk by chunk."""

    def __init__(self, reader: Reader, kind: DataType | None, limit: int | None) -> None:
        if kind is not None and kind not in COLUMNS:
            raise UsageError(f"no data type is named {kind!r}; known: {', '.join(COLUMNS)}")
        self.kind = kind
        self.columns: list[str] = []  # of the first row, for the message if nothing is usable
        self.set_aside: list[SetAside] = []
        self._reader = reader
        self._limit = limit
        self._read = 0
        self._used = 0
        self._ids: set[str] = set()

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
            if self.kind is None:
                self._infer(chunk)
            yield chunk

    def _infer(self, chunk: Records | Columns) -> None:
        """The type that most rows have: a broken first row must not decide."""
        if isinstance(chunk, Columns):
            chunk = Records(_records(Columns(chunk.first, chunk.table.slice(0, 1))))
        found = [value for _, value in chunk.rows if isinstance(value, dict)]
        self.columns = self.columns or [str(name) for name in (found[0] if found else ())]
        kinds = Counter(kind for value in found if (kind := infer_type(value)) is not None)
        if kinds:
            self.kind = kinds.most_common(1)[0][0]

    def _check_columns(self, chunk: Columns) -> tuple[pd.DataFrame | None, list[Row]]:
        if self.kind is None:
            return None, self._checked(_records(chunk))
        frame, others = check_columns(chunk, self.kind)
        if frame is None:
            return None, self._checked(others)
        frame["id"] = _ids(frame)
        ids = frame["id"].tolist()
        if others or len(set(ids)) < len(ids) or not self._ids.isdisjoint(ids):
            # Which of two rows with one id comes first can be told row by row only.
            return None, self._checked(_records(chunk))
        self._ids.update(ids)
        self._used += len(ids)
        return frame, []

    def _checked(self, rows: Iterable[tuple[int, object]]) -> list[Row]:
        good = []
        for number, value in rows:
            try:
                row = self._check(number, value)
            except Fault as fault:
                self._put_aside(number, fault)
            else:
                good.append(row)
        self._used += len(good)
        return good

    def _check(self, number: int, value: object) -> Row:
        if isinstance(value, Fault):
            raise value
        if self.kind is None and isinstance(value, dict):
            raise Fault(None, "no data type fits its columns")
        row = check(value, self.kind or "deployment")
        row.setdefault("id", f"row-{number}")
        row["row"] = number
        if row["id"] in self._ids:
            raise Fault("id", "duplicate id", row["id"])
        self._ids.add(row["id"])
        return row

    def _put_aside(self, number: int, fault: Fault) -> None:
        self.set_aside.append(
            SetAside(self._reader.path, number, fault.column, fault.reason, fault.detail)
        )


def _records(chunk: Columns) -> list[tuple[int, object]]:
    return records(chunk.table, np.arange(chunk.first, chunk.first + chunk.table.num_rows))


def _first(chunk: Records | Columns, count: int) -> Records | Columns:
    if isinstance(chunk, Records):
        return Records(chunk.rows[:count])
    return Columns(chunk.first, chunk.table.slice(0, count))


def _ids(frame: pd.DataFrame) -> Any:
    made = "row-" + frame["row"].astype("str")
    return frame["id"].where(frame["id"].notna(), made) if "id" in frame else made


def nothing_usable(source: Source, columns: Sequence[str]) -> DataError:
    """One line on why a whole input is of no use, and what to do."""
    if not source.rows_read:
        return DataError(f"{source.path}: is empty; give a file with at least one row")
    reasons = ", ".join(f"{reason} ({count})" for reason, count in source.reasons.items())
    known = "; ".join(f"{kind}: {', '.join(_MAIN[kind])}" for kind in _MAIN)
    names = [name if len(name) <= 60 else f"{name[:60]}..." for name in columns[:12]]
    shown = f"; its columns are {', '.join(names)}" if columns else ""
    return DataError(
        f"{source.path}: none of {source.rows_read} rows can be used: {reasons}{shown}; "
        f"needs JSON objects or table rows with columns of a type ({known})"
    )


_MAIN = {
    "preference": ("prompt", "chosen", "rejected"),
    "ranking": ("prompt", "outputs", "ranking"),
    "rating": ("prompt", "output", "rating"),
    "unpaired": ("prompt", "output", "label"),
    "deployment": ("prompt",),
    "samples": ("prompt", "outputs"),
}
