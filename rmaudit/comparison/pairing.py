"""Two reports side by side: their numbers, and influences on the prompts that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.comparison.paired import Change, Influence, change
from rmaudit.errors import UsageError
from rmaudit.report.document import Report
from rmaudit.report.influence import FIXED_ITEM, slice_key
from rmaudit.report.schema import MetricRecord

Key = tuple[str, str]  # metric id, slice as `slice_key`
Numbers = Mapping[Key, MetricRecord]
Influences = Mapping[Key, Influence]


@dataclass(frozen=True)
class Pairing:
    """Two reports, before and after."""

    first: Numbers
    second: Numbers
    count: int  # prompts that both have
    sizes: tuple[int, int]  # prompts of each
    influences: tuple[Influences, Influences] | None  # None where a report did not keep them

    @classmethod
    def of(cls, first: Report, second: Report) -> Pairing:
        """Bring two reports together.

        Raises
        ------
        UsageError
            If they share no prompt.
        """
        numbers = _numbers(first), _numbers(second)
        kept = (first.influence, second.influence)
        frames = [frame for frame in kept if frame is not None and not frame.empty]
        if len(frames) < len(kept):
            return cls(*numbers, *_counted(first, second), None)
        prompts = [pd.Index(frame["prompt"].cat.categories) for frame in frames]
        own = [own_prompts(frame) for frame in frames]
        common = own[0].intersection(own[1])
        if common.empty:
            raise UsageError(
                "the two audits share no prompt: nothing can be paired; audit both models on the "
                "same evaluation data"
            )
        both = prompts[0].intersection(prompts[1])
        influences = influences_on(frames[0], both), influences_on(frames[1], both)
        return cls(*numbers, len(common), (len(own[0]), len(own[1])), influences)

    @property
    def keys(self) -> list[Key]:
        """Every number of either report, in page order."""
        return list(dict.fromkeys([*self.first, *self.second]))

    def change(self, key: Key, confidence: float) -> Change | str:
        """The change of one number, or why there is none to be had."""
        a, b = self.first.get(key), self.second.get(key)
        if a is None or b is None:
            return f"only in the {'second' if a is None else 'first'} report"
        if self.influences is None:
            return change(a, b, None, None, confidence)
        before, after = self.influences
        return change(a, b, before.get(key), after.get(key), confidence)


def _counted(first: Report, second: Report) -> tuple[int, tuple[int, int]]:
    """Prompts without influences to name them: those of the numbers, shared if the data are one."""
    most = [max((m.n_prompts for m in each.metrics()), default=0) for each in (first, second)]
    inputs = [each.record.inputs.get("eval") for each in (first, second)]
    digests = {None if source is None else source.sha256 for source in inputs}
    same = len(digests) == 1 and None not in digests
    return (min(most) if same else 0), (most[0], most[1])


def key_of(metric: MetricRecord) -> Key:
    """What names a number in a report."""
    return metric.id, slice_key(metric.slice)


def _numbers(report: Report) -> dict[Key, MetricRecord]:
    return {key_of(metric): metric for metric in report.metrics()}


def own_prompts(frame: pd.DataFrame) -> pd.Index[str]:
    """The prompts that a report's influences are of, without fixed items.

    Fixed items of probes are the same in every audit; prompts are what audits may not share.
    """
    index: pd.Index[str] = pd.Index(frame["prompt"].cat.categories)
    kept: pd.Index[str] = index[~index.str.startswith(FIXED_ITEM)]
    return kept


def influences_on(frame: pd.DataFrame, both: pd.Index[str]) -> dict[Key, Influence]:
    """Influences by number, on some prompts in their order."""
    place = both.get_indexer(pd.Index(frame["prompt"].cat.categories))
    code = place[frame["prompt"].cat.codes.to_numpy()]  # -1: not shared
    value = frame["value"].to_numpy()
    groups = frame.groupby(["metric", "slice"], observed=True, sort=False).indices
    found: dict[Key, Influence] = {}
    for name, rows in groups.items():
        kept = rows[code[rows] >= 0]
        dense: NDArray[np.float64] = np.zeros(len(both))
        dense[code[kept]] = value[kept]
        found[cast("Key", name)] = Influence(dense, len(rows))
    return found
