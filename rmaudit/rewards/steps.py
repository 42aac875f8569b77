"""One reward from the scores of a response's steps. Standard library alone: workers import it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Aggregate = Literal["min", "mean", "last", "prod"]
AGGREGATES: tuple[Aggregate, ...] = ("min", "prod", "mean", "last")
READINGS = "steps."  # what the names of these components begin with: no parts of a sum


def aggregate_steps(scores: Sequence[float], how: Aggregate) -> float:
    """One reward from the scores of an output's steps; NaN if it has none.

    Parameters
    ----------
    scores
        (n_steps,): each step's probability of being right, from 0 to 1.
    how
        "min": the weakest step; "prod": the chance that all are right, were they independent;
        "mean"; "last": the last step, which has seen all others.

    References
    ----------
    Lightman et al. 2023, arXiv 2305.20050, Section 2.6 (prod, min); Wang et al. 2024,
    arXiv 2312.08935, Section 3.4 (min); Snell et al. 2024, arXiv 2408.03314, Section 5.1 (last).
    """
    values = [float(score) for score in scores]
    if not values:
        return math.nan
    if any(math.isnan(value) for value in values):
        return values[-1] if how == "last" else math.nan
    if how == "last":
        return values[-1]
    if how == "mean":
        return math.fsum(values) / len(values)
    return min(values) if how == "min" else math.prod(values)


def readings(scores: Sequence[float]) -> dict[str, float]:
    """Every aggregate of the scores of an output's steps, as components: "steps.min", ..."""
    return {f"{READINGS}{how}": aggregate_steps(scores, how) for how in AGGREGATES}
