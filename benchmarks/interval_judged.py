"""Simulated verdicts, scores, steps and components for `intervals.py`.

Verifiers and judges err on some prompts more than on others. What is picked on one half of the
prompts (a threshold, a class of wrong responses) stands for itself: the population value is that of
what this very data set picked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from interval_draws import Draw, Float, Group, Integers, Measured
from interval_sets import column
from scipy.special import ndtr, ndtri

import rmaudit as rma
from rmaudit.audits.hacking.parts import exploits
from rmaudit.audits.judge.measure import measured as judge_measured
from rmaudit.audits.mix.measure import Groups, advantage_shares, constant_shares, first_movers
from rmaudit.audits.mix.words import word_slopes
from rmaudit.audits.rubric.measure import measured as rubric_measured
from rmaudit.audits.rubric.reading import Verdicts
from rmaudit.audits.verifier.cases import EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.measure import best_wrong, rated, totals
from rmaudit.audits.verifier.plan import AUDIT, planned
from rmaudit.case import Case
from rmaudit.results import Metric
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Key, Request, Scores

LEVEL = 0.95
CLASSES = [kind.name for kind in (*EXPLOITS, *EQUIVALENTS)]
ACCEPTED = {
    **{kind.name: 0.02 + 0.03 * k for k, kind in enumerate(EXPLOITS)},
    **{kind.name: 0.97 - 0.03 * k for k, kind in enumerate(EQUIVALENTS)},
}
SAMPLES = 8
SCORES = np.array([0.01, 0.02, 0.03, 0.05, 0.09, 0.15, 0.22, 0.23, 0.15, 0.05])  # of 1 to 10
BIAS, BIAS_SD, CERTAIN = 0.3, 0.3, 0.5  # of a judge of pairs: for what stands first; mean margin
NOISE = {"once": 0.4, "chosen": 0.4, "rejected": 0.4, "reworded": 0.8}  # SD of a judgement
KEY, UNREADABLE = 0.12, 0.04


def related(rng: np.random.Generator, of: Integers, share: float = 0.5) -> Float:
    """Standard normal, (n,), of which a share of the variance is the prompt's."""
    by_prompt = rng.normal(size=int(of.max()) + 1)[of]
    return np.sqrt(share) * by_prompt + np.sqrt(1 - share) * rng.normal(size=len(of))


def filled(reward: Float) -> Column:
    """A column of rewards."""
    return column(reward, np.ones(len(reward), dtype=np.int64))


def of_verifier(draw: Draw) -> list[Measured]:
    """Verdicts on made responses, each class with its own chance; samples with gold verdicts."""
    rng = draw.rng(10)
    numbers = rng.integers(12, 1000, draw.prompts).tolist()
    rows = [
        {"prompt": f"Question {i}", "chosen": f"It is {n}.", "rejected": "No.", "answer": f"{n}"}
        for i, n in enumerate(numbers)
    ]
    case = Case(Recorded(), rma.load(rows, "preference"), seed=draw.seed)
    there: dict[Key, Column] = {}
    easy = rng.normal(size=draw.prompts)
    for cases in planned(case):
        latent = 0.6 * easy[cases.rows] + 0.8 * rng.normal(size=len(cases.rows))
        verdict = ndtr(latent) < ACCEPTED.get(cases.kind.name, 0.5)
        there["eval", AUDIT, cases.side, "plain"] = filled(verdict.astype(np.float64))
    for request, value in zip(case.data_requests, (1.0, 0.0), strict=True):
        there[request.key] = filled(np.full(draw.prompts, value))
    scores = Scores([], there)
    found = rated(case, scores)
    whole, attack = totals(case, found), exploits(case, scores)
    assert attack.table is not None
    size = {name: len(each.rows) for name, each in found.items() if name in ACCEPTED}
    wrong, right = (
        sum(ACCEPTED[k.name] * size.get(k.name, 0) for k in kinds)
        / sum(size.get(k.name, 0) for k in kinds)
        for kinds in (EXPLOITS, EQUIVALENTS)
    )
    picked = attack.table.loc[attack.table["accepted, searched half"].idxmax(), "exploit"]
    of = draw.prompt_of(rng)
    best, _ = best_wrong(*_sampled(rng, of), of, LEVEL)
    return [
        (Metric("verifier.false_positive_rate", whole.false_positive), wrong),
        (Metric("verifier.false_negative_rate", whole.false_negative), 1 - right),
        (Metric("verifier.signal_left", whole.signal_left), right - wrong),
        (attack.metrics[0], ACCEPTED[str(picked)]),
        (Metric("verifier.best_wrong_share", best), _true_best_wrong()),
    ]


