"""Simulated labels of other kinds for `intervals.py`: steps, ratings with votes, rankings."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from interval_draws import Draw, Float, Group, Integers, Measured
from interval_sets import column

import rmaudit as rma
from rmaudit.audits.base import audits as registered_audits
from rmaudit.audits.process.measure import asked, attacked, localised, pay_per_step
from rmaudit.audits.process.solutions import ATTACKS, Solution, split
from rmaudit.case import Case
from rmaudit.results import Metric
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Key, Scores

STEPS = 4
GUIDED = 0.9  # by which a wrong step's reward is below a correct one's, each way
PADDED, PER_STEP = 0.5, 0.1  # what an edit adds to the reward; per step that it adds
PEOPLE, VOTES, RANKED = 6, 3, 4
STEP = "Two words; two more"  # which splits in two


def of_process(draw: Draw) -> list[Measured]:
    """Solutions of four steps, half of them with a wrong one; the reward sees it in part."""
    rng = draw.rng(20)
    of = draw.prompt_of(rng)
    rewards, first_wrong = _steps(rng, of)
    rows = [
        {"prompt": f"Question {p}", "output": f"Solution {i} {k}", "label": True}
        for i, p in enumerate(of.tolist())
        for k in range(STEPS)
    ]
    case = Case(Recorded(), rma.load(rows, "unpaired"), seed=draw.seed, resamples=draw.resamples)
    places = np.arange(len(rows)).reshape(-1, STEPS)
    found = [
        Solution(tuple(p), (STEP,) * STEPS, int(w))
        for p, w in zip(places.tolist(), first_wrong, strict=True)
    ]
    local = localised(case, found, rewards.ravel())
    whole = rewards[:, -1]
    there: dict[Key, Column] = {("eval", "", "output", "plain"): _column(rewards.ravel())}
    edited = whole[asked(case, found)]
    for name in ATTACKS:
        worth = PER_STEP * STEPS * (len(split([STEP])) - 1) if name == "split" else PADDED
        there["eval", "process", name, "plain"] = _column(
            edited + worth + 0.3 * rng.normal(size=len(edited))
        )
    scores = Scores([], there)
    attack = attacked(case, found, scores, None, local.threshold)["pad"]
    truth = _true_process(local.threshold)
    return [
        (Metric("process.first_error_f1", local.f1), truth["f1"]),
        (Metric("process.first_error_accuracy", local.wrong), truth["wrong"]),
        (Metric("process.correct_accuracy", local.right), truth["right"]),
        (Metric("process.attack_effect", attack.effect), PADDED / truth["sd"]),
        (Metric("process.attack_success_rate", attack.success), truth["success"]),
        (
            Metric("process.reward_per_step", pay_per_step(case, found, scores, None)),
            PER_STEP / truth["sd"],
        ),
    ]


def _steps(rng: np.random.Generator, of: Integers) -> tuple[Float, Integers]:
    """Rewards after each step, (n, steps), and the first wrong one; -1 for none."""
    first = np.where(rng.random(len(of)) < 0.5, rng.integers(STEPS, size=len(of)), -1)
    wrong = (first[:, None] >= 0) & (np.arange(STEPS) >= first[:, None])
    easy = rng.normal(0, 0.5, int(of.max()) + 1)[of, None]
    return np.where(wrong, -GUIDED, GUIDED) + easy + rng.normal(0, 0.7, wrong.shape), first


@lru_cache
def _population() -> tuple[Float, Integers, Float]:
    """Rewards and labels of 200,000 solutions, and what noise an edit adds to each."""
    rng = np.random.default_rng(0)
    return *_steps(rng, np.arange(200_000)), 0.3 * rng.normal(size=200_000)


def _true_process(threshold: float) -> dict[str, float]:
    """The population's values at a threshold."""
    rewards, first, noise = _population()
    low = rewards <= threshold
    named = np.where(low.any(axis=1), low.argmax(axis=1), -1)
    wrong = first >= 0
    a, b = float(np.mean((named == first)[wrong])), float(np.mean((named == first)[~wrong]))
    refused = wrong & low[:, -1]
    passes = rewards[:, -1] + PADDED + noise > threshold
    return {
        "wrong": a,
        "right": b,
        "f1": 2 * a * b / (a + b) if a + b else 0.0,
        "success": float(np.mean(passes[refused])) if refused.any() else 0.0,
        "sd": float(rewards[:, -1].std()),
    }


