"""What a probe changed, marked word by word."""

from __future__ import annotations

import difflib
import re

ADDED = ("[+", "+]")
REMOVED = ("[-", "-]")
MOST_WORDS = 1500  # beyond which the comparison, quadratic at worst, is not made


def marked(before: str, after: str) -> str:
    """The text after, with words put in as ``[+word+]`` and words left out as ``[-word-]``.

    White space that alone has changed is not marked. A text of over 1,500 words, or one of which
    almost nothing is left, comes back as it is.
    """
    old, new = re.findall(r"\s+|\S+", before), re.findall(r"\s+|\S+", after)
    if max(len(old), len(new)) > 2 * MOST_WORDS:
        return after
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    if matcher.quick_ratio() < 0.2:
        return after
    parts = []
    for what, a, b, c, d in matcher.get_opcodes():
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if what == "equal" or not (gone + come).strip():
            parts.append(come)
        else:
            parts.append(_wrapped(gone, REMOVED) + _wrapped(come, ADDED))
    return "".join(parts)


def _wrapped(words: str, marks: tuple[str, str]) -> str:
    """Words between marks, with the white space around them left outside."""
    inner = words.strip()
    if not inner:
        return words if marks is ADDED else ""
    head, _, tail = words.partition(inner)
    return f"{head}{marks[0]}{inner}{marks[1]}{tail}"
