"""What readers hand on: consecutive rows, as records or as columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rmaudit.data.faults import Damage

CHUNK_ROWS = 8192
CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Records:
    """Rows by number: a decoded value, or the `Fault` that kept it from being one."""

    rows: list[tuple[int, object]]


@dataclass(frozen=True, slots=True)
class Columns:
    """An Arrow table whose first row has number `first`."""

    first: int
    table: Any  # pyarrow.Table


class Reader(ABC):
    """Rows of one input, in chunks that bound the memory they need.

    `chunks` raises `Damage` where the rest cannot be read, and `DataError` where nothing can.
    """

    path: str

    @abstractmethod
    def chunks(self) -> Iterator[Records | Columns]:
        """All rows, once."""

    @property
    @abstractmethod
    def sha256(self) -> str:
        """Digest of the whole input; to be asked for once the chunks are done with."""


def in_chunks(rows: Iterable[tuple[int, object, int]]) -> Iterator[Records]:
    """Rows, with their number and size in bytes, put together; those before damage come first."""
    chunk: list[tuple[int, object]] = []
    size = 0
    try:
        for number, value, bytes_ in rows:
            chunk.append((number, value))
            size += bytes_
            if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                yield Records(chunk)
                chunk, size = [], 0
    except Damage:
        yield Records(chunk)
        raise
    yield Records(chunk)
