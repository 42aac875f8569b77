"""Numbers about a judge: flips of order, agreement with itself and with labels, keys, circles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rmaudit.audits.judge.plan import BATCH, SIDES, Asker, planned
from rmaudit.audits.judge.questions import (
    CERTAIN,
    FLIPPED,
    HARMLESS,
    Asked,
    cycles,
    master_keys,
    repeats,
    rewordings,
)
from rmaudit.audits.judge.scale import ScaleUse, scale_of, scale_use
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.rewards.base import does_not_apply, failed
from rmaudit.scoring.requests import Scores
from rmaudit.stats.confidence_sequence import MeanSequence
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Array, Float, Integers, Mask


@dataclass(frozen=True)
class Measured:
    """What is measured of a judge; `flipped` are the rows that show it."""

    unreadable: Estimate
    flips: Estimate
    labels: Estimate  # agreement with them
    scale: ScaleUse
    keys: Asked
    cycles: Asked
    repeats: Asked
    rewordings: Asked
    flipped: list[int]  # rows
    first_share: float  # of the flips, those in which both orders favour the first response
    enough: int | None  # prompts that would have decided about the order

    @property
    def asked(self) -> tuple[Asked, ...]:
        """What was asked beside the data's own texts, one question after another."""
        return tuple(
            each for each in (self.repeats, self.rewordings, self.keys, self.cycles) if each.most
        )


def measured(case: Case, scores: Scores) -> Measured:
    """All numbers of the audit."""
    pairs = case.signal == "preference"
    once = {side: scores.reward(side) for side in SIDES}
    chosen, rejected = (once[side] for side in SIDES)
    untied = ~case.eval.tied
    flips, flipped, first, enough = _flips(case, chosen, rejected)
    if not pairs:
        flips, flipped = _undefined(case, "a judge of single responses sees no order"), []
    # Both orders of a pair: P(chosen better) from each, averaged; of scores, the margin.
    margin = chosen - rejected
    there = np.isfinite(margin) & untied
    labels = cluster_mean(
        np.sign(margin[there]), case.clusters[there], confidence=case.confidence, bounds=(-1, 1)
    )
    ask = Asker(case)
    return Measured(
        _unreadable(case, once),
        flips,
        labels,
        scale_use(case, once, scale_of(case)),
        master_keys(case, ask, chosen),
        cycles(case, ask),
        repeats(case, ask, once),
        rewordings(case, ask, once),
        flipped,
        first,
        enough if pairs else None,
    )


def _undefined(case: Case, reason: str) -> Estimate:
    return Estimate.undefined(reason, confidence=case.confidence)


def _share(case: Case, values: Mask, rows: Array) -> Estimate:
    codes: Integers = case.clusters[np.asarray(rows, dtype=np.int64)]
    return cluster_mean(values.astype(np.float64), codes, confidence=case.confidence, bounds=(0, 1))


def _unreadable(case: Case, once: dict[str, Float]) -> Estimate:
    """Share of the replies on the data's own texts that hold no readable answer."""
    values: list[Mask] = []
    rows: list[Integers] = []
    for reward in once.values():
        asked = ~does_not_apply(reward) & ~failed(reward)
        values.append(~np.isfinite(reward[asked]))
        rows.append(np.flatnonzero(asked))
    return _share(case, np.concatenate(values), np.concatenate(rows))


def _flips(
    case: Case, chosen: Float, rejected: Float
) -> tuple[Estimate, list[int], float, int | None]:
    """Pairs in which both orders favour the same place, and how many of them favour the first.

    Beside them how many prompts, in random order, would have decided whether flips are a fault.
    """
    rows = np.flatnonzero(np.isfinite(chosen) & np.isfinite(rejected))
    first = (chosen[rows] > 0.5) & (rejected[rows] > 0.5)
    second = (chosen[rows] < 0.5) & (rejected[rows] < 0.5)
    flipped = first | second
    share = float(first.sum() / max(int(flipped.sum()), 1))
    of_row = dict(zip(rows.tolist(), flipped.tolist(), strict=True))
    sequence = MeanSequence(case.confidence, (FLIPPED,))
    enough, asked = None, [row for row in planned(case).rows if row in of_row]
    for start in range(0, len(asked), BATCH):
        sequence.update(np.array([of_row[row] for row in asked[start : start + BATCH]], float))
        if sequence.p_at_most(FLIPPED) <= CERTAIN or sequence.interval[1] < HARMLESS:
            enough = sequence.n
            break
    return _share(case, flipped, rows), rows[flipped].tolist(), share, enough
