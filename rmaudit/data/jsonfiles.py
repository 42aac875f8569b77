"""JSON that is not one object a line: arrays, objects of columns, objects one after the other."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rmaudit.data import names
from rmaudit.data.chunks import Reader, Records, in_chunks
from rmaudit.data.faults import Damage
from rmaudit.data.messages import is_turn
from rmaudit.data.streams import LINE_LIMIT, HashedFile, decompressed, text

_WRAPPERS = ("data", "rows", "examples", "instances", "items", "results", "records", "samples")
_SPLITS = ("train", "test", "validation", "eval")
_ROLES = frozenset(
    (*names.CONTEXT, *names.ONE, *names.MANY, *(name for pair in names.PAIRS for name in pair))
)
_SPACE = " \t\r\n"


class JsonValues(Reader):
    """One JSON document: an array of rows, an object of columns, or objects one after the other.

    Rows are counted from 1. What follows a place that is no JSON cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._file = HashedFile(path)

    def chunks(self) -> Iterator[Records]:
        """Rows by their place."""
        return in_chunks((n, value, size) for n, (value, size) in enumerate(self._rows(), start=1))

    def _rows(self) -> Iterator[tuple[object, int]]:
        document = _Text(text(decompressed(self._file.blocks, self.path), self.path))
        first = document.peek()
        if first == "[":
            document.skip()
            yield from document.values(closing="]")
            return
        values = document.values(closing="")
        value, size = next(values, (None, 0))
        if size and not document.peek():  # the only one
            rows = rows_of(value)
            yield from ((row, size // max(len(rows), 1)) for row in rows)
        elif size:
            yield value, size
            yield from values

    @property
    def sha256(self) -> str:
        """Of the file as it is on disk."""
        return self._file.sha256


class _Text:
    """Decoded text that is read value by value; only the value being read is held."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        # Bytes that are not UTF-8 become lone surrogates, which the row check finds.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._buffer, self._place, self._row = "", 0, 0
        self._ended = False

    def peek(self) -> str:
        """The next character that is no white space; "" at the end."""
        while True:
            while self._place < len(self._buffer):
                if self._buffer[self._place] not in _SPACE:
                    return self._buffer[self._place]
                self._place += 1
            if not self._more():
                return ""

    def skip(self) -> None:
        """Pass over the next character."""
        self._place += 1

    def values(self, closing: str) -> Iterator[tuple[object, int]]:
        """The values up to `closing`, with their size in characters."""
        decoder = json.JSONDecoder()
        while (following := self.peek()) != closing:
            self._row += 1
            if not following:
                raise Damage(f"the array does not end: {closing} is missing", self._row)
            if following == "," and closing and self._row > 1:
                self.skip()
                self.peek()
            wanted = 0
            while True:
                try:
                    value, end = decoder.raw_decode(self._buffer, self._place)
                except (ValueError, RecursionError) as error:
                    if len(self._buffer) - self._place > LINE_LIMIT or not self._more(wanted):
                        raise Damage(f"not JSON ({error})", self._row) from error
                    wanted = len(self._buffer) - self._place  # twice as much each time
                    continue
                if end < len(self._buffer) or not self._more():
                    break
            size, self._place = end - self._place, end
            yield value, size

    def _more(self, wanted: int = 1) -> bool:
        """Whether there was more to read; at least `wanted` characters, if so many are left."""
        if self._ended:
            return False
        parts = [self._buffer[self._place :]]
        while wanted >= 0 and not self._ended:
            block = next(self._blocks, b"")
            self._ended = not block
            text = self._decode.decode(block, final=self._ended)
            wanted -= max(len(text), 1)
            parts.append(text)
        self._buffer, self._place = "".join(parts), 0
        return len(parts) > 2 or bool(parts[-1])


def rows_of(value: object) -> list[object]:
    """The rows of one JSON object: wrapped under one name, in columns, or the object itself."""
    if not isinstance(value, dict):
        return [value]
    lists = {k: v for k, v in value.items() if isinstance(v, list)}
    wrapped = [k for k, v in lists.items() if v and all(isinstance(row, dict) for row in v)]
    if len(wrapped) == 1 and wrapped[0].lower() in (*_WRAPPERS, *_SPLITS):
        rows = lists[wrapped[0]]
        return [r["row"] if isinstance(r.get("row"), dict) and "row_idx" in r else r for r in rows]
    indexed = {k: list(v.values()) for k, v in value.items() if isinstance(v, dict)}
    if len(indexed) == len(value) and len({tuple(v) for v in value.values()}) == 1:
        return _transposed(indexed) or [value]  # as pandas writes a frame
    return _transposed(value) or [value]


def _transposed(columns: Mapping[str, Any]) -> list[object]:
    """Rows of an object of columns; none if it is no such object."""
    lists = {name: values for name, values in columns.items() if isinstance(values, list)}
    roles = [name for name in columns if name.lower() in _ROLES]
    if len({len(values) for values in lists.values()}) != 1 or not roles:
        return []
    if any(name not in lists or any(map(is_turn, lists[name])) for name in roles):
        return []  # a single row: its own text is no column
    size = len(next(iter(lists.values())))
    return [
        {name: values[i] if name in lists else values for name, values in columns.items()}
        for i in range(size)
    ]
