"""Files as lines: compressed, damaged, huge or in another encoding."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from rmaudit.data import load, streams
from rmaudit.data.faults import Damage
from rmaudit.data.streams import HashedFile, decompressed, lines
from rmaudit.errors import DataError

TEXT = b"".join(b"line %d\n" % i for i in range(5000))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zst])
@pytest.mark.parametrize("size", [7, 1000, 1 << 20])
def test_compression_is_told_by_the_first_bytes(pack, size: int) -> None:
    if size == 7 and pack is not bytes:
        size = 64
    assert b"".join(decompressed(pieces(pack(TEXT), size), "f")) == TEXT


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_members_that_follow_one_another_are_read_as_one(pack) -> None:
    whole = pack(b"a\n") + pack(b"b\n")
    assert b"".join(decompressed(iter([whole]), "f")) == b"a\nb\n"


def test_zeros_after_gzip_are_padding() -> None:
    assert b"".join(decompressed(iter([gzip.compress(b"a\n") + bytes(100)]), "f")) == b"a\n"


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_what_precedes_a_cut_is_read_and_the_cut_is_said(pack) -> None:
    # Digests do not compress, so that half of the file holds about half of the rows.
    rows = [hashlib.sha256(b"%d" % i).hexdigest().encode() for i in range(20_000)]
    packed = pack(b"\n".join(rows))
    got: list[tuple[int, bytes | None]] = []
    with pytest.raises(Damage, match="cut") as damage:
        got.extend(lines(decompressed(pieces(packed[: len(packed) // 2], 4096), "f"), "f"))
    read = [line for _, line in got]
    assert read == rows[: len(read)]
    if pack is gzip.compress:  # zstandard gives out whole blocks only
        assert len(read) > 5000
    assert damage.value.row == len(read) + 1


def test_rows_before_the_cut_are_given_out() -> None:
    packed = gzip.compress(TEXT)[:-8]  # all of the data, but not the check sum
    got: list[tuple[int, bytes | None]] = []
    with pytest.raises(Damage, match="end early"):
        got.extend(lines(decompressed(iter([packed]), "f"), "f"))
    assert [line for _, line in got] == TEXT.splitlines()


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_flipped_bytes_are_damage(pack) -> None:
    packed = bytearray(pack(TEXT))
    packed[len(packed) // 2 : len(packed) // 2 + 8] = b"\xff" * 8
    with pytest.raises(Damage):
        list(decompressed(iter([bytes(packed)]), "f"))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_lines_do_not_depend_on_where_blocks_end(size: int) -> None:
    data = b"\xef\xbb\xbfone\r\n\ntwo\nthree"
    expected = [(1, b"one\r"), (2, b""), (3, b"two"), (4, b"three")]
    assert list(lines(pieces(data, size), "f")) == expected


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_lines(data: bytes) -> None:
    assert list(lines(iter([data]), "f")) == []


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_text_is_read_in_the_encoding_that_its_first_bytes_tell(
    encoding: str, end: str, size: int
) -> None:
    text = f'{{"a": "Grüße, 你好 🚀"}}{end}{{"a": "\u2028"}}{end}'
    wanted = [line.encode() for line in text.split("\n")[:-1]]
    got = list(lines(pieces(text.encode(encoding), size), "f"))
    assert [line for _, line in got] == wanted


def test_carriage_returns_are_line_ends_where_there_is_no_other() -> None:
    assert list(lines(iter([b"a\rb\rc"]), "f")) == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert list(lines(iter([b"a\rb\nc"]), "f")) == [(1, b"a\rb"), (2, b"c")]


def test_utf16_that_is_cut_is_damage_behind_its_last_whole_line() -> None:
    whole = "one\ntwo\n".encode("utf-16")
    got: list[tuple[int, bytes | None]] = []
    with pytest.raises(Damage, match="UTF-16"):
        got.extend(lines(iter([whole + b"x"]), "f"))
    assert got == [(1, b"one"), (2, b"two")]


@pytest.mark.parametrize("size", [3, 10, 100])
def test_a_line_over_the_limit_is_none_and_the_next_is_whole(size: int) -> None:
    data = b"12345\n" + b"x" * 50 + b"\nabc\n" + b"y" * 6
    got = list(lines(pieces(data, size), "f", limit=5))
    assert got == [(1, b"12345"), (2, None), (3, b"abc"), (4, None)]


@pytest.mark.parametrize("pack", [gzip.compress, zst])
def test_a_bomb_is_never_held_whole(pack) -> None:
    packed = pack(bytes(120 << 20) + b"\nnext")  # under what is refused
    assert len(packed) < 1 << 20
    tracemalloc.start()
    try:
        # NUL at the start would be taken for UTF-16.
        got = list(lines(decompressed(iter([pack(b"ok\n") + packed]), "f"), "f", limit=1 << 20))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert got == [(1, b"ok"), (2, None), (3, b"next")]
    assert peak < 100 << 20


def test_the_digest_is_of_the_whole_file_however_much_was_read(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(TEXT * 100)
    file = HashedFile(path)
    next(file.blocks)
    assert file.sha256 == hashlib.sha256(TEXT * 100).hexdigest()


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        next(HashedFile(tmp_path / "none").blocks)


@pytest.mark.parametrize("pack", [gzip.compress, zst])
@pytest.mark.parametrize("content", [bytes(64), b'{"a": 1}\n\n\n\n\n' * 5])
def test_ten_gigabytes_in_a_small_file_are_refused(
    pack, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = pack(b'{"a": 1}\n' + content * (1 << 18))  # some 16 MB; parts follow one another
    path = tmp_path / "d.jsonl.gz"
    with path.open("wb") as file:
        for _ in range(640):
            file.write(part)
    assert path.stat().st_size < 100 << 20
    monkeypatch.setattr(streams, "FREE", 2 << 20)  # the rest is the same, and slower
    got: list[int] = []
    with pytest.raises(DataError, match="over 100 times its size") as error:
        got.extend(map(len, decompressed(HashedFile(path).blocks, str(path))))
    assert sum(got) <= 130 << 20  # of 10 GB: the file's first block is a mebibyte
    assert "unpack it first" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_packs_as_data_do_may_be_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE", 1 << 10)
    packed = gzip.compress(TEXT)
    assert len(TEXT) > 1 << 10
    assert b"".join(decompressed(iter([packed]), "f")) == TEXT


def test_a_parquet_file_that_unpacks_too_far_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FREE", 1 << 20)
    table = pa.table(
        {"prompt": ["p" * 100_000] * 100, "chosen": ["a"] * 100, "rejected": ["b"] * 100}
    )
    path = tmp_path / "d.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    with pytest.raises(DataError, match="over 100 times its size"):
        load(path)
