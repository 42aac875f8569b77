"""Names in figures, whole: a start that all share is said once, long ones take several lines."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from rmaudit.plots.text import one_line
from rmaudit.typing import Float

MOST = 200  # characters of a name that are drawn, at most: longer ones are no names but texts
EXTRA_LINE = 0.65  # height of each further line of a name, in rows of one line
# After what a name may go on in a new line: no number and no sign is torn apart.
_BREAK = re.compile(
    r"(?:(?<=[\s/|>_,;+&])|(?<=:)(?!\d)|(?<=[^\W\d]-)(?=\w)|(?<=[^\W\d]\.)(?=[^\W\d]))"
    r"(?![\s/|>_,;\"'\u201d\u2019)\]])"
)
_SHARED = re.compile(r".*[\s/:|>_.-]", re.DOTALL)
TOTALS = ("all", "(all)")  # rows that hold all others: their names share no start
_LEAST_SHARED = 4  # characters: a shorter start is no gain


def label(text: object) -> str:
    """Untrusted words on one line."""
    # matplotlib hides what begins with an underscore from legends; an invisible joiner stops it.
    line = one_line(text, MOST)
    return f"\u2060{line}" if line.startswith("_") else line


def cells(text: str) -> int:
    """The width of a line in letters; Chinese, Japanese and Korean signs take two."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def room(width: float, font_size: float, share: float) -> int:
    """How many letters fit in a share of a width in inches."""
    return max(12, int(share * width * 72 / (0.56 * font_size)))


def wrap(text: str, letters: int) -> str:
    """A name in lines of at most so many letters, parted at its separators, else within a word."""
    lines = [""]
    for piece in _BREAK.split(text):
        if lines[-1] and cells((lines[-1] + piece).rstrip()) > letters:
            lines.append("")
        for sign in piece:
            if cells((lines[-1] + sign).rstrip()) > letters:
                lines.append("")
            lines[-1] += sign
    return "\n".join(line.strip() for line in lines if line.strip())


def widest_line(name: str) -> int:
    """Letters of the longest line of a wrapped name."""
    return max(cells(line) for line in name.split("\n"))


def longest_piece(names: Sequence[str]) -> int:
    """Letters of the longest part of a name that no separator parts."""
    return max((cells(piece.strip()) for name in names for piece in _BREAK.split(name)), default=0)


def lines_of(name: str) -> int:
    """How many lines a wrapped name takes."""
    return name.count("\n") + 1


def shared_start(names: Sequence[str]) -> str:
    """What all names begin with, up to a separator; empty where it is short or all of a name.

    Rows of `TOTALS` are left out.
    """
    names = [name for name in names if name not in TOTALS]
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)  # what these two share, all between them share
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    match = _SHARED.match(first[:same])
    start = match.group() if match else ""
    whole = any(not name[len(start) :].strip() for name in names)
    return "" if whole or len(start) < _LEAST_SHARED else start


def fit(names: Sequence[object], letters: int) -> tuple[list[str], str]:
    """Names for a room of so many letters, and the start that was taken from all of them.

    Names that fit stay as they are. Else a start that all share goes, and what is still too long
    is wrapped.
    """
    shown = [label(name) for name in names]
    start = ""
    if any(cells(name) > letters for name in shown):
        start = shared_start(shown)
        shown = [wrap(name.removeprefix(start), letters) for name in shown]
    return shown, start


def start_words(start: str, names: Sequence[str] = ()) -> str:
    """How a figure says what was taken from the start of names; empty for nothing."""
    others = "other names" if any(name in TOTALS for name in names) else "names"
    return f"{others} begin with \u201c{start.strip()}\u201d" if start else ""


def row_units(names: Sequence[str]) -> list[float]:
    """The height of each row of wrapped names, in rows of one line."""
    return [1 + EXTRA_LINE * (lines_of(name) - 1) for name in names]


def row_places(names: Sequence[str]) -> tuple[Float, float]:
    """The middle of each row, (n,), and where the last ends; 0, 1, 2 where all take one line."""
    units = np.array(row_units(names), dtype=np.float64)
    ends = np.cumsum(units)
    return ends - units / 2 - 0.5, float(ends[-1]) if units.size else 0.0
