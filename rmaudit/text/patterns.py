"""How often patterns occur in many texts.

Most texts hold none of what a pattern looks for. A sieve of automata (RE2, in Arrow) tells which
may; only those are read by Python's regular expressions, which can look around.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rmaudit.typing import Float

_PIECE = 1 << 12  # texts looked through at once: memory does not grow with their number
_THREADS = min(os.cpu_count() or 1, 4)  # RE2 and numpy run side by side; what is Python's does not
_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True)
class TextChunk:
    """Some texts, (k,), and those of them that are ASCII only, for Arrow.

    Outside ASCII, RE2 and Python do not agree on what a letter is, and some texts have no UTF-8.
    """

    texts: NDArray[np.object_]
    ascii: NDArray[np.bool_]  # (k,)
    arrow: Any  # an array of strings, as many as are ASCII

    @classmethod
    def of(cls, texts: NDArray[np.object_]) -> TextChunk:
        """These texts."""
        plain = np.fromiter(map(str.isascii, texts), np.bool_, len(texts))
        return cls(texts, plain, pa.array(texts[plain], pa.string()))


Counter = Callable[[TextChunk], Float]  # (k,)


def counts(texts: NDArray[np.object_], counters: Mapping[str, Counter]) -> dict[str, Float]:
    """What each counter finds in each text, (m,), by its name."""

    def of_piece(first: int) -> list[Float]:
        piece = TextChunk.of(texts[first : first + _PIECE])
        return [counter(piece) for counter in counters.values()]

    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [*pool.map(of_piece, range(0, len(texts), _PIECE))]
    columns = zip(*parts, strict=True) if parts else [[np.zeros(0)]] * len(counters)
    return dict(zip(counters, map(np.concatenate, columns), strict=True))


def unfenced(text: str) -> str:
    """Without code blocks."""
    return _FENCED.sub("\n", text) if "```" in text else text


def code_blocks(text: str) -> int:
    """Fenced blocks of code; the last may be left open."""
    return len(_FENCED.findall(text))


def sifted(hint: str, count: Callable[[str], int]) -> Counter:
    """Count, in Python, only in texts that may hold something.

    Parameters
    ----------
    hint
        For RE2, without regard to case: what every ASCII text with a count holds, once its code
        blocks are cut out.
    count
        Of one text.
    """
    sieve = f"{hint}|```"  # cutting out code may join what is left to a match

    def counter(piece: TextChunk) -> Float:
        may = ~piece.ascii
        may[piece.ascii] = pc.match_substring_regex(piece.arrow, sieve, ignore_case=True)
        found = np.zeros(len(may))
        found[may] = [count(text) for text in piece.texts[may]]
        return found

    return counter


def matches(pattern: str, hint: str, flags: int = 0) -> Counter:
    """Count what matches outside code; for `hint` see `sifted`."""
    compiled = re.compile(pattern, flags)
    return sifted(hint, lambda text: len(compiled.findall(unfenced(text))))


def whole_words(pattern: str) -> Counter:
    """Count words and phrases, without regard to case; both kinds of apostrophe are one."""
    compiled = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    edged = rf"\b(?:{pattern})\b"  # the same in ASCII, where RE2 can count by itself

    def counter(piece: TextChunk) -> Float:
        found = np.zeros(len(piece.texts))
        found[piece.ascii] = pc.count_substring_regex(piece.arrow, edged, ignore_case=True)
        others = [text.replace("’", "'") for text in piece.texts[~piece.ascii]]
        found[~piece.ascii] = [len(compiled.findall(text)) for text in others]
        return found

    return counter
