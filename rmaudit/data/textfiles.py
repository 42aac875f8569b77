"""JSON Lines and CSV, plain or compressed, row by row."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rmaudit.data.chunks import Reader, Records, in_chunks
from rmaudit.data.faults import Damage, Fault
from rmaudit.data.names import TEXTS, looks_like, plain
from rmaudit.data.rows import SLICES
from rmaudit.data.streams import LINE_LIMIT, HashedFile, decompressed, lines
from rmaudit.errors import DataError

# Cells that are text whatever they look like; in other columns numbers and lists are decoded.
_TEXT = {"id", "group", *SLICES, *TEXTS}
# Of these an empty cell is an empty text, and a list in brackets is none before its table is known.
_KEPT = {"prompt", "chosen", "rejected", "output", "completion"}
# As Python and pandas write them.
_WORDS = {"true": True, "false": False, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class JsonLines(Reader):
    """One JSON object a line; blank lines are passed over."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = HashedFile(path)

    def chunks(self) -> Iterator[Records]:
        """Rows by line number."""
        return in_chunks(
            (number, _json(line), len(line or b""))
            for number, line in lines(decompressed(self._file.blocks, self.path), self.path)
            if line is None or line.strip()
        )

    @property
    def sha256(self) -> str:
        """Of the file as it is on disk."""
        return self._file.sha256


def _too_long() -> Fault:
    return Fault(None, "line too long", f"more than {LINE_LIMIT >> 20} MiB")


def _json(line: bytes | None) -> object:
    if line is None:
        return _too_long()
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return Fault(None, "text is not valid Unicode", f"not UTF-8 at byte {error.start + 1}")
    except json.JSONDecodeError as error:
        return Fault(None, "not JSON", f"{error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, deep nesting
        return Fault(None, "not JSON", str(error))


class Csv(Reader):
    """Separated values with a header; rows are counted from 1 after it.

    An empty cell is null but in text columns; lists are written as JSON. Columns named like a
    context or a response, and those of `texts`, are text whatever they look like.
    """

    def __init__(self, path: Path, separator: str = ",", texts: Sequence[str] = ()) -> None:
        self.path = str(path)
        self._separator = separator
        self._texts = {*texts}
        self._file = HashedFile(path)
        self._too_long = False

    def chunks(self) -> Iterator[Records]:
        """Rows by record number."""
        return in_chunks(self._rows())

    def _rows(self) -> Iterator[tuple[int, object, int]]:
        # Python's limit of 128 kB a cell is one for the whole process; outputs may be longer.
        csv.field_size_limit(max(csv.field_size_limit(), LINE_LIMIT))
        reader = csv.reader(self._text(), strict=True, delimiter=self._separator)
        header: list[str] = []
        number = 0
        while True:
            cells: list[str] = []
            fault: Fault | None = None
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = Fault(None, "not CSV", str(error))
            except Damage as damage:
                raise Damage(str(damage), number + 1) from damage
            if self._too_long:
                fault, self._too_long = _too_long(), False
            if fault is None and not cells:  # a blank line
                continue
            if fault is None and not header:
                header = self._header(cells)
                continue
            number += 1
            yield number, fault or self._record(header, cells), sum(map(len, cells))

    def _text(self) -> Iterator[str]:
        for _, line in lines(decompressed(self._file.blocks, self.path), self.path):
            self._too_long |= line is None
            # Bytes that are not UTF-8 become lone surrogates, which the row check finds.
            yield (line or b"").decode("utf-8", "surrogateescape") + "\n"

    def _header(self, cells: list[str]) -> list[str]:
        header = [cell.strip() for cell in cells]  # "prompt, chosen" has a blank before its names
        if len(set(header)) < len(header):
            raise DataError(f"{self.path}: two columns have one name; rename one in the header")
        self._texts.update(
            name
            for name in header
            if plain(name) in _TEXT or looks_like(name) in ("context", "response")
        )
        return header

    def _record(self, header: list[str], cells: list[str]) -> object:
        if len(cells) != len(header):
            detail = f"{len(cells)} cells under {len(header)} columns"
            return Fault(None, "wrong number of cells", detail)
        return {
            name: _cell(text, name in self._texts, plain(name) in _KEPT)
            for name, text in zip(header, cells, strict=True)
        }

    @property
    def sha256(self) -> str:
        """Of the file as it is on disk."""
        return self._file.sha256


def _cell(cell: str, text: bool, kept: bool) -> Any:
    """A cell's value; an empty one is null but in columns where it is `kept`."""
    if not cell:
        return cell if kept else None
    if text and not (cell[0] == "[" and cell[-1] == "]" and not kept):
        return cell
    if (word := cell.lower()) in _WORDS:
        return _WORDS[word]
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell
