"""Where a long id may go on in the next line: behind its dots, underscores and slashes alone."""

from __future__ import annotations

import re

_LONG = 16  # characters that fit any column, so that shorter words need no place to break
# A tag, with all that is in it where it is no running text; or the text up to the next tag.
_PART = re.compile(
    r"<(script|style|svg|title|option|textarea)\b.*?</\1>|<[^>]*>|[^<]+", re.DOTALL | re.IGNORECASE
)
_WORD = re.compile(rf"[^\s<>]{{{_LONG},}}")
_PLACE = re.compile(r"(?<=[a-zA-Z0-9\])])([._/:=,]+)(?=[a-zA-Z\[(_])|(?<=\w)([_/]+)(?=\w)")
_BREAK = r"\g<0><wbr>"


def breakable(html: str) -> str:
    """A page whose long ids, paths and addresses have places to break (``<wbr>``).

    Without them a browser that runs out of room breaks within a name. Nothing else changes: what
    is copied from the page, searched or read aloud has no trace of them.

    Parameters
    ----------
    html
        From a template, so that ``<`` and ``>`` stand for tags only.
    """
    return _PART.sub(_part, html)


def _part(found: re.Match[str]) -> str:
    part = found.group()
    return part if part.startswith("<") else _WORD.sub(_word, part)


def _word(found: re.Match[str]) -> str:
    return _PLACE.sub(_BREAK, found.group())
