"""Files as hashed, decompressed lines, in bounded memory whatever the file holds."""

from __future__ import annotations

import bz2
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rmaudit.data.encodings import utf8
from rmaudit.data.faults import Damage
from rmaudit.errors import DataError
from rmaudit.files import NoFileError, opened

BLOCK = 1 << 20
# What is packed tighter than this, and is large, was made to fill the memory of who reads it.
# Preference data pack three- to twentyfold.
EXPANSION = 100
FREE = 128 << 20  # bytes that any file may unpack to: of short rows, 1.5 GB of memory
LINE_LIMIT = 64 << 20
# Zstandard grows up to 32,000-fold: 256 bytes to at most 8 MiB, which bounds what is held.
_ZSTD_SLICE = 1 << 8
_LZMA_MEMORY = 256 << 20  # what an xz file may ask for
_LFS = b"version https://git-lfs.github.com/"


class HashedFile:
    """The bytes of a file, in blocks, hashed as they are read."""

    def __init__(self, path: Path) -> None:
        self._hash = hashlib.sha256()
        self.blocks = self._read(path)

    def _read(self, path: Path) -> Iterator[bytes]:
        try:
            with opened(path) as file:
                while block := file.read(BLOCK):
                    self._hash.update(block)
                    yield block
        except OSError as error:
            raise unreadable(path, error) from error

    @property
    def sha256(self) -> str:
        """Hex digest of the whole file: reads what has not been read yet."""
        for _ in self.blocks:
            pass
        return self._hash.hexdigest()


def unreadable(path: Path | str, error: OSError) -> DataError:
    """One line for a file that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such file; check the path (a hub id is org/dataset:split)")
    if isinstance(error, NoFileError):
        return DataError(f"{path}: {error.strerror}; write the data to a file, or pipe them to -")
    return DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions")


_ARCHIVES = {
    b"PK\x03\x04": "a zip archive (as .xlsx, .npz and .pt are)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
}


def decompressed(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Plain bytes of gzip, zstandard, bzip2, xz or plain input: told by its first bytes.

    Raises
    ------
    DataError
        If it is an archive of several files, or a compressed file unpacks to over 128 MiB and over
        a hundred times its size.
    Damage
        Where a compressed file ends early or holds what cannot be decompressed, after all that
        could be.
    """
    blocks = iter(blocks)
    head = next(blocks, b"")
    if archive := next((name for mark, name in _ARCHIVES.items() if head.startswith(mark)), None):
        raise DataError(
            f"{path}: is {archive}, which is not read; unpack it and name what it holds, "
            "or save a table as CSV or Parquet"
        )
    whole = _Counted(_chain(head, blocks))
    if head.startswith(b"\x1f\x8b"):
        return _bounded(_gunzip(whole), whole, path)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _bounded(_unzstd(whole), whole, path)
    if head.startswith(b"BZh"):
        return _bounded(_unpack(whole, bz2.BZ2Decompressor, "bzip2"), whole, path)
    if head.startswith(b"\xfd7zXZ\0"):
        return _bounded(_unpack(whole, _xz, "xz"), whole, path)
    return iter(whole)


