"""The layouts that data are published in: declared, one entry each, and known by name.

An entry says which columns identify it, how they are read (a shape), where that was checked, and
shows an example row. Third parties add theirs through the entry-point group ``rmaudit.layouts``:
a module that calls `register_layout` when it is imported.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rmaudit.data.layouts.shapes import Shape
from rmaudit.data.paths import MISSING, get
from rmaudit.registry import Registry


@dataclass(frozen=True)
class Layout:
    """One published layout.

    Parameters
    ----------
    name
        Short, as ``rmaudit data formats`` lists it.
    title
        Whose data and which part of it.
    columns
        Paths that must all be there for the layout to be recognised; the entry with most wins.
    shape
        How rows are read.
    source
        What the entry was checked against: repository, path and commit, or a page.
    checked
        "file" where a real file was read, "documentation" where a description or code that reads
        the layout was, "unchecked" where neither was at hand.
    example
        A made-up row.
    without
        Columns whose presence rules the layout out.
    when
        A further test on some rows, where columns do not tell.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    shape: Shape
    source: str
    checked: Literal["file", "documentation", "unchecked"]
    example: Mapping[str, Any]
    without: tuple[str, ...] = ()
    when: Callable[[Mapping[str, Any]], bool] | None = None

    def fits(self, names: set[str], rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether a table of these columns, of which some rows are given, is in this layout."""
        if any(column in names for column in self.without):
            return False
        if not all(column in names or _reaches(rows, column) for column in self.columns):
            return False
        return self.when is None or any(map(self.when, rows))


def _reaches(rows: Sequence[Mapping[str, Any]], path: str) -> bool:
    for row in rows:
        value = get(row, path)
        if isinstance(value, list) and "[]" in path:
            value = next((item for item in value if item is not None), MISSING)
        if value is not MISSING:
            return True
    return False


layouts: Registry[Layout] = Registry("layout", "rmaudit.data.layouts", "rmaudit.layouts")


def register_layout(layout: Layout) -> None:
    """Make a layout known."""
    layouts.add(layout.name, layout, sys._getframe(1).f_globals["__name__"])


def recognised(names: set[str], rows: Sequence[Mapping[str, Any]]) -> Layout | None:
    """The layout of a table by its columns and some rows: of several, the most specific."""
    fitting = [each for each in layouts.values() if each.fits(names, rows)]
    return max(fitting, key=lambda each: len(each.columns), default=None)
