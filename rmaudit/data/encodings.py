"""Text in the encoding that its first bytes tell, as UTF-8 with one kind of line end."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import suppress

from rmaudit.data.faults import Damage

# Marks of the byte order, the longer ones first: that of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def encoding(head: bytes) -> tuple[str, int]:
    """The encoding of a text by its first bytes, and how many of them are the byte-order mark.

    UTF-16 without a mark is told by the zero bytes of its first two characters.
    """
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name, len(mark)
    if head[1:2] == head[3:4] == b"\0" != head[:1]:
        return "utf-16-le", 0
    if head[:1] == head[2:3] == b"\0" != head[1:2]:
        return "utf-16-be", 0
    return "utf-8", 0


def utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks of a text as UTF-8 without a byte-order mark.

    Bytes of UTF-8 stay as they are, valid or not. In a file whose first block has no other line
    end, each carriage return is one.

    Raises
    ------
    Damage
        Where UTF-16 or UTF-32 holds what is no character.
    """
    head = b""
    for block in blocks:
        head += block
        if len(head) >= 4:
            break
    name, mark = encoding(head)
    decoder = None if name == "utf-8" else codecs.getincrementaldecoder(name)("surrogatepass")
    head = _encoded(decoder, head[mark:])
    returns = b"\r" in head[:-1] and b"\n" not in head  # the last may be half of "\r\n"
    yield head.replace(b"\r", b"\n") if returns else head
    for block in blocks:
        block = _encoded(decoder, block)
        yield block.replace(b"\r", b"\n") if returns else block
    if decoder is not None:
        _encoded(decoder, b"", final=True)


def utf8_head(head: bytes) -> bytes:
    """The first bytes of a text as `utf8` gives them, without a character that they cut."""
    parts: list[bytes] = []
    with suppress(Damage):
        for part in utf8(iter([head])):
            parts.append(part)
    return b"".join(parts)


def _encoded(decoder: codecs.IncrementalDecoder | None, block: bytes, final: bool = False) -> bytes:
    if decoder is None:
        return block
    try:
        return decoder.decode(block, final).encode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise Damage(f"not {error.encoding.upper()} ({error.reason})") from error