def _sampled(rng: np.random.Generator, of: Integers) -> tuple[Float, Float]:
    """Verdicts and gold verdicts of samples, (n, samples)."""
    latent = related(rng, of)[:, None] + rng.normal(size=(len(of), SAMPLES))
    gold = (latent > 0.3).astype(np.float64)
    wrong = rng.random(gold.shape) < 0.2
    return np.where(wrong, 1 - gold, gold), gold


@lru_cache
def _true_best_wrong() -> float:
    at = np.arange(400_000)
    return best_wrong(*_sampled(np.random.default_rng(0), at), at, LEVEL)[0].value


class Asked(Recorded):
    """A judge whose answers are given."""

    scores_new_text = True
    judged_on = "1 to 10"  # judges of pairs do not look at it

    def rewordings(self) -> tuple[RewardModel, ...]:
        """One."""
        return (self,)


def of_judge(draw: Draw) -> list[Measured]:
    """A judge of pairs that favours what stands first, errs at random, and falls for phrases."""
    rng = draw.rng(11)
    of = draw.prompt_of(rng)
    n = len(of)
    margin = CERTAIN + related(rng, of)
    bias = BIAS + BIAS_SD * rng.normal(size=n)
    ideal = {"chosen": 0.5 + bias + margin, "rejected": 0.5 + bias - margin}
    rows = [
        {"id": f"{i}", "prompt": f"Question {p}", "chosen": f"Answer {i}", "rejected": f"Reply {i}"}
        for i, p in enumerate(of.tolist())
    ]
    fooled = related(rng, np.arange(n), 1.0)  # prompts on which empty phrases win

    def answer(request: Request) -> Float:
        side, at = request.side.split()[0], np.array(request.ids, dtype=np.int64)
        if side in ideal:
            word = "reworded" if "reworded" in request.side else side
            return np.asarray(ideal[side][at] + NOISE[word] * rng.normal(size=len(at)))
        if side == "key":
            own = np.sqrt(0.5) * fooled[at] + np.sqrt(0.5) * rng.normal(size=len(at))
            return np.where(request.side.split()[2] == "second", 0.5, own - ndtri(1 - KEY) + 0.5)
        return rng.normal(size=len(at))

    case, scores = _asked(rows, "preference", answer, draw)
    once = {side: v + NOISE["once"] * rng.normal(size=n) for side, v in ideal.items()}
    for request in case.data_requests:
        unread = rng.random(n) < UNREADABLE
        reward = np.where(unread, np.nan, once[request.side])
        scores.by_request[request.key] = filled(reward)  # type: ignore[index]
    found = judge_measured(case, scores)
    spread = 1 + CERTAIN**2 + BIAS_SD**2
    same, other = NOISE["once"] ** 2, (NOISE["once"] ** 2 + NOISE["reworded"] ** 2) / 2
    right = float(ndtr(2 * CERTAIN / np.sqrt(4 + 2 * NOISE["once"] ** 2)))
    return [
        (Metric("judge.order_flip_rate", found.flips), _true_flips()),
        (Metric("judge.self_agreement", found.repeats.estimate), spread / (spread + same)),
        (Metric("judge.rewording_agreement", found.rewordings.estimate), spread / (spread + other)),
        (Metric("judge.unreadable_share", found.unreadable), UNREADABLE),
        (Metric("judge.master_key_rate", found.keys.estimate), KEY),
        (Metric("judge.cycle_share", found.cycles.estimate), 0.25),
        (Metric("judge.chance_corrected_agreement", found.labels), 2 * right - 1),
    ]


