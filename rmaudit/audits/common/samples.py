"""Rewards of policy samples as matrices: what the audits of optimisation share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.overoptimization.samples import (
    has_texts,
    matrix,
    recorded,
    scored_matrix,
    widened,
)
from rmaudit.scoring.requests import Column, Key, Request, Scores, data_requests
from rmaudit.typing import Float


@dataclass(frozen=True)
class SampleRewards:
    """Rewards of the samples, (n_rows, most samples per row); NaN where there is none."""

    proxy: Float
    gold: Float | None
    gold_from: str  # in words; empty without a gold reward
    members: dict[str, Float]  # of the ensemble's members, by name
    judge: Float | None = None  # where the samples carry judge_rewards beside gold_rewards


def sample_requests(case: Case) -> Sequence[Request]:
    """The samples, for the model to reward; nothing where it cannot or need not."""
    if case.samples is None or not scored(case):
        return ()
    return data_requests(case.samples, "samples")


def proxy_lacks(case: Case) -> str | None:
    """What the rewards of samples need and the case does not have, in words."""
    if case.samples is None:
        return "needs --samples, responses of the policy, several per prompt"
    if not scored(case) and recorded(case.samples) is None:
        return "needs responses in --samples and a model that can score new text, or proxy_rewards"
    return None


def gold_lacks(case: Case) -> str | None:
    """What the gold rewards of samples need and the case does not have, in words."""
    samples = case.samples
    if samples is None or samples.columns("gold_rewards"):
        return None
    if case.gold is None:
        return "needs gold_rewards in --samples, or a gold reward model (--gold)"
    return None if has_texts(samples) else "needs responses in --samples for --gold to reward"


def sample_rewards(case: Case, scores: Scores) -> SampleRewards:
    """Proxy, gold and members' rewards; requires that `proxy_lacks` nothing."""
    samples = case.samples
    if samples is None:
        raise ValueError("the case has no samples")
    proxy, gold, where = proxy_matrix(case, samples, scores), None, ""
    judge = None
    if samples.columns("gold_rewards"):
        gold, where = matrix(samples.frame["gold_rewards"].tolist()), "the column gold_rewards"
        if samples.columns("judge_rewards"):
            judge = matrix(samples.frame["judge_rewards"].tolist())
    elif case.gold is not None and scores.gold:
        gold = scored_matrix(samples, partial(_sampled, scores.gold))
        where = f"the reward model {case.gold.name}"
    members = {}
    if scored(case) and len(scores.members) > 1:
        for name, columns in zip(scores.member_names, scores.members, strict=True):
            members[name] = scored_matrix(samples, partial(_sampled, columns))
    width = max(m.shape[1] for m in (proxy, gold, judge) if m is not None)
    return SampleRewards(
        widened(proxy, width),
        None if gold is None else widened(gold, width),
        where,
        {name: widened(values, width) for name, values in members.items()},
        None if judge is None else widened(judge, width),
    )


def _sampled(columns: Mapping[Key, Column], side: str) -> Float:
    return columns[("samples", "", side, "plain")].reward


def proxy_matrix(case: Case, samples: Dataset, scores: Scores) -> Float:
    """The audited model's rewards: its own where it scores the texts, else those recorded."""
    column = recorded(samples)
    if not scored(case):
        return matrix([] if column is None else samples.frame[column].tolist())
    return scored_matrix(samples, lambda side: scores.reward(side, data="samples"))


def scored(case: Case) -> bool:
    """Whether the model itself rewards the samples' texts."""
    return case.samples is not None and case.new_text and has_texts(case.samples)
