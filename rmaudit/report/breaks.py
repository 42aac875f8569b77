"""Where a line may end: a long id behind its dots, underscores and slashes; no option within."""

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
# A browser would break behind the hyphens; a longer one than any column must break somewhere.
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]{1,22}(?![\w-])")
_WHOLE = r'<span class="option">\g<0></span>'


def breakable(html: str) -> str:
    """A page whose long ids, paths and addresses have places to break (``<wbr>``).

    Without them a browser that runs out of room breaks within a name. Options of a command stay
    whole (``--feedback``, in a span of the class ``option``). Nothing else changes: what is copied
    from the page, searched or read aloud has no trace of either.

    Parameters
    ----------
    html
        From a template, so that ``<`` and ``>`` stand for tags only.
    """
    return _PART.sub(_part, html)


def _part(found: re.Match[str]) -> str:
    part = found.group()
    return part if part.startswith("<") else _OPTION.sub(_WHOLE, _WORD.sub(_word, part))


def _word(found: re.Match[str]) -> str:
    return _PLACE.sub(_BREAK, found.group())
