"""Simulated data sets for `intervals.py`, and what the audits measure on them.

Rewards, lengths, votes, members of an ensemble and samples of a policy. What needs texts scored
elsewhere (under other prompts, along outputs, outside the support) is given its rewards instead of
texts, and measured by the same functions as in the audits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd
from interval_draws import Draw, Float, Integers
from scipy.special import expit

import rmaudit as rma
from rmaudit.audits import disagreement, sparsity
from rmaudit.audits.base import audits as registered_audits
from rmaudit.audits.calibration import audit as calibration
from rmaudit.audits.common.pairs import Margins, margins
from rmaudit.audits.generalization import audit as generalization
from rmaudit.audits.generalization.performance_gap import gap_metrics, gaps
from rmaudit.audits.length.edits import Edited
from rmaudit.audits.preference import audit as preference
from rmaudit.audits.prompt import audit as prompt
from rmaudit.case import Case
from rmaudit.results import Estimate, Metric
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Scores
from rmaudit.stats.uncertainty import auroc_estimate, ratio_of_means
from rmaudit.support.conformal import Calibration

Row = dict[str, Any]

MEMBERS, SAMPLES, SUBSETS, VOTES, RANKED = 3, 16, 4, 3, 4


@dataclass(frozen=True)
class Simulated:
    """One data set, scored."""

    case: Case
    scores: Scores
    of: Integers  # the prompt of each pair, (n,)

    @property
    def pairs(self) -> Margins:
        """The pairs with a preference, and their margins."""
        return margins(self.case, self.scores).decided


def simulated(prompts: int, several: bool, seed: int, resamples: int) -> Simulated:
    """A data set of so many prompts, with one pair each or one to five."""
    rng = np.random.default_rng([prompts, several, seed])
    counts = rng.integers(1, 6, prompts) if several else np.ones(prompts, dtype=np.int64)
    of = np.repeat(np.arange(prompts), counts)
    frame, reward, members, length = pairs(rng, of)
    case = Case(
        Recorded(),
        rma.load(frame.to_dict("records"), "preference"),
        samples=rma.load(samples(rng, prompts), "deployment"),
        ensemble=tuple(Recorded(f"member {k}") for k in range(1, MEMBERS)),
        seed=int(rng.integers(1 << 30)),
        resamples=resamples,
    )
    columns = [
        {
            request.key: column(values[:, side], length[:, side])
            for side, request in enumerate(case.data_requests)
        }
        for values in (reward, *members)
    ]
    names = ["recorded", *(f"member {k}" for k in range(1, MEMBERS))]
    return Simulated(case, Scores([], columns[0], members=columns, member_names=names), of)


@lru_cache(maxsize=8)
def drawn(draw: Draw) -> Simulated:
    """The data set of a draw; those of a population stay for the groups that share them."""
    return simulated(*draw)


def pairs(
    rng: np.random.Generator, of: Integers
) -> tuple[pd.DataFrame, Float, list[Float], Integers]:
    """Rows, rewards of the model and of the other members, lengths; (n, 2), chosen first."""
    n, prompts = len(of), int(of.max()) + 1
    length = np.maximum(1, np.exp(rng.normal(4, 0.6, (n, 2)))).astype(np.int64)
    easy = rng.normal(0.9, 0.6, prompts)[of]  # pairs of a prompt are alike
    subset = rng.integers(0, SUBSETS, n)
    margin = easy + 0.15 * subset + rng.normal(0, 1.2, n)
    base = rng.normal(0, 1, n)
    reward = np.stack([base + margin / 2, base - margin / 2], axis=1) + 0.3 * np.log2(length)
    unsure = np.exp(rng.normal(-0.5, 0.5, prompts))[of, None]
    reward = np.round(reward, 1)  # some ties
    members = [reward + unsure * rng.normal(size=(n, 2)) for _ in range(1, MEMBERS)]
    agree = rng.random((n, VOTES)) < expit(0.4 + easy)[:, None]
    for_chosen = agree.sum(axis=1, keepdims=True) * 2 > VOTES
    votes = np.where(agree == for_chosen, "chosen", "rejected")  # the majority is the label
    people = [f"annotator {k}" for k in range(VOTES)]
    frame = pd.DataFrame(
        {
            "prompt": [f"Question {p}" for p in of],
            "chosen": [f"Answer {i}" for i in range(n)],
            "rejected": [f"Reply {i}" for i in range(n)],
            "subset": [f"subset {s}" for s in subset],
            "annotator_votes": votes.tolist(),
            "annotators": [people] * n,
        }
    )
    return frame, reward, members, length


def samples(rng: np.random.Generator, prompts: int) -> list[Row]:
    """Rewards of a policy's samples: the proxy follows the gold reward, with a heavy tail."""
    gold = rng.normal(0, 1, (prompts, SAMPLES)) + rng.normal(0, 1, (prompts, 1))
    proxy = gold + 0.7 * rng.standard_t(6, (prompts, SAMPLES))
    proxy[rng.random(prompts) < 0.2] *= 0.02  # saturated
    outputs = [f"Sample {j}" for j in range(SAMPLES)]
    return [
        {
            "prompt": f"Question {p}",
            "outputs": outputs,
            "proxy_rewards": r.tolist(),
            "gold_rewards": g.tolist(),
        }
        for p, (r, g) in enumerate(zip(proxy, gold, strict=True))
    ]


def column(reward: Float, length: Integers) -> Column:
    """A column of rewards."""
    no = np.zeros(len(reward), dtype=bool)
    return Column(reward, length, length, no, no, no)


def of_audit(name: str, data: Simulated) -> list[Metric]:
    """What an audit measures."""
    (audit,) = registered_audits((name,))
    return list(audit.measure(data.case, data.scores).metrics)


