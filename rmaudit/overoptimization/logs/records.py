"""Files of logs as flat records, whatever wrote them: JSON, tables, console output, stores."""

from __future__ import annotations

import ast
import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rmaudit.data.encodings import encoding
from rmaudit.data.faults import Damage
from rmaudit.data.streams import HashedFile, decompressed
from rmaudit.errors import DataError
from rmaudit.files import opened
from rmaudit.overoptimization.logs import stores

Record = Mapping[str, Any]
DEEPEST = 16  # levels of a record whose numbers are read
_LINE_END = re.compile(r"\r\n|\n|\r")
_CONSOLE = re.compile(r"\bstep:(\d+) - (.+)")
_PAIR = re.compile(
    r"(?<![^\s:])([^\s:]+):(?:np\.\w+\()?(-?(?:\d[\d.e+-]*|nan|inf))\)?(?=\s|$)", re.IGNORECASE
)
# A bar of tqdm with numbers behind its times; bounded, since logs may be hostile.
_BAR = re.compile(r"\b\d{1,9}/\d{1,9} \[\d[^\]\n]{1,60}?, ([^\s=,\]]{1,60}=[^\]\n]{1,2000})\]")
_IN_BAR = re.compile(r"([^\s=,]+)=")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|\[\d+m")
_WRAPPED = re.compile(r"\b(?:np|numpy|torch)\.\w+\(([^()]*)\)|\btensor\(([^(),]*)(?:,[^()]*)?\)")
_BARE = re.compile(r"(?<![\w'\"])(-?)(nan|inf)(?![\w'\"])", re.IGNORECASE)


def read_records(path: Path) -> tuple[list[Record], list[str]]:
    """Flat records of a file or store in their order, and what was wrong with it, in words.

    Raises
    ------
    DataError
        If the file cannot be read, or is of a kind that is not.
    """
    if path.is_dir():
        return stores.read_folder(path), []
    if path.suffix == ".wandb":
        raise DataError(f"{path}: W&B's binary file is not read; export the run's history as CSV")
    if "tfevents" in path.name:
        return stores.read_events(path)
    with opened(path) as file:
        head = file.read(16)
    if head.startswith(b"SQLite format 3\0"):
        return stores.read_database(path), []
    if head.startswith(b"PAR1"):
        return stores.read_parquet(path), []
    text, notes = _text(path)
    records, notes = _records(text, notes)
    if not records:
        _refuse_progress_bars(path, text)
    _refuse_several_runs(path, records)
    return _unstacked(records), notes


def _text(path: Path) -> tuple[str, list[str]]:
    """The text of a file, unpacked, in the encoding that its first bytes tell."""
    pieces, notes = [], []
    try:
        for piece in decompressed(HashedFile(path).blocks, str(path)):
            pieces.append(piece)
    except Damage as damage:
        notes.append(f"{damage}: read up to there")
    content = b"".join(pieces)
    name, mark = encoding(content[:4])
    return content[mark:].decode(name, errors="replace"), notes


def _records(text: str, notes: list[str]) -> tuple[list[Record], list[str]]:
    whole = _parsed(text)
    if isinstance(whole, dict):
        for name in ("log_history", "history", "rows", "metrics"):
            if isinstance(whole.get(name), list):
                return [_flat(r) for r in whole[name] if isinstance(r, dict)], notes
        columns = {k: v for k, v in whole.items() if isinstance(v, (list, dict)) and len(v) > 1}
        if len(columns) > 1:
            return _of_columns(columns), notes
    if isinstance(whole, list):
        return [_flat(r) for r in whole if isinstance(r, dict)], notes
    records: list[Record] = []
    bad: list[int] = []
    lines = _LINE_END.split(text.rstrip("\r\n"))  # not splitlines: texts hold other line ends
    whole_lines = text.endswith(("\n", "\r"))
    if not whole_lines and _CONSOLE.search(lines[-1]):
        notes.append("the last line has no end: if it is cut off, its last number may lack digits")
    for number, line in enumerate(lines, 1):
        record = _line(line)
        if record is not None:
            records.append(_flat(record))
        elif line.strip().startswith("{"):
            bad.append(number)
    if not records:
        table = _table(lines)
        if table and not whole_lines and len(table) > 1 and len(table[-1]) < len(table[0]):
            table.pop()
            notes.append("the last row is cut off: read up to there")
        if table:
            return table, notes
    if bad and bad[-1] == len(lines) and not whole_lines:
        bad.pop()
        notes.append("the last line is cut off: read up to there")
    if bad:
        shown = ", ".join(map(str, bad[:3]))
        notes.append(f"{len(bad)} lines are no JSON (line {shown}): left out")
    return records, notes


def _refuse_progress_bars(path: Path, text: str) -> None:
    """`DataError` where numbers stand in progress bars alone: their steps begin anew each time."""
    bars = _BAR.findall(text)
    if bars:
        names = [*dict.fromkeys(name for bar in bars for name in _IN_BAR.findall(bar))]
        raise DataError(
            f"{path}: holds progress bars ({', '.join(names[:8])}), which count anew for every "
            "epoch and round; give what the trainer logs by step: its TensorBoard folder, W&B's "
            "history as CSV, or JSON Lines"
        )


def _refuse_several_runs(path: Path, records: Iterable[Record]) -> None:
    """`DataError` where a column says that rows are of several runs: by step they would mix."""
    for name in ("run_id", "run_uuid", "run_name", "run"):
        runs = [*dict.fromkeys(str(r[name]) for r in records if r.get(name) not in (None, ""))]
        if len(runs) > 1:
            shown = ", ".join(runs[:5])
            raise DataError(f"{path}: {name} names {len(runs)} runs ({shown}); export one run")


def _unstacked(records: list[Record]) -> list[Record]:
    """Records of a log that has one value a row, as MLflow and TensorBoard's readers export it."""
    step = next((name for name in ("step", "Step") if records and name in records[0]), "")
    tag = next((name for name in ("key", "tag", "metric") if records and name in records[0]), "")
    if not step or not tag or not all({step, tag, "value"} <= r.keys() for r in records):
        return records
    return [{"step": record[step], str(record[tag]): record["value"]} for record in records]


def _of_columns(columns: Mapping[str, Any]) -> list[Record]:
    """Records of a table that was written by column, as lists or by row number."""
    out: dict[str, dict[str, Any]] = {}
    for key, column in columns.items():
        cells = column.items() if isinstance(column, dict) else enumerate(column)
        for row, value in cells:
            out.setdefault(str(row), {})[key] = value
    return list(out.values())


def _table(lines: list[str]) -> list[Record]:
    """Records of separated values with a header, told by the separator that the header has most."""
    header = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=header.count)
    cells = header.split(separator)
    named = [cell for cell in cells if math.isnan(number(cell)) and "=" not in cell]
    if len(cells) < 2 or 2 * len(named) <= len(cells):  # values, or words=values: no header
        return []
    rows = csv.DictReader(lines, delimiter=separator, strict=False)
    comma = separator == ";"  # where the comma is the decimal mark
    try:
        read = _rows(rows, comma)
    except csv.Error:  # a cell without end is no table's
        return []
    return read if any(math.isfinite(number(cell)) for row in read for cell in row.values()) else []