def of_ratings(draw: Draw) -> list[Measured]:
    """Ratings from votes of three of six people, and rewards that follow what is rated."""
    rng = draw.rng(21)
    of = draw.prompt_of(rng)
    truth = rng.normal(size=draw.prompts)[of] * 0.5 + rng.normal(size=len(of))
    votes = np.clip(np.rint(3 + truth[:, None] + rng.normal(size=(len(of), VOTES))), 1, 5)
    people = rng.permuted(np.tile(np.arange(PEOPLE), (len(of), 1)), axis=1)[:, :VOTES]
    rows = [
        {
            "prompt": f"Question {p}",
            "output": f"Answer {i}",
            "rating": float(v.mean()),
            "annotator_votes": v.tolist(),
            "annotators": [f"person {k}" for k in who],
        }
        for i, (p, v, who) in enumerate(zip(of.tolist(), votes, people, strict=True))
    ]
    case, scores = _scored(rows, "rating", [0.8 * truth + rng.normal(size=len(of))], draw)
    (audit,) = registered_audits(("annotators",))
    found = audit.measure(case, scores).metrics
    kept = ("annotators.concordance", "annotators.concordance_ceiling")
    ratings = [m for m in found if m.id in kept]
    ratings += [replace(m, slice={"of": "ratings"}) for m in found if m.id == "annotators.alpha"]
    return [*ratings, *_preference(case, scores, "ratings")]


def of_ranked(draw: Draw) -> list[Measured]:
    """Rankings of four outputs: all pairs of a row are one cluster's."""
    rng = draw.rng(22)
    of = draw.prompt_of(rng)
    truth = rng.normal(size=(len(of), RANKED))
    spread = np.exp(0.4 * rng.normal(size=(len(of), 1)))  # of the rewards, by row
    reward = 0.8 * truth + spread * rng.normal(size=truth.shape)
    rows = [
        {
            "prompt": f"Question {p}",
            "outputs": [f"Answer {i} {j}" for j in range(RANKED)],
            "ranking": (np.argsort(np.argsort(-row)) + 1).tolist(),
        }
        for i, (p, row) in enumerate(zip(of.tolist(), truth, strict=True))
    ]
    case, scores = _scored(rows, "ranking", list(reward.T), draw)
    return _preference(case, scores, "rankings")


def _preference(case: Case, scores: Scores, kind: str) -> list[Measured]:
    """Accuracy and mean margin on data of another kind, by a slice of that name."""
    (audit,) = registered_audits(("preference",))
    found = audit.measure(case, scores).metrics
    kept = ("preference.accuracy", "preference.margin_mean")
    return [replace(m, slice={"of": kind}) for m in found if m.id in kept and not m.slice]


def _scored(
    rows: list[dict[str, Any]], kind: str, rewards: list[Float], draw: Draw
) -> tuple[Case, Scores]:
    """A case of these rows, and its rewards by side."""
    case = Case(Recorded(), rma.load(rows, kind), seed=draw.seed, resamples=draw.resamples)  # type: ignore[arg-type]
    requests = case.data_requests
    there = {r.key: _column(v) for r, v in zip(requests, rewards, strict=True)}
    return case, Scores([], there, members=[there], member_names=["recorded"])


def _column(reward: Float) -> Column:
    return column(reward, np.ones(len(reward), dtype=np.int64))


GROUPS: dict[str, Group] = {"process": of_process, "ratings": of_ratings, "ranked": of_ranked}
