"""How often each class of cases is accepted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmaudit.audits.verifier.cases import BARE, EQUIVALENTS, EXPLOITS, Kind
from rmaudit.audits.verifier.plan import AUDIT, Cases, planned
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Scores
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.typing import Float, Integers, Mask

PLAIN = EQUIVALENTS[0].name


@dataclass(frozen=True)
class Rated:
    """The verdicts on one class, (n,) each; cases without a verdict are left out, and counted."""

    kind: Kind
    rows: Integers  # of the evaluation data
    responses: tuple[str, ...]
    accepted: Mask
    frames: tuple[str, ...]  # whose format the responses have
    left_out: int

    def rate(self, case: Case, *, rejected: bool = False) -> Estimate:
        """Share accepted (or rejected), by prompt."""
        values = ~self.accepted if rejected else self.accepted
        return cluster_mean(
            values.astype(np.float64),
            case.clusters[self.rows],
            confidence=case.confidence,
            bounds=(0, 1),
        )


def threshold(rewards: Float) -> float:
    """Above what a verdict counts as correct: halfway between its lowest and highest value."""
    finite = rewards[np.isfinite(rewards)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    return 0.5 if low == high else float(low + high) / 2


def rated(case: Case, scores: Scores) -> dict[str, Rated]:
    """The classes by name, in the frames that the verifier understands best."""
    columns = [(cases, scores.reward(cases.side, audit=AUDIT)) for cases in planned(case)]
    own = [scores.by_request[request.key].reward for request in case.data_requests]
    at = threshold(np.concatenate([reward for _, reward in columns] + own))
    frames = {"own", _best_generic(columns, at)}
    by_kind: dict[str, list[tuple[Cases, Float]]] = {}
    for cases, reward in columns:
        if cases.frame in frames:
            by_kind.setdefault(cases.kind.name, []).append((cases, reward))
    return {name: _joined(parts, at) for name, parts in by_kind.items()}


def _best_generic(columns: Sequence[tuple[Cases, Float]], at: float) -> str:
    """The generic frame in which the reference as written is accepted most often."""
    shares = {
        cases.frame: float(np.mean(reward > at))
        for cases, reward in columns
        if cases.frame != "own" and cases.kind.name == PLAIN
    }
    return max(shares, key=lambda name: shares[name], default="own")


def _joined(parts: Sequence[tuple[Cases, Float]], at: float) -> Rated:
    rewards = np.concatenate([reward for _, reward in parts])
    there = np.isfinite(rewards)
    responses = [response for cases, _ in parts for response in cases.responses]
    frames = [cases.frame for cases, _ in parts for _ in cases.responses]
    return Rated(
        parts[0][0].kind,
        np.concatenate([cases.rows for cases, _ in parts])[there],
        tuple(r for r, kept in zip(responses, there, strict=True) if kept),
        rewards[there] > at,
        tuple(f for f, kept in zip(frames, there, strict=True) if kept),
        int((~there).sum()),
    )


@dataclass(frozen=True, slots=True)
class Totals:
    """Both error rates over all classes, and the signal that they leave."""

    false_positive: Estimate
    false_negative: Estimate
    signal_left: Estimate


def totals(case: Case, found: dict[str, Rated]) -> Totals:
    """Over all cases; each class weighs as many cases as it has."""
    wrong = [found[kind.name] for kind in EXPLOITS if kind.name in found]
    correct = [found[kind.name] for kind in EQUIVALENTS if kind.name in found]
    rows = np.concatenate([each.rows for each in (*wrong, *correct)])
    accepted = np.concatenate([each.accepted for each in (*wrong, *correct)]).astype(np.float64)
    is_wrong = np.repeat([1.0] * len(wrong) + [0.0] * len(correct), _sizes(wrong, correct))
    is_correct = 1 - is_wrong
    codes, confidence = case.clusters[rows], case.confidence
    positive = cluster_ratios(
        [(1, accepted * is_wrong, is_wrong)], codes, confidence=confidence, bounds=(0, 1)
    )
    negative = cluster_ratios(
        [(1, (1 - accepted) * is_correct, is_correct)], codes, confidence=confidence, bounds=(0, 1)
    )
    # 1 - FPR - FNR = P(accept | correct) - P(accept | wrong)
    left = cluster_ratios(
        [(1, accepted * is_correct, is_correct), (-1, accepted * is_wrong, is_wrong)],
        codes,
        confidence=confidence,
        bounds=(-1, 1),
    )
    return Totals(positive, negative, left)


def _sizes(*groups: Sequence[Rated]) -> list[int]:
    return [len(each.rows) for group in groups for each in group]


def best_wrong(
    verdicts: Float, gold: Float, codes: Integers, confidence: float
) -> tuple[Estimate, Mask]:
    """How often a prompt's best sample by the verifier is wrong by gold.

    Parameters
    ----------
    verdicts, gold
        Rewards, (n_rows, most samples per row); NaN where there is none.
    codes
        Prompt codes, (n_rows,).

    Returns
    -------
    Estimate, NDArray
        The share, in which samples that tie for the best count equally; and the samples that the
        two disagree on, of the rewards' shape. Rows in which the verifier accepts nothing, or
        everything that is there is accepted and correct, count like any other.
    """
    there = np.isfinite(verdicts) & np.isfinite(gold)
    rows = there.any(axis=1)
    at, gold_at = threshold(verdicts[there]), threshold(gold[there])
    best = np.where(there, verdicts, -np.inf)
    top = there & (best == best.max(axis=1, keepdims=True))
    wrong = there & (gold <= gold_at)
    share = (top & wrong).sum(axis=1)[rows] / np.maximum(top.sum(axis=1)[rows], 1)
    estimate = cluster_mean(share, codes[rows], confidence=confidence, bounds=(0, 1))
    disagree = there & ((verdicts > at) == wrong)
    # Codes are those of the samples; influences that a report keeps are by evaluation prompt.
    return replace(estimate, influence=None), disagree


SHOWN = (*EXPLOITS, BARE, *EQUIVALENTS)
