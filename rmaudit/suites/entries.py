"""Published files as rows: JSON Lines, one JSON list, a dictionary of columns, Parquet, a folder.

A row that lacks what its suite declares is an error that names file, row and column, and never
passed over: the official number is one over all rows.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmaudit.data.encodings import utf8
from rmaudit.data.faults import Damage, Fault
from rmaudit.data.hub import Hub, HubName, hub_name
from rmaudit.data.messages import messages
from rmaudit.data.names import listed
from rmaudit.data.streams import HashedFile, decompressed, unreadable
from rmaudit.data.types import Prompt, Source
from rmaudit.errors import DataError
from rmaudit.order import natural

ENDINGS = (".json", ".jsonl", ".parquet")
_HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a surrogate pair, as JSON writes it
_PACKED = (".gz", ".zst")


@dataclass(frozen=True)
class Entry:
    """One published row, with readers of its fields that name what is wrong."""

    row: Mapping[str, Any]
    file: Path
    number: int  # from 1, in its file

    def __contains__(self, name: str) -> bool:
        return self.row.get(name) is not None

    def fault(self, what: str) -> DataError:
        """An error that names the row."""
        return DataError(f"{self.file}: row {self.number}: {what}")

    def value(self, name: str) -> Any:
        """A field that has to be there."""
        if name not in self.row:
            known = listed(sorted(map(str, self.row)), 12)
            raise self.fault(f"no column {name!r}; its columns are {known}")
        return self.row[name]

    def text(self, name: str) -> str:
        """A text; a number counts as its digits."""
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self.fault(f"column {name!r} holds {type(value).__name__}, not text")
        return str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        values = self.value(name)
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.fault(f"column {name!r} must be a list of texts")
        return tuple(values)

    def prompt(self, name: str) -> Prompt:
        """A text, or a list of turns with role and content; other keys of a turn are dropped."""
        value = self.value(name)
        if isinstance(value, str):
            return value
        try:
            return messages(list(value), name)
        except (Fault, TypeError) as error:
            raise self.fault(f"column {name!r} is neither text nor a list of turns") from error

    def reward(self, name: str) -> float:
        """A number, a list with one number, or null (NaN)."""
        return self._reward(self.row.get(name), name)

    def rewards(self, name: str, count: int | None = None) -> tuple[float, ...]:
        """A list of rewards; null is `count` missing ones."""
        values = self.row.get(name)
        if values is None:
            return (math.nan,) * (count or 0)
        if not isinstance(values, list):
            raise self.fault(f"column {name!r} must be a list of rewards")
        if count is not None and len(values) != count:
            raise self.fault(f"column {name!r} has {len(values)} rewards for {count} responses")
        return tuple(self._reward(value, name) for value in values)

    def _reward(self, value: Any, name: str) -> float:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fault(
                f"column {name!r} holds {value!r:.60}; a reward is a number, a list with one "
                "number, or null"
            )
        try:
            return float(value)
        except OverflowError:  # JSON knows integers of any length
            raise self.fault(f"column {name!r} holds a number that fits no float64") from None


def read_entries(data: str | Path, limit: int | None = None) -> tuple[list[Entry], Source]:
    """Every row of a published file or of a folder of them, and where they came from.

    Parameters
    ----------
    data
        A file (JSON Lines, one JSON list, a dictionary of columns as RewardBench's result files,
        Parquet; also .gz and .zst), a folder of such files (its own, or if it has none those of
        the folders in it), or a hub id ``org/dataset[@revision]:[config/]split``.
    limit
        Rows at most: the first ones; of a folder as many of each file as there are, so that no
        group of the benchmark is cut off whole.

    Raises
    ------
    DataError
        If it cannot be read or holds no row.
    """
    path = Path(data)
    named = hub_name(str(data))
    if not path.exists() and named is not None and named.split:
        return _hub_entries(named, limit)
    files = _files(path)
    by_file: list[list[Entry]] = []
    digests = []
    for file in files:
        rows, digest = _rows(file)
        digests.append(digest)
        shown = file.relative_to(path.parent) if len(files) > 1 else file
        by_file.append([Entry(_object(row, file, n), shown, n) for n, row in enumerate(rows, 1)])
    shares = _shares([len(rows) for rows in by_file], limit)
    entries = [e for rows, share in zip(by_file, shares, strict=True) for e in rows[:share]]
    if not entries:
        raise DataError(f"{data}: holds no row; give the file that the benchmark publishes")
    whole = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode())
    sha256 = whole if isinstance(whole, str) else whole.hexdigest()
    return entries, Source(str(data), sha256, len(entries), len(entries), 0)


def _shares(sizes: Sequence[int], limit: int | None) -> list[int]:
    """How many rows of each file to take: alike, as far as the sizes and the limit allow."""
    if limit is None or sum(sizes) <= limit:
        return list(sizes)
    left, shares = limit, [0] * len(sizes)
    for turn, place in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):
        shares[place] = min(sizes[place], left // (len(sizes) - turn))
        left -= shares[place]
    return shares


def _hub_entries(name: HubName, limit: int | None) -> tuple[list[Entry], Source]:
    """The rows of a split; the source says which revision they are of, where the cache knows."""
    reader = Hub(name, limit)
    entries: list[Entry] = []
    for columns in reader.chunks():
        first, rows = len(entries) + 1, columns.table.to_pylist()
        entries += [Entry(row, Path(name.text), n) for n, row in enumerate(rows, first)]
        if limit is not None and len(entries) >= limit:
            break
    entries = entries[:limit]
    return entries, Source(reader.pinned, reader.sha256, len(entries), len(entries), 0)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    own = sorted((file for file in path.iterdir() if _is_data(file)), key=natural)
    files = own or sorted((file for file in path.rglob("*") if _is_data(file)), key=natural)
    if not files:
        raise DataError(f"{path}: no file in it ends in {', '.join(ENDINGS)}")
    return files


def _is_data(file: Path) -> bool:
    endings = [ending for ending in file.suffixes if ending not in _PACKED]
    named = bool(endings) and endings[-1] in ENDINGS
    return named and file.is_file() and not file.name.startswith(".")


def _object(row: object, file: Path, number: int) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{file}: row {number}: not an object but {type(row).__name__}")
    return row


def _rows(file: Path) -> tuple[Sequence[object], str]:
    hashed = HashedFile(file)
    if file.suffix == ".parquet":
        return _parquet(file), hashed.sha256
    try:
        text = b"".join(utf8(decompressed(hashed.blocks, str(file)))).decode()
    except Damage as damage:
        raise DataError(f"{file}: {damage}; download it again") from damage
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text at byte {error.start + 1}") from error
    rows = list(_parsed(text, file))
    if _HALF.search(text):
        _refuse_halves(rows, file)
    return rows, hashed.sha256


def _refuse_halves(rows: Sequence[object], file: Path) -> None:
    """Half a surrogate pair is no text: no file can hold it, and no table."""
    for number, row in enumerate(rows, 1):
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError(f"{file}: row {number}: text is not valid Unicode") from None
        except RecursionError:
            raise DataError(f"{file}: row {number}: nested too deeply") from None


def _parquet(file: Path) -> list[object]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_table(file).to_pylist())
    except FileNotFoundError as error:
        raise unreadable(file, error) from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file}: cannot be read as Parquet ({error})") from error


def _parsed(text: str, file: Path) -> Iterator[object]:
    start = text.lstrip()[:1]
    if start == "[" or (start == "{" and _is_one_value(text)):
        value = _json(text, file, None)
        if isinstance(value, list):
            yield from value
            return
        columns = _columns(value)
        yield from ([value] if columns is None else columns)
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _json(line, file, number)


def _is_one_value(text: str) -> bool:
    """Whether the first line alone is no JSON value: then the whole text has to be one."""
    first = text.strip().partition("\n")[0]
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return True
    return first == text.strip()


def _json(text: str, file: Path, line: int | None) -> Any:
    where = "" if line is None else f" line {line}:"
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"character {error.colno}" if line else f"line {error.lineno}"
        raise DataError(f"{file}:{where} not JSON: {error.msg} at {place}") from error
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
        raise DataError(f"{file}:{where} not JSON: {error}") from error


def _columns(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The rows of a dictionary of columns of one length, with its scalars in each; else None."""
    if not isinstance(value.get("subset"), list):
        return None
    size = len(value["subset"])
    lists = {k: v for k, v in value.items() if isinstance(v, list) and len(v) == size}
    return [{k: (v[i] if k in lists else v) for k, v in value.items()} for i in range(size)]