def _rows(rows: Iterable[Mapping[Any, Any]], comma: bool) -> list[Record]:
    return [
        {
            key: value.replace(",", ".") if comma and value else value
            for key, value in row.items()
            if isinstance(key, str) and isinstance(value, str)
        }
        for row in rows
    ]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _line(line: str) -> dict[str, Any] | None:
    """A record from one line: JSON, a Python dict as TRL prints it, or verl's ``step:3 - ...``."""
    record = _parsed(line) if line.lstrip().startswith("{") else None
    if isinstance(record, dict):
        return record
    line = _COLOUR.sub("", line)
    match = _CONSOLE.search(line)
    if match is not None:
        pairs = {key: number(value) for key, value in _PAIR.findall(match[2])}
        return {"step": number(match[1]), **pairs} if pairs else None
    start, end = line.find("{'"), line.rfind("}")  # a progress bar may stand before it
    return _python(line[start : end + 1]) if 0 <= start < end else None


def _python(text: str) -> dict[str, Any] | None:
    text = _WRAPPED.sub(lambda found: found[1] or found[2], text)
    text = _BARE.sub(r"'\1\2'", text)
    try:
        record = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(record, dict) or not all(isinstance(key, str) for key in record):
        return None
    return record


def _flat(record: Mapping[str, Any], depth: int = 0) -> Record:
    """The numbers of a record on one level: verl keeps them under ``data``, others nest them.

    What lies deeper than `DEEPEST` is no trainer's number and stays as it is.
    """
    if depth == DEEPEST or not any(isinstance(value, dict) for value in record.values()):
        return record
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            inner = _flat(value, depth + 1)
            flat |= inner if key in ("data", "metrics") else {f"{key}/{k}": inner[k] for k in inner}
    return flat | {key: value for key, value in record.items() if not isinstance(value, dict)}


def number(value: Any) -> float:
    """A float; NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