class _Counted:
    """Blocks, and how many bytes of them were taken so far."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self._blocks:
            self.taken += len(block)
            yield block


def _bounded(plain: Iterator[bytes], packed: _Counted, path: str) -> Iterator[bytes]:
    given = 0
    for piece in plain:
        given += len(piece)
        if too_large(given, packed.taken):
            raise unpacks_too_far(path)
        yield piece


def too_large(plain: int, packed: int) -> bool:
    """Whether so many bytes cannot honestly have come from so few."""
    return plain > FREE and plain > EXPANSION * packed


def unpacks_too_far(path: str) -> DataError:
    """One line for a file that is small and unpacks to what no memory holds."""
    return DataError(
        f"{path}: unpacks to over {FREE >> 20} MiB and over {EXPANSION} times its size, as no "
        "preference data do; if it is meant, unpack it first and give the plain file"
    )


def _chain(head: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from rest


def _gunzip(blocks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    for block in blocks:
        while block:
            if inflater.eof:  # a further member follows; zeros are padding
                block = block.lstrip(b"\0")
                inflater = zlib.decompressobj(wbits=31) if block else inflater
                continue
            try:
                plain = inflater.decompress(block, BLOCK)
            except zlib.error as error:
                raise Damage(f"damaged gzip data ({error})") from error
            block = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if plain:
                yield plain
    # What is left inside the inflater once its input has run dry.
    while not inflater.eof and (plain := _drain(inflater)):
        yield plain
    if not inflater.eof:
        raise Damage("the gzip data end early: the file was cut")


def _drain(inflater: zlib._Decompress) -> bytes:
    try:
        return inflater.decompress(b"", BLOCK)
    except zlib.error as error:
        raise Damage(f"damaged gzip data ({error})") from error


def _unzstd(blocks: Iterable[bytes]) -> Iterator[bytes]:
    import zstandard

    inflater = zstandard.ZstdDecompressor().decompressobj()
    for block in blocks:
        for start in range(0, len(block), _ZSTD_SLICE):
            piece = block[start : start + _ZSTD_SLICE]
            while piece:
                if inflater.eof:
                    inflater = zstandard.ZstdDecompressor().decompressobj()
                try:
                    plain = inflater.decompress(piece)
                except zstandard.ZstdError as error:
                    raise Damage(f"damaged zstandard data ({error})") from error
                piece = inflater.unused_data if inflater.eof else b""
                if plain:
                    yield plain
    if not inflater.eof:
        raise Damage("the zstandard data end early: the file was cut")


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)


def _unpack(
    blocks: Iterable[bytes],
    new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor],
    name: str,
) -> Iterator[bytes]:
    inflater = new()
    for block in blocks:
        if inflater.eof:  # a further member follows; zeros are padding
            block = block.lstrip(b"\0")
            inflater = new() if block else inflater
        while block or not (inflater.eof or inflater.needs_input):
            try:
                plain = inflater.decompress(block, BLOCK)
            except (OSError, lzma.LZMAError, EOFError) as error:
                raise Damage(f"damaged {name} data ({error})") from error
            if plain:
                yield plain
            block = b""
            if inflater.eof and inflater.unused_data.lstrip(b"\0"):
                block, inflater = inflater.unused_data.lstrip(b"\0"), new()
    if not inflater.eof:
        raise Damage(f"the {name} data end early: the file was cut")


def lines(
    blocks: Iterable[bytes], path: str, *, limit: int = LINE_LIMIT
) -> Iterator[tuple[int, bytes | None]]:
    """Line number, from 1, and the line without its end; None for one of more than `limit` bytes.

    The text may be UTF-8, UTF-16 or UTF-32 (`utf8`). A line that damage cuts is not given out.

    Raises
    ------
    DataError
        If the file is a Git LFS pointer.
    Damage
        Where the rest of the file cannot be read, with the number of the line that is cut.
    """
    number = 1
    parts: list[bytes] = []
    size = 0
    try:
        for block in text(blocks, path):
            for index, piece in enumerate(block.split(b"\n")):
                if index:  # a line end stands before this piece
                    yield number, None if size > limit else b"".join(parts)
                    number, parts, size = number + 1, [], 0
                size += len(piece)
                if size <= limit:
                    parts.append(piece)
                else:
                    parts.clear()
    except Damage as damage:
        raise Damage(str(damage), number) from damage
    if size:
        yield number, None if size > limit else b"".join(parts)


def text(blocks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """The blocks of a text as UTF-8 (`utf8`); `DataError` if it is a Git LFS pointer."""
    blocks = utf8(iter(blocks))
    head = next(blocks, b"")
    if head.startswith(_LFS[:4]):
        while len(head) < len(_LFS) and (block := next(blocks, b"")):
            head += block
        if head.startswith(_LFS):
            raise DataError(f"{path}: is a Git LFS pointer, not the data; get them: git lfs pull")
    yield head
    yield from blocks


def digest(parts: Iterable[bytes]) -> str:
    """One digest of several."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()
