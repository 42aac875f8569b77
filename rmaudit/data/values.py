"""Single cells: numbers, flags, ranks and names, as tables and people write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rmaudit.data.faults import Fault, wrong_type

YES = frozenset(("true", "yes", "y", "1", "good", "positive", "pos", "correct", "chosen", "pass",
                 "passed", "thumbs_up", "up", "like", "liked", "accepted", "accept", "safe",
                 "helpful", "desirable", "preferred", "+", "+1", "👍"))  # fmt: skip
NO = frozenset(("false", "no", "n", "0", "bad", "negative", "neg", "incorrect", "wrong", "rejected",
                "fail", "failed", "thumbs_down", "down", "dislike", "disliked", "reject", "unsafe",
                "unhelpful", "undesirable", "-", "-1", "👎"))  # fmt: skip
"""What a label of one response may be called; anything else is refused by name."""


def is_null(value: Any) -> bool:
    """Null, or the NaN that stands for it in tables."""
    return value is None or (isinstance(value, float) and value != value)


def number(value: Any, column: str) -> float:
    """A number, also as a decimal or as text; null is NaN, which rewards may be."""
    if is_null(value):
        return math.nan
    if isinstance(value, list) and len(value) == 1:  # as result files of heads and servers have it
        return number(value[0], column)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError as error:
            comma = "; write a point for a decimal comma" if "," in value else ""
            detail = f"text instead of a number: {value[:40]!r}{comma}"
            raise Fault(column, "wrong type", detail) from error
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong_type(column, "a number", value)
    try:
        return float(value)
    except OverflowError as error:
        raise Fault(column, "number out of range") from error


def ranking(values: Sequence[Any]) -> list[int]:
    """Whole ranks, 1 for the best; equal ranks are ties, average ranks become the first of them.

    Raises
    ------
    Fault
        If a rank is no number, or one with a fraction is not the average of the places it shares.
    """
    if all(type(value) is int for value in values):
        return [_rank(value) for value in values]
    ranks = [_number_of_rank(value) for value in values]
    if all(value == int(value) for value in ranks):
        return [_rank(int(value)) for value in ranks]
    for value in ranks:
        below, equal = sum(r < value for r in ranks), ranks.count(value)
        if value != below + (equal + 1) / 2:
            raise Fault("ranking", "not a rank", "ranks are whole numbers, or averages of ties")
    return [1 + sum(other < value for other in ranks) for value in ranks]


def _number_of_rank(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise wrong_type("ranking", "numbers", value)
    rank = number(value, "ranking")
    if rank != rank:
        raise wrong_type("ranking", "numbers", None)
    if not math.isfinite(rank):
        raise Fault("ranking", "not a rank", "ranks are whole numbers, 1 for the best")
    return rank


def _rank(value: int) -> int:
    if abs(value) > 2**31:
        raise Fault("ranking", "not a rank", "ranks are whole numbers, 1 for the best")
    return value


def boolean(value: Any, column: str) -> bool:
    """True or false; also 1 and 0 or -1, and the words for it."""
    if isinstance(value, bool | int | float | Decimal) and not is_null(value):
        if value in (0, 1, -1):
            return bool(value == 1)
        raise Fault(column, "not a label", f"{value!r} says neither yes nor no")
    if isinstance(value, str):
        word = value.strip().lower()
        word = {"1.0": "1", "0.0": "0"}.get(word, word)
        if word in YES or word in NO:
            return word in YES
        raise Fault(column, "not a label", f"{value[:40]!r} says neither yes nor no")
    raise wrong_type(column, "true or false", value)


def label(value: Any, column: str) -> str:
    """A name: text, or a number as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise wrong_type(column, "text", value)
    try:
        return str(int(value)) if value == int(value) else str(value)
    except (ValueError, OverflowError) as error:
        raise Fault(column, "wrong type", "a number that is no name") from error