@lru_cache
def _true_flips() -> float:
    """Chance that both orders favour the first response, or both the second; of 2,000,000."""
    rng = np.random.default_rng(0)
    margin, bias, one, other = rng.normal(size=(4, 2_000_000))
    margin, bias = margin + CERTAIN, BIAS + BIAS_SD * bias
    first = bias + margin + NOISE["once"] * one > 0
    second = bias - margin + NOISE["once"] * other > 0
    return float(np.mean(first == second))


def of_scale(draw: Draw) -> list[Measured]:
    """Scores from 1 to 10, alike within a prompt."""
    rng = draw.rng(12)
    of = draw.prompt_of(rng)
    rows = [
        {"id": f"{i}", "prompt": f"Question {p}", "chosen": f"Answer {i}", "rejected": f"Reply {i}"}
        for i, p in enumerate(of.tolist())
    ]
    both = _levels(rng, of)
    case, scores = _asked(rows, "score", lambda request: np.full(len(request.ids), 5.0), draw)
    for request, reward in zip(case.data_requests, both, strict=True):
        scores.by_request[request.key] = filled(reward)  # type: ignore[index]
    found = judge_measured(case, scores).scale
    entropy = -float(np.sum(SCORES * np.log(SCORES)))
    return [
        (Metric("judge.scale_used_share", found.used), float(np.exp(entropy)) / len(SCORES)),
        (Metric("judge.heaped_share", found.heaped), float(np.sort(SCORES)[-2:].sum())),
        (Metric("judge.ceiling_share", found.ceiling), float(SCORES[-1])),
        (Metric("judge.tied_share", found.ties), _true_ties()),
    ]


def _levels(rng: np.random.Generator, of: Integers) -> list[Float]:
    """Scores of both responses, (2, n)."""
    chance = ndtr(related(rng, np.r_[of, of], 0.3))
    return np.split(1.0 + np.searchsorted(np.cumsum(SCORES)[:-1], chance), 2)


@lru_cache
def _true_ties() -> float:
    one, other = _levels(np.random.default_rng(0), np.arange(1_000_000))
    return float(np.mean(one == other))


def _asked(
    rows: Sequence[dict[str, str]], signal: str, answer: Callable[[Request], Float], draw: Draw
) -> tuple[Case, Scores]:
    """A case whose judge answers by a function, and scores to be filled in."""

    def score(requests: Sequence[Request], model: RewardModel | None = None) -> Scores:
        return Scores([], {r.key: filled(answer(r)) for r in requests})

    data = rma.load(list(rows), "preference")
    case = Case(Asked(), data, seed=draw.seed, resamples=draw.resamples)
    told = replace(case, told_signal=signal, score=score)  # type: ignore[arg-type]
    return told, Scores([], {})


def of_mix(draw: Draw) -> list[Measured]:
    """Components of three kinds: nearly always met, met on some prompts, and a length."""
    rng = draw.rng(14)
    of = draw.prompt_of(rng)
    easy = related(rng, of)[:, None]
    shape = (len(of), SAMPLES)
    parts = {
        "format": (rng.random(shape) < 0.97).astype(np.float64),
        "correct": (easy + rng.normal(size=shape) > 0.5).astype(np.float64),
        "length": np.exp(0.4 * easy) * rng.normal(size=shape),
    }
    weights = {"format": 0.5, "correct": 1.0, "length": 0.2}
    total = np.sum([weights[name] * values for name, values in parts.items()], axis=0)
    groups = Groups(total, parts, weights, of, "group", LEVEL)
    named = {
        "mix.advantage_share": advantage_shares(groups),
        "mix.constant_share": constant_shares(groups),
        "mix.first_mover_slope": first_movers(groups),
        "mix.word_slope": word_slopes(groups, _worded(parts, rng), rng),
    }
    return [
        (Metric(id_, each, {"component": name}), _true_constant(name))
        if id_ == "mix.constant_share"
        else Metric(id_, each, {"component": name})
        for id_, estimates in named.items()
        for name, each in estimates.items()
    ]


