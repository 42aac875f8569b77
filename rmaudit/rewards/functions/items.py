"""What a reward function is given, and what it gave. Standard library alone: workers import it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from rmaudit.rewards.steps import readings


class MissingColumnError(KeyError):
    """A function asked for a column that the data lacks, or that it did not say it reads."""

    def __str__(self) -> str:
        return f"there is no column {self.args[0]!r}, which it reads; add it to the data"


class ItemRow(dict[str, Any]):
    """The columns of a data row; one that is not there is named."""

    def __missing__(self, name: str) -> Any:
        raise MissingColumnError(name)


@dataclass(frozen=True, slots=True)
class Item:
    """One response to a prompt (text or messages), with its row.

    `other` is the response that it is compared with, in pairs.
    """

    prompt: Any
    response: str
    row: ItemRow = field(default_factory=ItemRow)
    other: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """One reward per item, None where the reward does not apply; parts by name, NaN for none."""

    total: list[float | None]
    components: dict[str, list[float]] = field(default_factory=dict)


class AnswerError(ValueError):
    """What a function returned is no list of rewards."""


def read_answers(
    returned: Any, count: int, *, may_not_apply: bool = True, total: str = "total"
) -> Answers:
    """The rewards in what a function returned for `count` items.

    Parameters
    ----------
    returned
        Numbers, None (if `may_not_apply`), or mappings of named parts.
    total
        The name of the whole reward among the parts.

    Raises
    ------
    AnswerError
        If it is anything else, or more or fewer.
    """
    if hasattr(returned, "tolist"):  # arrays and tensors
        returned = returned.tolist()
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | Mapping):
        raise AnswerError(f"returned {shown(returned)}; it must return a list of {count} numbers")
    # An endless generator is told from a long list by one more.
    values = list(itertools.islice(returned, count + 1))
    if len(values) != count:
        many = f"more than {count}" if len(values) > count else str(len(values))
        if isinstance(returned, Sequence):
            many = str(len(returned))
        raise AnswerError(
            f"returned {many} rewards for {count} texts; it must return one number per text, in "
            "their order"
        )
    numbers: list[float | None] = []
    components: dict[str, list[float]] = {}
    for place, value in enumerate(values):
        if isinstance(value, Mapping) and may_not_apply:
            parts = {
                str(name): n for name, part in value.items() if (n := number(part)) is not None
            }
            parts |= _of_steps(value)
            if total not in parts:
                raise AnswerError(f"returned {shown(value)}, which has no number {total!r}")
            numbers.append(parts.pop(total))
            for name, part in parts.items():
                components.setdefault(name, [math.nan] * count)[place] = part
        elif value is None and may_not_apply:
            numbers.append(None)
        else:
            read = number(value)
            if read is None:
                raise AnswerError(
                    f"returned {shown(value)} as reward {place + 1} of {count}; it must be a number"
                )
            numbers.append(read)
    return Answers(numbers, components)


def _of_steps(value: Mapping[Any, Any]) -> dict[str, float]:
    """Every aggregate of the part ``steps``, where a process reward gives its steps' scores."""
    steps: Any = value.get("steps")
    if hasattr(steps, "tolist"):
        steps = steps.tolist()
    if not isinstance(steps, list | tuple):
        return {}
    scores = [number(score) for score in steps]
    known = [score for score in scores if score is not None]
    if len(known) < len(scores):
        if not known:  # the steps' texts, say
            return {}
        raise AnswerError(f"returned the steps {shown(steps)}, which are not all numbers")
    return readings(known)


def number(value: Any) -> float | None:
    """A number of Python's, numpy's or torch's as a float; None for anything else."""
    if hasattr(value, "item") and not isinstance(value, Real):
        try:
            value = value.item()
        except (TypeError, ValueError, RuntimeError):  # arrays of several
            return None
    return float(value) if isinstance(value, Real) else None


def shown(value: object) -> str:
    """A value and its type, short enough for a message."""
    return f"{value!r:.60} ({type(value).__name__})"
