"""Rubrics: criteria with points, and a verdict of each criterion on each response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from rmaudit.data.faults import Fault
from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Row, needed
from rmaudit.data.types import DataType
from rmaudit.data.values import boolean, is_null, number

_LONGEST = 80  # characters of a criterion's name


def criterion_name(criterion: Mapping[str, Any]) -> str:
    """What a criterion is called: its name, else the start of its text."""
    given = criterion.get("name") or criterion.get("title") or criterion.get("criterion") or ""
    text = " ".join(str(given).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"


def repeated(verdict: Any, column: str) -> list[float]:
    """The verdicts of one criterion on one response, from 0 to 1; NaN where there is none."""
    values = verdict if isinstance(verdict, list) else [verdict]
    return [_one(value, column) for value in values]


def _one(value: Any, column: str) -> float:
    if is_null(value):
        return float("nan")
    if isinstance(value, float) and 0 <= value <= 1:
        return value
    return float(boolean(value, column))


@dataclass(frozen=True)
class Rubric:
    """Samples of a prompt with the verdicts of its criteria; rewards are made of their points.

    The reward of a response is its points over the points that it could get: the sum of points of
    criteria that are met, over the sum of positive points (as HealthBench has it, before clipping).
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
        parts: list[dict[str, float]] = [{} for _ in outputs]
        totals, most = [0.0] * len(outputs), 0.0
        for criterion in needed(record, self.column):
            name, points, verdicts = self._read(criterion, len(outputs))
            if any(name in part for part in parts):
                raise Fault(self.column, "two criteria of one name", repr(name))
            most += max(points, 0.0)
            for place, verdict in enumerate(verdicts):
                parts[place][name] = verdict
                totals[place] += points * verdict if verdict == verdict else 0.0
        given = record.get("rewards")
        made = [{"total": t / most if most else t, **p} for t, p in zip(totals, parts, strict=True)]
        if isinstance(given, list) and len(given) == len(outputs):
            made = [
                {**each, "total": number(total, "rewards")}
                for each, total in zip(made, given, strict=True)
            ]
        row = {name: record[name] for name in ("prompt", "id", "group") if name in record}
        return [{**row, "outputs": outputs, "rewards": made, self.column: record[self.column]}]

    def _read(self, criterion: Any, size: int) -> tuple[str, float, list[float]]:
        if not isinstance(criterion, Mapping) or not criterion_name(criterion):
            raise Fault(self.column, "not a criterion", "each needs criterion, points, verdicts")
        name = criterion_name(criterion)
        points = number(criterion.get("points", 1), self.column)
        verdicts = criterion.get("verdicts")
        if not isinstance(verdicts, list) or len(verdicts) != size:
            many = len(verdicts) if isinstance(verdicts, list) else 0
            raise Fault(
                self.column, "wrong length", f"{name!r} has {many} verdicts for {size} responses"
            )
        means = []
        for verdict in verdicts:
            known = [v for v in repeated(verdict, self.column) if v == v]
            means.append(sum(known) / len(known) if known else float("nan"))
        return name, points, means


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
