"""Criteria as objects: points, and the verdicts on every response, out of the column ``rubric``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.data.fields import field_values
from rmaudit.data.layouts.rubrics import criterion_name, repeated
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

    The layout ``rubric`` has checked them: a row that it could not read is set aside.
    """
    if COLUMN not in data.frame or not data.columns("outputs"):
        return ()
    found = []
    for row, rubric in enumerate(field_values(data, COLUMN)):
        for criterion in rubric if isinstance(rubric, Sequence) else ():
            if not isinstance(criterion, dict) or not isinstance(criterion.get("verdicts"), list):
                continue
            each = [repeated(verdict, COLUMN) for verdict in criterion["verdicts"]]
            values = np.full((len(each), max(map(len, each), default=0)), np.nan)
            for place, verdicts in enumerate(each):
                values[place, : len(verdicts)] = verdicts
            found.append(
                Verdicts(
                    criterion_name(criterion),
                    str(criterion.get("criterion") or criterion_name(criterion)),
                    float(criterion.get("points", 1)),
                    row,
                    values,
                )
            )
    return tuple(found)
