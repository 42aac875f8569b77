"""Rubrics: criteria with points, and a verdict of each criterion on each response."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rmaudit.data.faults import Fault
from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Row, needed
from rmaudit.data.types import DataType
from rmaudit.data.values import boolean, is_null, number

_LONGEST = 80  # characters of a criterion's name
_TAIL = 30  # of them from the end of a longer text
_RESERVED = ("total",)  # what the whole reward is called beside its components
_MET = frozenset(("met", "satisfied", "fulfilled", "present"))
_UNMET = frozenset(
    ("unmet", "not met", "not_met", "unsatisfied", "not satisfied", "unfulfilled", "absent")
)
_VERDICT_KEYS = ("criteria_met", "met", "verdict")  # of a grader's answer with its explanation


@dataclass(frozen=True)
class Criterion:
    """One criterion of one row.

    Attributes
    ----------
    name
        Unique in its row, and no longer than 80 characters.
    text
        What is asked for.
    points
        What it is worth; may be negative.
    verdicts
        By response: its verdicts from 0 to 1, NaN where there is none.
    """

    name: str
    text: str
    points: float
    verdicts: list[list[float]]

    @property
    def means(self) -> list[float]:
        """By response, over its verdicts; NaN where there is none."""
        known = [[v for v in each if v == v] for each in self.verdicts]
        return [sum(each) / len(each) if each else math.nan for each in known]


def read_criteria(rubric: Any, size: int, column: str) -> list[Criterion]:
    """The criteria of one row.

    Parameters
    ----------
    rubric
        The row's cell: a list of objects.
    size
        Number of responses.
    column
        Its name, for what is said of a fault.

    Raises
    ------
    Fault
        If it holds none, or one has no text, no finite points, or not a verdict per response.
    """
    if not isinstance(rubric, list) or not rubric:
        raise Fault(column, "no criteria", "a list of objects: criterion, points, verdicts")
    found: list[Criterion] = []
    taken = set(_RESERVED)
    for each in rubric:
        if not isinstance(each, Mapping) or not _label(each):
            raise Fault(column, "not a criterion", "each needs criterion, points, verdicts")
        name = _unlike(_short(_label(each)), taken)
        taken.add(name)
        text = each.get("criterion")
        points = number(each.get("points", 1), column)
        if not math.isfinite(points):
            raise Fault(column, "points are no finite number", f"of {name!r}")
        verdicts = each.get("verdicts")
        if not isinstance(verdicts, list) or len(verdicts) != size:
            many = len(verdicts) if isinstance(verdicts, list) else 0
            raise Fault(
                column, "wrong length", f"{name!r} has {many} verdicts for {size} responses"
            )
        found.append(
            Criterion(
                name,
                text if isinstance(text, str) and text else name,
                points,
                [_repeated(verdict, column) for verdict in verdicts],
            )
        )
    return found


def _label(criterion: Mapping[str, Any]) -> str:
    """Its name, else its text; empty where it has neither."""
    given = next((v for k in ("name", "title", "criterion") if (v := criterion.get(k))), "")
    return " ".join(str(given).split())


def _short(text: str) -> str:
    """Both ends of a long text: criteria that begin alike seldom end alike."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - _TAIL - 1].rstrip()}…{text[-_TAIL:].lstrip()}"


def _unlike(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken: "Is polite (2)"."""
    if name not in taken:
        return name
    return next(new for k in itertools.count(2) if (new := f"{name} ({k})") not in taken)


def _repeated(verdict: Any, column: str) -> list[float]:
    """The verdicts of one criterion on one response, from 0 to 1; NaN where there is none."""
    values = verdict if isinstance(verdict, list) else [verdict]
    return [_one(value, column) for value in values]


def _one(value: Any, column: str) -> float:
    if isinstance(value, Mapping):
        value = next((value[key] for key in _VERDICT_KEYS if key in value), value)
    if is_null(value):
        return math.nan
    if isinstance(value, float) and 0 <= value <= 1:
        return value
    word = " ".join(value.lower().split()) if isinstance(value, str) else None
    if word in _MET or word in _UNMET:
        return float(word in _MET)
    return float(boolean(value, column))


@dataclass(frozen=True)
class Rubric:
    """Samples of a prompt with the verdicts of its criteria; rewards are made of their points.

    The reward of a response is its points over the points that it could get: the sum of points of
    criteria that are met, over the sum of positive points (as HealthBench has it, before clipping).
    A criterion without a verdict gives no points; a response without any verdict has no reward.
    Rewards that the row carries itself stay as they are.
    """

    column: str = "rubric"
    kind: ClassVar[DataType] = "samples"

    @property
    def reads(self) -> set[str]:
        """Prompt, responses, and the rubric."""
        return {"prompt", "outputs", "rewards", self.column}

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """The row with a reward and its parts for each response."""
        outputs = needed(record, "outputs")
        if not isinstance(outputs, list):
            raise Fault("outputs", "not a list of responses")
        criteria = read_criteria(needed(record, self.column), len(outputs), self.column)
        most = sum(max(each.points, 0.0) for each in criteria)
        parts = [
            {c.name: mean for c, mean in zip(criteria, means, strict=True)}
            for means in zip(*(c.means for c in criteria), strict=True)
        ]
        totals = [
            sum(c.points * part[c.name] for c in criteria if part[c.name] == part[c.name])
            if any(mean == mean for mean in part.values())
            else math.nan
            for part in parts
        ]
        given = record.get("rewards")
        made = [{"total": t / most if most else t, **p} for t, p in zip(totals, parts, strict=True)]
        if isinstance(given, list) and len(given) == len(outputs):
            made = [
                {**each, "total": number(total, "rewards")}
                for each, total in zip(made, given, strict=True)
            ]
        row = {name: record[name] for name in ("prompt", "id", "group") if name in record}
        return [{**row, "outputs": outputs, "rewards": made, self.column: record[self.column]}]


def _has_verdicts(row: Mapping[str, Any]) -> bool:
    rubric = row.get("rubric")
    return isinstance(rubric, list) and any(
        isinstance(each, Mapping) and "verdicts" in each for each in rubric
    )


register_layout(
    Layout(
        "rubric",
        "rmaudit's rubric.jsonl: criteria with points, and a verdict a response (or several)",
        ("prompt", "outputs", "rubric"),
        Rubric(),
        "rmaudit docs/audits/rubric.md; points as in HealthBench (arXiv 2505.08775)",
        "file",
        {
            "prompt": "What is 2 plus 2?",
            "outputs": ["2 and 2 make 4."],
            "rubric": [
                {"criterion": "Says 4", "points": 5, "verdicts": [True]},
                {"criterion": "Is short", "points": 1, "verdicts": [[True, True]]},
            ],
        },
        when=_has_verdicts,
    )
)
