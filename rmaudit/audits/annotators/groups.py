"""Whom the reward follows least: agreement by annotator and by group of annotators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.annotators.votes import Votes
from rmaudit.audits.common.pairs import halves
from rmaudit.case import Case
from rmaudit.order import natural
from rmaudit.results import Estimate
from rmaudit.stats.extremes import lowest_mean
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.typing import Float, Integers

SMALLEST_GROUP = 30  # votes; with fewer an annotator is not judged


@dataclass(frozen=True)
class Group:
    """The votes of one annotator, or of one group of them."""

    attribute: str
    name: str
    votes: int  # that decide; comparisons, of ratings
    accuracy: Estimate  # of the reward's order for these votes
    gap: Estimate  # accuracy on the others' votes minus that, allowing for the number of groups

    @property
    def label(self) -> str:
        """The attribute and the name."""
        return f"{self.attribute} {self.name}"


def groups_of(case: Case, votes: Votes, margin: Float) -> tuple[list[Group], Estimate]:
    """Accuracy of the margin's sign for each group's own votes, worst first, and the lowest.

    The lowest of several is picked, so its interval and the gaps hold for all groups at once.
    """
    decisive = np.isin(votes.label, ["chosen", "rejected"]) & np.isfinite(margin[votes.item])
    # On a majority tie, "chosen" is the first response of the source.
    decisive &= ~case.eval.tied[votes.item]
    signed = margin[votes.item] * np.where(votes.label == "chosen", 1, -1)
    correct = halves(signed[decisive])
    codes = case.clusters[votes.item[decisive]]
    named = [
        (attribute, str(name), names[decisive] == name)
        for attribute, names in votes.groups.items()
        for name in sorted(set(names[decisive]), key=natural)
    ]
    named = [group for group in named if group[2].sum() >= SMALLEST_GROUP]
    if not named:
        reason = f"no named annotator or group has {SMALLEST_GROUP} decided votes"
        return [], Estimate.undefined(reason, confidence=case.confidence)
    level = 1 - (1 - case.confidence) / len(named)  # Bonferroni: the worst is picked
    groups = [
        Group(
            attribute,
            name,
            int(mine.sum()),
            cluster_mean(correct[mine], codes[mine], confidence=case.confidence, bounds=(0, 1)),
            _gap(correct, mine, codes, level),
        )
        for attribute, name, mine in named
    ]
    groups.sort(key=lambda group: group.accuracy.value)
    parts = [(correct[mine], codes[mine]) for _, _, mine in named]
    return groups, lowest_group(parts, case.confidence)


def lowest_group(parts: Sequence[tuple[Float, Integers]], confidence: float) -> Estimate:
    """The lowest of several groups' means, with an interval that holds for all of them at once."""
    return lowest_mean(parts, confidence, "groups")


def _gap(correct: Float, mine: NDArray[np.bool_], codes: Integers, confidence: float) -> Estimate:
    here = mine.astype(np.float64)
    terms = [(1.0, correct * (1 - here), 1 - here), (-1.0, correct * here, here)]
    return cluster_ratios(terms, codes, confidence=confidence, bounds=(-1, 1))


def group_table(groups: Sequence[Group]) -> pd.DataFrame:
    """One row a group, worst first."""
    return pd.DataFrame(
        {
            "attribute": [group.attribute for group in groups],
            "group": [group.name for group in groups],
            "votes": [group.votes for group in groups],
            "accuracy": [group.accuracy.value for group in groups],
            "low": [group.accuracy.low for group in groups],
            "high": [group.accuracy.high for group in groups],
        }
    )
