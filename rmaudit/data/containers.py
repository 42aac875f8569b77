"""From what a user names (a file, a folder, a pattern, a hub id) to the reader of its rows."""

from __future__ import annotations

import glob
import json
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from rmaudit.data.chunks import Columns, Reader, Records
from rmaudit.data.encodings import utf8_head
from rmaudit.data.faults import Damage
from rmaudit.data.hub import Hub, hub_name
from rmaudit.data.jsonfiles import JsonValues, rows_of
from rmaudit.data.names import CONTEXT, looks_like
from rmaudit.data.streams import HashedFile, decompressed, digest, unreadable
from rmaudit.data.tables import ArrowFiles, Memory, saved_folder
from rmaudit.data.textfiles import Csv, JsonLines
from rmaudit.errors import DataError
from rmaudit.files import opened
from rmaudit.order import natural

Input = str | Path | pd.DataFrame | Sequence[Mapping[str, Any]]

READ = (
    "JSON Lines, JSON (an array, or an object of columns), CSV and TSV with any separator, "
    "Parquet, Arrow and Feather; text also as .gz, .zst, .bz2 or .xz"
)
_PACKED = (".gz", ".zst", ".bz2", ".xz")
_JSONL = (".jsonl", ".ndjson", ".jl", ".json")
_TABLES = (".parquet", ".arrow", ".feather")
_TEXTS = (".csv", ".tsv", ".psv", ".txt")
ENDINGS = (*_JSONL, *_TABLES, *_TEXTS)
_HEAD = 1 << 16
_SEPARATORS = (",", "\t", ";", "|")
_SPLIT = re.compile(r"^(train|training|test|validation|valid|val|dev|eval)(?=[-_.]|$)", re.I)
_NO_DATA = re.compile(r"^(dataset_infos?|state|dataset_dict|config|metadata|package.*)\.json$")


def open_reader(path: Input, texts: Sequence[str] = (), limit: int | None = None) -> Reader:
    """The reader of an input, by what it is and what it holds.

    Parameters
    ----------
    path
        A file, folder, pattern or hub id, ``-`` for the standard input, or a table in memory.
    texts
        Columns whose cells are text even where they look like numbers (CSV).
    limit
        How many rows will be read: a hub data set is then streamed.
    """
    if not isinstance(path, str | Path):
        return Memory(path)
    text = str(path)
    if text == "-":
        return _standard_input(texts)
    file = Path(text)
    if file.is_dir():
        return _folder(file, texts)
    if _exists(file):
        return open_file(file, texts)
    if any(character in text for character in "*?["):
        files = [Path(name) for name in sorted(glob.glob(text, recursive=True), key=natural)]  # noqa: PTH207
        files = [each for each in files if each.is_file()]
        if files:
            return Shards(text, [open_file(each, texts) for each in files])
    name = hub_name(text)
    if name is not None and not text.partition(":")[0].lower().endswith((*ENDINGS, *_PACKED)):
        return Hub(name, limit)
    raise unreadable(file, FileNotFoundError())


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except (OSError, ValueError):  # a name too long for the system, or with a null byte
        return False


def open_file(file: Path, texts: Sequence[str] = ()) -> Reader:
    """The reader of one file: by its first bytes, its ending where those do not tell."""
    ending = _ending(file)
    magic = _first_bytes(file)
    packed = file.suffix.lower() in _PACKED
    if (ending in _TABLES and not packed) or magic.startswith(
        (b"PAR1", b"ARROW1", b"FEA1", b"\xff\xff\xff\xff")
    ):
        return ArrowFiles(file, [file])
    head = _head(file)
    if head is None:  # damaged from its first byte on: reading says how
        return JsonLines(file)
    if head.startswith((b"PAR1", b"ARROW1")):
        raise DataError(f"{file}: is a packed table; unpack it and give the plain file")
    start = (head := utf8_head(head)).lstrip()
    if start[:1] in (b"[", b"{") and ending not in (".csv", ".tsv", ".psv"):
        return JsonValues(file) if _is_document(start, ending, head) else JsonLines(file)
    if ending in _TEXTS:
        separator = "\t" if ending == ".tsv" else "|" if ending == ".psv" else _separator(head)
        return Csv(file, separator, texts)
    if ending in _JSONL or not start:
        return JsonLines(file)
    if _is_csv(head):
        return Csv(file, _separator(head), texts)
    raise DataError(f"{file}: its format is not known; reads {READ}")


def _ending(file: Path) -> str:
    endings = [ending.lower() for ending in file.suffixes[-2:]]
    if endings and endings[-1] in _PACKED:
        endings.pop()
    return endings[-1] if endings else ""


def _first_bytes(file: Path) -> bytes:
    try:
        with opened(file) as first:
            return first.read(8)
    except OSError as error:
        raise unreadable(file, error) from error