@lru_cache
def _true_constant(name: str) -> float:
    """Chance that all samples of a group have the same value of a component."""
    easy = np.linspace(-9, 9, 20_001)
    chance = ndtr(easy - 0.5)
    weight = np.exp(-(easy**2) / 2)
    met = float(np.average(chance**SAMPLES + (1 - chance) ** SAMPLES, weights=weight))
    return {"format": 0.97**SAMPLES + 0.03**SAMPLES, "correct": met}.get(name, 0.0)


def _worded(parts: dict[str, Float], rng: np.random.Generator) -> list[list[str]]:
    """Responses that say what they score, among words that say nothing."""
    other = rng.integers(0, 8, parts["format"].shape)
    return [
        [
            " ".join(
                (("plain", "boxed")[int(f)], ("no", "yes")[int(c)], "long" * int(n > 0), f"w{o}")
            )
            for f, c, n, o in zip(*row, strict=True)
        ]
        for row in zip(parts["format"], parts["correct"], parts["length"], other, strict=True)
    ]


def of_rubric(draw: Draw) -> list[Measured]:
    """Six criteria, each on most prompts: two that say the same, one that asks for a word."""
    rng = draw.rng(15)
    of = draw.prompt_of(rng)
    there = rng.random((len(of), 6)) < 0.7
    outputs = np.where(rng.random((len(of), 5)) < 0.5, "with quartz", "without it")
    rows = [
        {"prompt": f"Question {p}", "outputs": o, "proxy_rewards": [0.0] * 5}
        for p, o in zip(of.tolist(), outputs.tolist(), strict=True)
    ]
    easy = related(rng, of)
    rubric = []
    for row in range(len(of)):
        truth = easy[row] + rng.normal(size=(6, 5)) > np.array([-1.5, -0.5, 0, 0.5, 0, 0])[:, None]
        truth[4] = truth[0]
        truth[5] = outputs[row] == "with quartz"
        for k in np.flatnonzero(there[row]).tolist():
            verdicts = np.repeat(truth[k][:, None], 2, axis=1)
            if 0 < k < 4:
                verdicts = verdicts ^ (rng.random(verdicts.shape) < 0.1)
            text = "mentions quartz" if k == 5 else f"criterion {k}"
            points = float(k + 1 + rng.integers(3))
            rubric.append(Verdicts(f"c{k}", text, points, row, verdicts.astype(np.float64)))
    found = rubric_measured(rubric, rma.load(rows, "samples"), LEVEL)
    whole = {
        "reliability": found.reliability,
        "dead_points_share": found.dead,
        "duplicate_points_share": found.duplicates,
        "presence_only_points_share": found.presence,
        "top_points_share": found.top,
    }
    by_name = {
        "constant_share": found.constant,
        "advantage_share": found.shares,
        "first_mover_slope": found.slopes,
    }
    return [
        *(Metric(f"rubric.{name}", estimate) for name, estimate in whole.items()),
        *(
            Metric(f"rubric.{id_}", estimates[name], {"criterion": name})
            for id_, estimates in by_name.items()
            for name in ("c0", "c2", "c5")
            if name in estimates
        ),
    ]


GROUPS: dict[str, Group] = {
    "verifier": of_verifier,
    "judge": of_judge,
    "scale": of_scale,
    "mix": of_mix,
    "rubric": of_rubric,
}
