"""The pairs that calibration is measured on, and the shares of votes that are their targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.common.pairs import Margins, margins
from rmaudit.case import Case
from rmaudit.order import natural
from rmaudit.scoring.requests import Scores
from rmaudit.typing import Float, Integers


@dataclass(frozen=True)
class Pairs:
    """The pairs that calibration is measured on, (n,) each."""

    found: Margins  # decided, with finite rewards
    targets: Float  # share of the votes for either output that are for the chosen one
    votes: Integers  # how many votes those are; one where the label is all there is

    @property
    def margins(self) -> Float:
        """Reward of the chosen output minus the other's."""
        return self.found.margin

    @property
    def clusters(self) -> Integers:
        """Codes of the unit of resampling."""
        return self.found.cluster

    @property
    def rows(self) -> Integers:
        """Places in the evaluation data."""
        return self.found.row

    def take(self, keep: NDArray[np.bool_]) -> Pairs:
        """The same on some pairs."""
        return Pairs(self.found.take(keep), self.targets[keep], self.votes[keep])


def collect(case: Case, scores: Scores) -> tuple[Pairs, pd.DataFrame]:
    """The pairs with a preference and finite rewards, and how many of which there were."""
    every = margins(case, scores)
    decided = every.decided
    targets, votes = vote_shares(case.eval.frame)
    targets, votes = targets[decided.row], votes[decided.row]
    pairs = Pairs(decided, np.where(votes > 0, targets, 1.0), np.maximum(votes, 1))
    counts = {
        "used": len(decided),
        "of these with votes": int((votes > 0).sum()),
        "left out: labelled tie": int(every.tied.sum()),
        **every.left_out_by_reason,
    }
    return pairs, pd.DataFrame({"what": list(counts), "pairs": list(counts.values())})


def vote_shares(frame: pd.DataFrame) -> tuple[Float, Integers]:
    """Share of votes for the chosen output among votes for either, and their number, (n,) each."""
    if "annotator_votes" not in frame:
        return np.ones(len(frame)), np.zeros(len(frame), dtype=np.int64)
    chosen, either = [], []
    for votes in frame["annotator_votes"]:
        labels = list(votes) if isinstance(votes, list | tuple | np.ndarray) else []
        chosen.append(sum(label == "chosen" for label in labels))
        either.append(chosen[-1] + sum(label == "rejected" for label in labels))
    counts = np.array(either, dtype=np.int64)
    return np.array(chosen) / np.maximum(counts, 1), counts


def subsets(case: Case, pairs: Pairs) -> dict[str, Pairs]:
    """The pairs of each subset, in order of name."""
    names = case.eval.frame["subset"].to_numpy(dtype=object)[pairs.rows]
    named = pd.notna(names)
    return {
        str(name): pairs.take(named & (names == name))
        for name in sorted(set(names[named]), key=natural)
    }