def _head(file: Path) -> bytes | None:
    """The first unpacked bytes, or None where there are none to be had."""
    parts: list[bytes] = []
    try:
        for block in decompressed(HashedFile(file).blocks, str(file)):
            parts.append(block)
            if sum(map(len, parts)) >= _HEAD:
                break
    except Damage:
        if not any(parts):
            return None
    return b"".join(parts)


def _is_document(start: bytes, ending: str, head: bytes) -> bool:
    """Whether text that begins with a bracket is one JSON document, not one object a line."""
    line, more, rest = start.partition(b"\n")
    line = line.strip()
    lines = ending in (".jsonl", ".ndjson", ".jl")
    whole = len(head) < _HEAD
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        if lines:  # a line may be broken; only a document's own first line is none
            return bool(re.fullmatch(rb"[\[{]|\[\s*\{.*|\{\s*\"[^\"]*\":.*[,\[{]", line))
        return True
    alone = whole and not rest.strip()
    if isinstance(value, list):
        rows = bool(value) and all(isinstance(row, dict) for row in value)
        return alone and rows if lines else alone or not more
    return alone and not lines and rows_of(value) != [value]


def _separator(head: bytes) -> str:
    """What separates the cells of a header: what gives most of them."""
    header = head.lstrip(b"\r\n").split(b"\n")[0]
    unquoted = re.sub(rb'"[^"]*"', b"", header).decode("utf-8", "replace")
    return max(_SEPARATORS, key=unquoted.count)


def _is_csv(head: bytes) -> bool:
    header = head.lstrip(b"\r\n").split(b"\n")[0]
    text = header.decode("utf-8", "replace")
    names = [cell.strip().strip('"').lower() for cell in text.split(_separator(head))]
    return (
        len(names) > 1
        and any(n in CONTEXT or looks_like(n) for n in names)
        and (text.isprintable() or "\t" in text)
    )


def _folder(path: Path, texts: Sequence[str]) -> Reader:
    """A saved data set, or the files of one split of one data set."""
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return saved_folder(path)
    files = sorted(
        (
            each
            for each in path.rglob("*")
            if each.is_file()
            and _ending(each) in ENDINGS
            and not _NO_DATA.match(each.name)
            and not any(part.startswith((".", "_")) for part in each.relative_to(path).parts)
        ),
        key=natural,
    )
    if not files:
        raise DataError(
            f"{path}: is a folder without data files, and no saved datasets folder (no state.json);"
            f" give a file; reads {READ}"
        )
    splits = {_split(each, path) for each in files}
    if len(splits) > 1:
        shown = ", ".join(sorted(splits)[:8])
        raise DataError(
            f"{path}: holds the splits {shown}; give one: a file, a folder or a pattern such as "
            f"'{path}/{sorted(splits)[0]}*'"
        )
    return Shards(str(path), [open_file(each, texts) for each in files])


def _split(file: Path, folder: Path) -> str:
    """Which split or part of a data set a file is of, by its name and folder."""
    inside = file.relative_to(folder)
    named = _SPLIT.match(file.name)
    parent = "" if str(inside.parent) in (".", "data") else f"{inside.parent}/"
    return parent + (named[1].lower() if named else "")


def _standard_input(texts: Sequence[str]) -> Reader:
    file = tempfile.NamedTemporaryFile(prefix="rmaudit-", delete=False)  # noqa: SIM115
    with file:
        while block := sys.stdin.buffer.read(1 << 20):
            file.write(block)
    reader = open_file(Path(file.name), texts)
    return Named("-", reader, Path(file.name))


class Named(Reader):
    """A reader under the name that the user gave; its temporary file goes when it is read."""

    def __init__(self, path: str, reader: Reader, temporary: Path) -> None:
        self.path = path
        self._reader, self._temporary = reader, temporary
        self._sha256 = ""

    def chunks(self) -> Iterator[Records | Columns]:
        """Those of the file."""
        try:
            yield from self._reader.chunks()
        finally:
            self._sha256 = self._reader.sha256
            self._temporary.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Of what was read."""
        return self._sha256 or self._reader.sha256


class Shards(Reader):
    """Several files as one table: rows are counted through them."""

    def __init__(self, path: str, readers: Sequence[Reader]) -> None:
        self.path = path
        self._readers = readers

    def chunks(self) -> Iterator[Records | Columns]:
        """The files' chunks, one file after the other."""
        before = 0
        for reader in self._readers:
            last = 0
            try:
                for chunk in reader.chunks():
                    if isinstance(chunk, Columns):
                        last = chunk.first + chunk.table.num_rows - 1
                        yield Columns(before + chunk.first, chunk.table)
                    else:
                        last = chunk.rows[-1][0] if chunk.rows else last
                        yield Records([(before + number, value) for number, value in chunk.rows])
            except Damage as damage:
                raise Damage(f"{reader.path}: {damage}", before + damage.row) from damage
            before += last

    @property
    def sha256(self) -> str:
        """Of the files' digests, or the digest itself where there is one file."""
        digests = [reader.sha256 for reader in self._readers]
        return digests[0] if len(digests) == 1 else digest(d.encode() for d in digests)
