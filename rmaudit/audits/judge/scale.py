"""How much of its scale a judge uses: levels, heaps, the ceiling, and the ties that they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.rewards.served.replies import Scale
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Float, Integers, Mask

HEAPED = 0.75  # of the texts on two scores, of a scale with `LEVELS` or more
AT_TOP = 0.50  # of the texts with the highest score
LEVELS = 5
TIED = 0.01  # of a level: expected scores this close are one


@dataclass(frozen=True)
class ScaleUse:
    """Shares of texts (of pairs for `ties`) by the score that they get."""

    used: Estimate  # of the levels: the number of equally likely scores with the same entropy
    heaped: Estimate  # texts with one of the two most frequent scores
    ceiling: Estimate  # texts with the highest score
    ties: Estimate  # pairs whose two responses get one score
    heaps: tuple[int, ...] = ()  # the most frequent scores, most frequent first
    levels: int = 0
    counts: Mapping[int, int] = field(default_factory=dict)  # texts by score, all levels

    def table(self) -> pd.DataFrame:
        """One row a score of the scale."""
        total = max(sum(self.counts.values()), 1)
        return pd.DataFrame(
            [{"score": s, "texts": n, "share": n / total} for s, n in self.counts.items()],
            columns=["score", "texts", "share"],
        )

    def constant_groups(self, size: int) -> float:
        """Groups of so many texts, drawn alike, in which all get one score: no signal."""
        total = max(sum(self.counts.values()), 1)
        return float(sum((n / total) ** size for n in self.counts.values()))


def scale_of(case: Case) -> Scale | None:
    """The scale that a judge was given, or its function declares; None without one."""
    return Scale.parse(case.model.judged_on) if case.model.judged_on else None


def scale_use(case: Case, once: Mapping[str, Float], scale: Scale | None) -> ScaleUse:
    """Scores of the data's own texts; an expected score counts as the level next to it."""
    if scale is None:
        none = Estimate.undefined("the judge has no scale of scores", confidence=case.confidence)
        return ScaleUse(none, none, none, none)
    values = np.concatenate(list(once.values()))
    codes: Integers = np.concatenate([case.clusters] * len(once))
    there = np.isfinite(values)
    values, codes = np.rint(values[there]), codes[there]
    levels = range(scale.lowest, scale.highest + 1)
    counts = {level: int(np.sum(values == level)) for level in levels}
    heaps = tuple(sorted(counts, key=lambda level: -counts[level])[:2])

    def share(which: Mask) -> Estimate:
        return cluster_mean(
            which.astype(np.float64), codes, confidence=case.confidence, bounds=(0, 1)
        )

    chosen, rejected = once.values()
    pairs = np.isfinite(chosen - rejected)
    ties = cluster_mean(
        (np.abs(chosen - rejected)[pairs] < TIED).astype(np.float64),
        case.clusters[pairs],
        confidence=case.confidence,
        bounds=(0, 1),
    )
    return ScaleUse(
        _levels_used(values, codes, counts, case.confidence),
        share(np.isin(values, heaps)),
        share(values == scale.highest),
        ties,
        heaps,
        len(levels),
        counts,
    )


def _levels_used(
    values: Float, codes: Integers, counts: Mapping[int, int], confidence: float
) -> Estimate:
    """``exp(entropy) / levels`` of the scores, by the delta method on the entropy."""
    total = sum(counts.values())
    if total < 2:
        return Estimate.undefined("no rows", confidence=confidence)
    surprise = {level: -math.log(n / total) for level, n in counts.items() if n}
    # The entropy's influence is the surprise of each score: its mean is the entropy itself.
    kept = np.isin(values, list(surprise))
    each = np.array([surprise[int(v)] for v in values[kept]])
    entropy = cluster_mean(each, codes[kept], confidence=confidence)
    if not entropy.defined:
        return entropy
    share, low, high = (
        min(1.0, math.exp(e) / len(counts)) for e in (entropy.value, entropy.low, entropy.high)
    )
    return Estimate(
        share,
        max(low, 1 / len(counts)) if share >= 1 / len(counts) else low,
        high,
        confidence,
        "cluster-robust",
        entropy.n,
        entropy.n_clusters,
    )
