"""Numbers about a judge: flips of order, agreement with itself and with labels, keys, circles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.judge.plan import AROUND, AUDIT, KEYS, SIDES, Plan
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.rewards.base import does_not_apply, failed
from rmaudit.scoring.requests import Scores
from rmaudit.stats.intervals import cluster_mean, cluster_ratio
from rmaudit.typing import Array, Float, Integers, Mask


@dataclass(frozen=True)
class Measured:
    """What is measured of a judge; `flipped` and `keyed` are the rows that show it."""

    unreadable: Estimate
    flips: Estimate
    agreement: Estimate  # with itself
    keys: dict[str, Estimate]  # by master key; "" is all of them
    cycles: Estimate
    labels: Estimate  # agreement with them
    flipped: list[int]  # rows
    first_share: float  # of the flips, those in which both orders favour the first response
    keyed: list[tuple[int, str]]  # (row, key)


def measured(case: Case, scores: Scores, plan: Plan) -> Measured:
    """All numbers of the audit; `plan` is what was asked for."""
    pairs = case.signal == "preference"
    chosen, rejected = (scores.reward(side) for side in SIDES)
    untied = ~case.eval.frame["tie"].to_numpy(dtype=bool)
    flips, flipped, first = _flips(case, chosen, rejected)
    if not pairs:
        flips = _undefined(case, "a judge of single responses sees no order")
    # Both orders of a pair: P(chosen better) from each, averaged; of scores, the margin.
    margin = chosen - rejected
    there = np.isfinite(margin) & untied
    labels = cluster_mean(
        np.sign(margin[there]), case.clusters[there], confidence=case.confidence, bounds=(-1, 1)
    )
    keys, keyed = _keys(case, scores, plan, chosen)
    return Measured(
        _unreadable(case, scores),
        flips,
        _agreement(case, scores, plan),
        keys,
        _cycles(case, scores, plan),
        labels,
        flipped,
        first,
        keyed,
    )


def _undefined(case: Case, reason: str) -> Estimate:
    return Estimate.undefined(reason, confidence=case.confidence)


def _share(case: Case, values: Mask, rows: Array) -> Estimate:
    codes: Integers = case.clusters[np.asarray(rows, dtype=np.int64)]
    return cluster_mean(values.astype(np.float64), codes, confidence=case.confidence, bounds=(0, 1))


def _unreadable(case: Case, scores: Scores) -> Estimate:
    """Share of the replies on the data's own texts that hold no readable answer."""
    values: list[Mask] = []
    rows: list[Integers] = []
    for side in SIDES:
        reward = scores.reward(side)
        asked = ~does_not_apply(reward) & ~failed(reward)
        values.append(~np.isfinite(reward[asked]))
        rows.append(np.flatnonzero(asked))
    return _share(case, np.concatenate(values), np.concatenate(rows))


def _flips(case: Case, chosen: Float, rejected: Float) -> tuple[Estimate, list[int], float]:
    """Pairs in which both orders favour the same place, and how many of them favour the first."""
    rows = np.flatnonzero(np.isfinite(chosen) & np.isfinite(rejected))
    first = (chosen[rows] > 0.5) & (rejected[rows] > 0.5)
    second = (chosen[rows] < 0.5) & (rejected[rows] < 0.5)
    flipped = first | second
    share = float(first.sum() / max(int(flipped.sum()), 1))
    return _share(case, flipped, rows), rows[flipped].tolist(), share


def _agreement(case: Case, scores: Scores, plan: Plan) -> Estimate:
    """Krippendorff's interval alpha of two judgements of one text: 1 minus disagreement."""
    rows = np.array(plan.repeated * len(SIDES), dtype=np.int64)
    once = np.concatenate([scores.reward(side)[plan.repeated] for side in SIDES])
    again = np.concatenate([scores.reward(side, audit=AUDIT, mode="alone") for side in SIDES])
    there = np.isfinite(once) & np.isfinite(again)
    once, again, rows = once[there], again[there], rows[there]
    if not rows.size:
        return _undefined(case, "no text was judged twice")
    centre = float(np.mean([once, again]))
    spread = ((once - centre) ** 2 + (again - centre) ** 2) / 2
    if not spread.any():
        return _undefined(case, "the judge says the same of every text")
    same = spread - (once - again) ** 2 / 2
    return cluster_ratio(
        same, spread, case.clusters[rows], confidence=case.confidence, bounds=(-1, 1)
    )


def _keys(
    case: Case, scores: Scores, plan: Plan, chosen: Float
) -> tuple[dict[str, Estimate], list[tuple[int, str]]]:
    """How often an empty phrase is rated above the chosen response, by phrase and over all."""
    rows = np.array(plan.keyed, dtype=np.int64)
    wins, places, found = [], [], {}
    keyed: list[tuple[int, str]] = []
    for place, key in enumerate(KEYS):
        reward = scores.reward(f"key {place}", audit=AUDIT)
        other = (
            scores.reward(f"key {place} second", audit=AUDIT)
            if case.signal == "preference"
            else chosen[rows]
        )
        there = np.isfinite(reward) & np.isfinite(other)
        win = np.asarray(reward[there] > other[there])
        found[key] = _share(case, win, rows[there])
        keyed += [(int(row), key) for row in rows[there][win]]
        wins.append(win)
        places.append(rows[there])
    return {"": _share(case, np.concatenate(wins), np.concatenate(places)), **found}, keyed


def _cycles(case: Case, scores: Scores, plan: Plan) -> Estimate:
    """Triples in which a beats b, b beats c and c beats a, each averaged over both orders."""
    if not plan.triples:
        return _undefined(case, "needs a judge of pairs and prompts with three different responses")
    p = {(i, j): scores.reward(f"around {i}{j}", audit=AUDIT) for i, j in AROUND}
    lead = _leads(p, ((0, 1), (1, 2), (2, 0)))
    there = np.asarray(np.isfinite(lead).all(axis=0))
    cycle = np.asarray((lead > 0).all(axis=0) | (lead < 0).all(axis=0))
    row = {id_: i for i, id_ in enumerate(case.eval.frame["id"])}
    rows = np.array([row[triple[0][0]] for triple in plan.triples], dtype=np.int64)
    return _share(case, cycle[there], rows[there])


def _leads(p: dict[tuple[int, int], Float], around: Sequence[tuple[int, int]]) -> Float:
    return np.stack([p[(i, j)] - p[(j, i)] for i, j in around])