def of_calibration(data: Simulated) -> list[Metric]:
    """Calibration of all pairs; the audit's subsets would take four times as long again."""
    found, _ = calibration.collect(data.case, data.scores)
    return named(calibration.measure_pairs(found, data.case, "all"))


def of_prompt(data: Simulated) -> list[Metric]:
    """Margins under other prompts: a share of the margin, and noise."""
    rng, margin = data.case.rng("other prompts"), data.pairs.margin
    elsewhere = [share * margin + rng.normal(0, 1, len(margin)) for share in (0.2, 0.3, 0.5)]
    return named(prompt.numbers(data.case, prompt.Swapped(data.pairs, *elsewhere)))


def of_sparsity(data: Simulated) -> list[Metric]:
    """Rewards along outputs, which move three times as far at the end."""
    rng, found = data.case.rng("along outputs"), data.pairs
    n = len(found)
    steps = np.abs(rng.normal(0, 1, (2, n, 10))) * np.r_[np.ones(9), 3.0]
    curves = dict(zip(("chosen", "rejected"), np.cumsum(steps, axis=2), strict=True))
    shares = np.linspace(0.2, 1, 10)
    along = found.margin[:, None] * shares + (1 - shares) * rng.normal(0, 1.5, (n, 10))
    return named(
        {
            "sparsity.late_share": sparsity.late_share(curves, found.cluster, 0.95),
            "sparsity.arrival_position": sparsity.arrival_position(along, found.cluster, data.case)[
                1
            ],
        }
    )


def of_generalization(data: Simulated) -> list[Metric]:
    """Three prompts in ten lie outside the support, where the model is less often right."""
    rng, found = data.case.rng("outside"), data.pairs
    outside = rng.random(int(data.of.max()) + 1)[data.of] < 0.3
    shifted = replace(found, reward=found.reward.copy())
    shifted.reward[found.worse[outside[found.row]]] += 0.5
    # No prompt lies near where the support ends: a threshold without error.
    held_out = Calibration(np.linspace(0.1, 0.5, 400), 1200)
    numbers = generalization.by_support(shifted, outside.astype(np.float64), held_out, 0.95)
    return named({f"generalization.{name}": estimate for name, estimate in numbers.items()})


def of_edits(data: Simulated) -> list[Metric]:
    """Padding that is paid for, by more or less."""
    rng, found = data.case.rng("edits"), data.pairs
    edited = Edited(found, found.reward[found.worse] + rng.normal(0.3, 0.5, len(found)), 0.0)
    return named(
        {
            "length.padding_effect": edited.effect(0.95),
            "length.padding_flip_rate": edited.flip_rate(0.95),
        }
    )


def of_outside(data: Simulated) -> list[Metric]:
    """Three prompts in ten lie outside the support; errors and disagreement grow with distance."""
    rng, found = data.case.rng("distances"), data.pairs
    outside = rng.random(int(data.of.max()) + 1) < 0.3
    members = disagreement.collect(data.case, data.scores)
    assert isinstance(members, disagreement.Members)
    distance = rng.normal(size=outside.size)[data.of][found.row] + 0.5 * (1 - found.correct)
    spread = members.spread * np.where(outside[data.of][members.pairs.row], 1.5, 1.0)
    metrics = named(
        {
            "generalization.error_distance_auroc": auroc_estimate(
                distance, 1 - found.correct, found.cluster
            ),
            "disagreement.outside_inside_ratio": ratio_of_means(
                spread, outside[data.of][members.pairs.row], members.clusters
            ),
        }
    )
    # Of the performance gap, the beta that the report speaks of.
    every = gap_metrics(data.case, gaps(data.case, data.scores), outside.astype(np.float64))
    return metrics + [replace(m, slice={}) for m in every if m.slice["beta"] == "1"]


def of_rankings(data: Simulated) -> list[Metric]:
    """Rankings of four outputs, and rewards that go with the ranks."""
    rng = data.case.rng("rankings")
    truth = rng.normal(size=(len(data.of), RANKED))
    reward = 0.8 * truth + rng.normal(size=truth.shape) * np.exp(rng.normal(size=(len(truth), 1)))
    rows = [
        {
            "prompt": f"Question {p}",
            "outputs": [f"Answer {i} {j}" for j in range(RANKED)],
            "ranking": (np.argsort(np.argsort(-row)) + 1).tolist(),
        }
        for i, (p, row) in enumerate(zip(data.of, truth, strict=True))
    ]
    case = replace(data.case, eval=rma.load(rows, "ranking"))
    requests = case.data_requests
    there = {r.key: column(reward[:, j], np.ones(len(rows), int)) for j, r in enumerate(requests)}
    scores = Scores([], there, members=[there], member_names=["recorded"])
    found = margins(case, scores)
    return named({"preference.rank_correlation": preference.rank_correlation(case, found)})


def named(estimates: Mapping[str, Estimate]) -> list[Metric]:
    """Metrics of all the data, by id."""
    return [Metric(id_, estimate) for id_, estimate in estimates.items()]


Measure = Callable[[Simulated], Iterable[Metric]]
MEASURES: dict[str, Measure] = {
    "preference": partial(of_audit, "preference"),
    "calibration": of_calibration,
    "length": partial(of_audit, "length"),
    "disagreement": partial(of_audit, "disagreement"),
    "annotators": partial(of_audit, "annotators"),
    "tails": partial(of_audit, "tails"),
    "teacher": partial(of_audit, "teacher"),
    "overoptimization": partial(of_audit, "overoptimization"),
    "prompt": of_prompt,
    "sparsity": of_sparsity,
    "generalization": of_generalization,
    "edits": of_edits,
    "outside": of_outside,
    "rankings": of_rankings,
}
