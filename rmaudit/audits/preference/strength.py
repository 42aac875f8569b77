"""Accuracy by how strongly annotators prefer the chosen response."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd

from rmaudit.audits.common.pairs import Margins, standardized
from rmaudit.case import Case
from rmaudit.results import Metric
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Mask

MOST_LEVELS = 6  # of which each is shown; finer scales are cut into thirds of the pairs


def strength_levels(case: Case, decided: Margins) -> dict[str, Mask]:
    """Masks over the decided pairs by strength of preference, the weakest first; may be empty."""
    strength = case.eval.strength
    if strength is None:
        return {}
    of_pair = strength[decided.row]
    known = np.isfinite(of_pair)
    values = np.unique(of_pair[known])
    if len(values) < 2:
        return {}
    if len(values) <= MOST_LEVELS:
        return {f"{value:g}": of_pair == value for value in values}
    cuts = np.unique(np.quantile(of_pair[known], (0, 1 / 3, 2 / 3, 1)))
    place = np.clip(np.searchsorted(cuts, of_pair, side="right") - 1, 0, len(cuts) - 2)
    masks = {}
    for i, (low, high) in enumerate(pairwise(cuts)):
        end = "to" if i == len(cuts) - 2 else "to below"
        masks[f"{low:g} {end} {high:g}"] = known & (place == i)
    return masks


def by_strength(
    case: Case, decided: Margins, levels: dict[str, Mask]
) -> tuple[list[Metric], pd.DataFrame]:
    """Accuracy at each strength, as metrics and as a table beside the mean margin in reward SD.

    Both should rise with the strength: where annotators agree most a reward errs least.
    """
    metrics, rows = [], []
    for name, mask in levels.items():
        accuracy = cluster_mean(
            decided.correct[mask], decided.cluster[mask], confidence=case.confidence, bounds=(0, 1)
        )
        margin = standardized(
            decided.margin * mask,
            mask.astype(np.float64),
            decided.cluster,
            decided.unit,
            confidence=case.confidence,
        )
        metrics.append(Metric("preference.accuracy", accuracy, {"strength": name}))
        rows.append(
            {
                "strength": name,
                "pairs": accuracy.n,
                "prompts": accuracy.n_clusters,
                "accuracy": accuracy.value,
                "low": accuracy.low,
                "high": accuracy.high,
                "mean_margin": margin.value,
                "margin_low": margin.low,
                "margin_high": margin.high,
                "note": accuracy.undefined_reason or "",
            }
        )
    return metrics, pd.DataFrame(rows)
