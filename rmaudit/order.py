"""The order in which people read names."""

from __future__ import annotations

import re

_DIGITS = re.compile(r"([0-9]+)")


def natural(name: object) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key of a name by which S2 comes before S10; texts without digits as they stand."""
    # Numbers are compared by length and digits: int() refuses those of more than 4,300 digits.
    text = str(name)
    parts = (part for part in _DIGITS.split(text) if part)
    key = [_number(part.lstrip("0")) if _DIGITS.match(part) else (1, 0, part) for part in parts]
    return key, text  # 01 and 1 are one number and two names


def _number(digits: str) -> tuple[int, int, str]:
    return 0, len(digits), digits
