"""Load preference data of any format, layout and type; rows that cannot be used are set aside."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from rmaudit.data.chunks import Columns
from rmaudit.data.columns import records
from rmaudit.data.containers import Input, open_reader
from rmaudit.data.faults import Damage
from rmaudit.data.frames import finish, from_rows
from rmaudit.data.gathering import gathered
from rmaudit.data.intake import Intake
from rmaudit.data.mapping import ColumnMap, parse_columns
from rmaudit.data.rows import Row
from rmaudit.data.types import Dataset, DataType
from rmaudit.errors import DataError

_LOG = logging.getLogger("rmaudit.data")


def load(
    path: Input,
    type: DataType | None = None,
    limit: int | None = None,
    columns: str | Mapping[str, str] | ColumnMap | None = None,
    reads: Callable[[Dataset], Collection[str]] | None = None,
) -> Dataset:
    """Read preference data and check every row.

    Parameters
    ----------
    path
        A file (JSON Lines, JSON, CSV, Parquet, Arrow, packed or not), a folder or pattern of
        shards, a folder saved by `datasets`, ``-`` for the standard input, a hub id
        ``org/dataset[@revision]:[config/]split``; or a DataFrame or a list of objects.
    type
        What the rows are; by default what the columns say. Asked for as samples, rows of one
        sample each are gathered by prompt.
    limit
        Read at most so many rows.
    columns
        Which column holds what, where the names do not tell:
        ``"chosen=response_a,rejected=response_b,label=winner,ignore=notes"``.
    reads
        Which further columns of the data a reward reads: those are used.

    Returns
    -------
    Dataset
        Rows read are rows used plus rows set aside, always. What was set aside, and which columns
        were not used, is logged as a warning (``rmaudit.data``).

    Raises
    ------
    DataError
        If the input cannot be read, no row of it can be used, or its labels are not understood.
    """
    mapping = parse_columns(columns)
    reader = open_reader(path, sorted(mapping.reads), limit)
    intake = Intake(reader, type, limit, mapping)
    pieces: list[pd.DataFrame] = []
    rows: list[Row] = []
    for piece in intake.pieces():
        if isinstance(piece, pd.DataFrame):
            pieces.append(piece)
        else:
            rows += piece
    source = intake.source()
    if intake.kind is None or not source.rows_used:
        raise intake.nothing_usable()
    if rows:
        pieces.append(from_rows(rows, intake.kind))
    frame = intake.gathered(finish(pieces, intake.kind, intake.ids))
    if type == "samples":
        frame = gathered(frame)
    data = Dataset(intake.kind, frame, source, tuple(intake.set_aside), intake.reading())
    if reads is not None and data.reading.unused:
        data = replace(data, reading=data.reading.using(reads(data)))
    for line in data.notices:
        _LOG.warning(line)
    return data


def raw_rows(path: Input, limit: int | None = None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of an input as they stand, with their numbers, whatever their columns.

    Raises
    ------
    DataError
        If the input or one of its rows cannot be read.
    """
    reader = open_reader(path, limit=limit)
    count = 0
    try:
        for chunk in reader.chunks():
            if isinstance(chunk, Columns):
                numbers = pd.RangeIndex(chunk.first, chunk.first + chunk.table.num_rows).to_numpy()
                rows = records(chunk.table, numbers)
            else:
                rows = chunk.rows
            for number, value in rows:
                if count == limit:
                    return
                if not isinstance(value, Mapping):
                    raise DataError(f"{reader.path}, row {number}: {value}, not an object")
                count += 1
                yield number, value
    except Damage as damage:
        raise DataError(f"{reader.path}, row {damage.row}: {damage}") from damage
