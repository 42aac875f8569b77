"""Stores of metrics that are no text: TensorBoard events, MLflow, trackio, Parquet."""

from __future__ import annotations

import json
import re
import sqlite3
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from rmaudit.data.streams import too_large, unpacks_too_far
from rmaudit.errors import DataError
from rmaudit.files import read_bytes

Rows = list[Mapping[str, Any]]
_STEP = re.compile(r"-?[0-9]{1,18}")


def read_folder(folder: Path) -> Rows:
    """Records of an MLflow run: a file per metric under ``metrics``, lines of time, value, step."""
    by_step: dict[int, dict[str, Any]] = {}
    for file in sorted((folder / "metrics").rglob("*")):
        if not file.is_file():
            continue
        key = file.relative_to(folder / "metrics").as_posix()
        for line in read_bytes(file).decode("utf-8", "replace").splitlines():
            parts = line.split()
            if len(parts) >= 3 and _STEP.fullmatch(parts[2]):
                by_step.setdefault(int(parts[2]), {})[key] = parts[1]
    return [{"step": step, **by_step[step]} for step in sorted(by_step)]


def read_parquet(path: Path) -> Rows:
    """Records of a Parquet file; a column of JSON objects (trackio's ``metrics``) is unfolded."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            groups = (file.metadata.row_group(i) for i in range(file.num_row_groups))
            if too_large(sum(group.total_byte_size for group in groups), path.stat().st_size):
                raise unpacks_too_far(str(path))
            rows: Rows = file.read().to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: no Parquet that can be read ({error})") from error
    return [_unfolded(row) for row in rows]


def _unfolded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = row.get("metrics")
    if isinstance(inner, (str, bytes)):
        try:
            inner = json.loads(inner)
        except (ValueError, RecursionError):
            inner = None
    if not isinstance(inner, dict):
        return row
    return {key: value for key, value in row.items() if key != "metrics"} | inner


def read_database(path: Path) -> Rows:
    """Records of trackio's or MLflow's SQLite file; it must hold one run.

    Raises
    ------
    DataError
        If it is neither, or holds several runs.
    """
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            columns = {row[1] for row in database.execute("PRAGMA table_info(metrics)")}
            if {"run_name", "step", "metrics"} <= columns:
                found = database.execute("SELECT run_name, step, metrics FROM metrics ORDER BY id")
                rows = [(run, _unfolded({"step": s, "metrics": m})) for run, s, m in found]
            elif {"run_uuid", "key", "value", "step"} <= columns:
                order = "ORDER BY step, timestamp"
                query = f"SELECT run_uuid, step, key, value FROM metrics {order}"
                rows = [(run, {"step": s, str(k): v}) for run, s, k, v in database.execute(query)]
            else:
                raise DataError(f"{path}: an SQLite file that is neither trackio's nor MLflow's")
    except sqlite3.Error as error:
        raise DataError(f"{path}: the SQLite file cannot be read ({error})") from error
    runs = sorted({str(run) for run, _ in rows})
    if len(runs) > 1:
        shown = ", ".join(runs[:5])
        raise DataError(f"{path}: holds {len(runs)} runs ({shown}); export one run as JSON Lines")
    return [row for _, row in rows]


def read_events(path: Path) -> tuple[Rows, list[str]]:
    """Records of a TensorBoard event file, without TensorBoard: one per step, scalars only.

    A file is a sequence of length, its checksum, an ``Event`` message, the message's checksum.
    """
    content = read_bytes(path)
    by_step: dict[int, dict[str, Any]] = {}
    place, notes = 0, []
    while place < len(content):
        if place + 12 > len(content):
            notes.append("the last event is cut off: read up to there")
            break
        (size,) = struct.unpack_from("<Q", content, place)
        body = content[place + 12 : place + 12 + size]
        if len(body) < size:
            notes.append("the last event is cut off: read up to there")
            break
        place += 12 + size + 4
        step, scalars = _event(body)
        if scalars:
            by_step.setdefault(step, {}).update(scalars)
    return [{"step": step, **by_step[step]} for step in sorted(by_step)], notes


def _event(body: bytes) -> tuple[int, dict[str, float]]:
    """Step and scalars of one ``tensorflow.Event``: step is field 2, the summary field 5."""
    step, scalars = 0, dict[str, float]()
    for field, value in _fields(body):
        if field == 2 and isinstance(value, int):
            step = value
        elif field == 5 and isinstance(value, bytes):
            for number, one in _fields(value):
                if number == 1 and isinstance(one, bytes):
                    scalars |= _scalar(one)
    return step, scalars


def _scalar(body: bytes) -> dict[str, float]:
    """Tag (field 1) and value of a ``Summary.Value``: simple_value (2), or a tensor (8) of one."""
    tag, value = "", None
    for field, content in _fields(body):
        if not isinstance(content, bytes):
            continue
        if field == 1:
            tag = content.decode("utf-8", errors="replace")
        elif field == 2 and len(content) == 4:
            (value,) = struct.unpack("<f", content)
        elif field == 8:
            value = _tensor(content)
    return {} if value is None else {tag: value}


def _tensor(body: bytes) -> float | None:
    """The number of a ``TensorProto`` that holds one float (field 5, 4) or double (field 6)."""
    parts = {field: content for field, content in _fields(body) if isinstance(content, bytes)}
    for field, form in ((5, "<f"), (4, "<f"), (6, "<d")):
        content = parts.get(field, b"")
        if len(content) == struct.calcsize(form):
            return float(struct.unpack(form, content)[0])
    return None


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Fields of a protocol-buffer message: whole numbers as they are, all else as bytes."""
    place = 0
    while place < len(body):
        key, place = _varint(body, place)
        field, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(body, place)
            yield field, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                return
            size, place = _varint(body, place)
        yield field, body[place : place + size]
        place += size


def _varint(body: bytes, place: int) -> tuple[int, int]:
    value, shift = 0, 0
    while place < len(body) and shift < 70:  # at most ten bytes
        byte = body[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, place
