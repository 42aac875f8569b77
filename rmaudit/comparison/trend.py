"""How a number changes over the checkpoints of one training."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from rmaudit.comparison.paired import Influence, moved
from rmaudit.errors import UsageError
from rmaudit.report.schema import MetricRecord

_LAST_NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$")


@dataclass(frozen=True, slots=True)
class Trend:
    """How a number changes over the steps of one training, by least squares on paired runs.

    `change` is the fitted change from the first step to the last, with its interval and p-value.
    """

    steps: tuple[float, ...]
    change: float
    low: float
    high: float
    p: float

    @property
    def words(self) -> str:
        """The trend in a sentence."""
        span = f"from step {self.steps[0]:g} to {self.steps[-1]:g}"
        size = f"{self.change:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        if self.low > 0 or self.high < 0:
            return f"It {'rises' if self.change > 0 else 'falls'} {span}: fitted change {size}."
        return f"No trend beyond chance {span}: fitted change {size}."


def trend(
    records: Sequence[MetricRecord],
    own: Sequence[Influence | None],
    steps: Sequence[float] | None,
    confidence: float,
) -> Trend | None:
    """Least squares on the steps; its error is that of the prompts, which all runs share."""
    if steps is None or len(records) < 3 or any(r.value is None for r in records):
        return None
    known = [influence for influence in own if influence is not None]
    if len(known) < len(own):
        return None
    at = np.asarray(steps, dtype=np.float64)
    centred = at - at.mean()
    weights = centred / float(centred @ centred) * float(at.max() - at.min())
    parts = [
        moved(float(r.value or 0.0), i, r.n_prompts) for r, i in zip(records, known, strict=True)
    ]
    value = float(weights @ np.array([part.value for part in parts]))
    combined = np.sum([w * p.influence for w, p in zip(weights, parts, strict=True)], axis=0)
    error = math.sqrt(float(np.sum(combined**2)))
    df = min(part.n_prompts for part in parts) - 1
    reach = float(stdtrit(df, (1 + confidence) / 2)) * error
    p = 2 * float(stdtr(df, -abs(value) / error)) if error > 0 else float(value == 0)
    return Trend(tuple(sorted(float(s) for s in steps)), value, value - reach, value + reach, p)


def steps_of(names: Sequence[str], given: Sequence[float] | None) -> list[float] | None:
    """Steps as given, or the last number in names that differ in nothing else."""
    if given is not None:
        if len(given) != len(names) or len(set(given)) < 2:
            raise UsageError(f"--steps needs {len(names)} numbers, one per run, not all equal")
        return [float(step) for step in given]
    parts = [_LAST_NUMBER.match(name) for name in names]
    found = [(m[1], m[3], float(m[2])) for m in parts if m is not None]
    same = len({(before, after) for before, after, _ in found}) == 1
    steps = [step for *_, step in found]
    if len(found) < len(names) or not same or len(set(steps)) < len(names) or len(names) < 3:
        return None
    return steps
