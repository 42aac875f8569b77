"""Criteria as objects: points, and the verdicts on every response, out of the column ``rubric``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.data.faults import Fault
from rmaudit.data.fields import field_values
from rmaudit.data.layouts.rubrics import Criterion, read_criteria
from rmaudit.data.types import Dataset
from rmaudit.typing import Float

COLUMN = "rubric"


@dataclass(frozen=True)
class Verdicts:
    """One criterion on the responses of one prompt."""

    name: str
    text: str
    points: float
    row: int  # of the data
    values: Float  # (responses, repeats); NaN where there is none

    @property
    def means(self) -> Float:
        """Over repeats, (responses,); NaN where there is none."""
        there = np.isfinite(self.values)
        count = there.sum(axis=1)
        total = np.where(there, self.values, 0.0).sum(axis=1)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)


@memoize
def read_rubric(data: Dataset) -> tuple[Verdicts, ...]:
    """All criteria of all rows; empty where the data has no verdicts.

    The layout ``rubric`` has checked them: a row that it could not read is set aside. A column of
    that name in data of another layout holds none.
    """
    if COLUMN not in data.frame or not data.columns("outputs"):
        return ()
    found = []
    sizes = data.frame["outputs"].map(len).tolist()
    for row, (rubric, size) in enumerate(zip(field_values(data, COLUMN), sizes, strict=True)):
        for criterion in _criteria(rubric, size):
            values = np.full(
                (len(criterion.verdicts), max(map(len, criterion.verdicts), default=0)), np.nan
            )
            for place, verdicts in enumerate(criterion.verdicts):
                values[place, : len(verdicts)] = verdicts
            found.append(Verdicts(criterion.name, criterion.text, criterion.points, row, values))
    return tuple(found)


def _criteria(rubric: Any, size: int) -> list[Criterion]:
    """Those of a cell; none where it holds something else."""
    try:
        return read_criteria(rubric, size, COLUMN)
    except Fault:
        return []
