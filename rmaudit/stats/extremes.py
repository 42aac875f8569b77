"""The least of several estimates: what is picked is not judged as if it had been named before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Float, Integers


def lowest_mean(
    parts: Sequence[tuple[Float, Integers]], confidence: float, what: str = "subsets"
) -> Estimate:
    """The lowest mean of several parts (values from 0 to 1, clusters), and an interval for it.

    The true minimum is at least the lowest of the lower ends, each at the nominal level, for only
    its own part matters there; and at most the lowest of the upper ends, which must therefore all
    hold together (Bonferroni). A bootstrap of the minimum is centred too low instead, and covers
    far less than it says where parts are alike.
    """
    alpha = 1 - confidence

    def at(level: float) -> list[Estimate]:
        return [
            cluster_mean(values, clusters, confidence=level, bounds=(0, 1))
            for values, clusters in parts
        ]

    single, joint = at(confidence), at(1 - alpha / len(parts))
    lowest = min(single, key=lambda estimate: estimate.value)
    return replace(
        lowest,
        low=min(estimate.low for estimate in single),
        high=min(estimate.high for estimate in joint),
        method=f"cluster-robust, simultaneous over {what}",
        n=sum(estimate.n for estimate in single),
        n_clusters=int(np.unique(np.concatenate([clusters for _, clusters in parts])).size),
    )
