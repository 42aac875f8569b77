"""Do the intervals of coverage and of the performance gap hold the population's own values?

    python benchmarks/population.py [SEEDS] [FILE]

In the clinic world everything is known: each estimate is set against its population value, which
is computed by summing over all contexts (and, for rho, over all outputs of a smaller clinic). One
line a seed is appended to FILE (population.jsonl), so an interrupted run goes on. Prints how often
the 95 % interval holds the value, as a Markdown table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.common.support import contexts, output_words, prompts_of
from rmaudit.audits.coverage.audit import (
    FINE_TYPES,
    output_numbers,
    seen_mass,
    share_of,
)
from rmaudit.audits.coverage.families import clusters
from rmaudit.audits.generalization.performance_gap import BETAS
from rmaudit.case import Case
from rmaudit.data.types import Dataset, DataType, Source
from rmaudit.results import Estimate
from rmaudit.rewards.functions.function import given_function
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.tilting import performance_gap
from rmaudit.support.conformal import neighbour_distance, split_prompts, support_share
from rmaudit.text.embedding import Space
from rmaudit.worlds.clinic.world import ClinicWorld
from rmaudit.worlds.exact import expectation

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Found = dict[str, tuple[Estimate, float]]  # the estimate, and the population's value

FEEDBACK, DEPLOYMENT = 2400, 1200
SAMPLES = (150, 256)  # prompts, outputs each: enough that the smallest beta can be estimated
# The smaller clinic: every seventh context, and outputs that differ in these slots alone.
STEP = 7
SLOTS = ("caution", "reassurance", "escalation", "answer", "closing")


def one_seed(seed: int) -> Found:
    """All estimates of one seed with their population values."""
    world = ClinicWorld(seed)
    coverage, tilting = (np.random.default_rng([seed, part]) for part in (2, 3))
    return {
        **kappas(world, coverage, seed),
        **rhos(world, coverage, seed),
        **gaps(world, tilting),
    }


def kappas(world: ClinicWorld, rng: np.random.Generator, seed: int) -> Found:
    """The three readings of kappa: feedback and deployment drawn, all contexts known."""
    every = world.contexts["prompt"].to_numpy(dtype=object)
    drawn, met = (
        rng.choice(world.n_contexts, n, p=p)
        for n, p in (
            (FEEDBACK, world.feedback_distribution),
            (DEPLOYMENT, world.deployment_distribution),
        )
    )
    case = _case(
        pairs={"prompt": every[drawn], "chosen": "a", "rejected": "b"},
        deployment={"prompt": every[met]},
        evaluation={"prompt": every, "chosen": "a", "rejected": "b"},
        seed=seed,
    )
    where, codes = contexts(case), _codes(case.deployment)
    seen = np.isin(np.arange(world.n_contexts), drawn)
    parts = [where.feedback, where.others["deployment"], where.others["eval"]]
    types = clusters(parts, FINE_TYPES, seed)
    kappa = support_share(where.distances["deployment"], where.calibration, codes)
    p = world.deployment_distribution
    near = np.isin(every, every[drawn[where.near]])
    return {
        "kappa, exact": (share_of(seen[met].astype(float), codes, 0.95), float(p[seen].sum())),
        "kappa, support": (
            kappa,
            inside(where.distances["eval"], held_out(world.feedback_distribution, near), p),
        ),
        "kappa, mass": (
            seen_mass(types[0].tolist(), types[1].tolist(), codes, 0.95),
            float(p[np.isin(types[2], types[0])].sum()),
        ),
    }


def rhos(world: ClinicWorld, rng: np.random.Generator, seed: int) -> Found:
    """The three readings of rho in the smaller clinic, all (context, output) texts known."""
    places, outputs = np.arange(0, world.n_contexts, STEP), _few_outputs(world)
    policy = np.stack([np.exp(world.log_policy(c)[outputs]) for c in places])
    policy /= policy.sum(axis=1, keepdims=True)  # (n_contexts, n_outputs)
    labelled, met = (p[places] / p[places].sum() for p in _distributions(world))
    texts = _texts(tuple(places.tolist()), tuple(outputs.tolist()))
    prompts = world.contexts["prompt"].to_numpy(dtype=object)[places]
    context = rng.choice(len(places), FEEDBACK, p=labelled)
    first, second = _two_outputs(policy[context], rng)
    there = rng.choice(len(places), DEPLOYMENT, p=met)
    replies = _draw(policy[there], rng)
    case = _case(
        pairs={
            "prompt": prompts[context],
            "chosen": texts[context, first],
            "rejected": texts[context, second],
        },
        deployment={
            "prompt": prompts[there],
            "outputs": [[text] for text in texts[there, replies]],
        },
        evaluation={"prompt": prompts[:2], "chosen": "a", "rejected": "b"},
        seed=seed,
    )
    known = np.isin(np.arange(len(places)), context)
    verbatim = known[there]
    if case.deployment is None or case.feedback is None:
        raise ValueError("the case lacks data")
    found = output_numbers(case, case.deployment, verbatim, contexts(case))
    # The same space and neighbours as the estimate's, and every text placed in it.
    reference, rows = output_words(case.feedback, "feedback")
    tested, tested_rows = output_words(case.deployment, "deployment")
    tested = [text for text, row in zip(tested, tested_rows, strict=True) if verbatim[row]]
    grid = _case(
        pairs={
            "prompt": np.repeat(prompts, len(outputs)),
            "chosen": texts.ravel(),
            "rejected": "b",
        },
        deployment=None,
        evaluation={"prompt": prompts[:2], "chosen": "a", "rejected": "b"},
        seed=seed,
    )
    population = output_words(grid.eval if grid.feedback is None else grid.feedback, "feedback")[0]
    population = population[: texts.size]  # the chosen side: every text once
    by_row = prompts_of(case.feedback)
    near, _ = split_prompts([by_row[i] for i in rows], case.rng("output support"), reference)
    others = np.delete(np.array(reference, dtype=object), near).tolist()
    contexts_met = {text.partition("\n")[0] for text in [*others, *tested]}
    space = Space([*(reference[i] for i in near), *contexts_met], seed=seed)
    vectors = [space.place(texts_) for texts_ in (reference, tested, population)]
    distance = neighbour_distance(vectors[2], vectors[0][near])
    used = np.where(known, met, 0.0)[:, None] * policy
    used = (used / used.sum()).ravel()
    # Both outputs of a pair differ, which makes likely ones a little rarer.
    pair = policy * (1 - policy)
    others = held_out(labelled, np.isin(np.arange(len(places)), context[rows[near]]))
    pair = (others[:, None] * pair / pair.sum(axis=1, keepdims=True)).ravel()
    types = clusters(vectors, FINE_TYPES, seed)
    labelled_texts = set(reference)
    judged = np.array([text in labelled_texts for text in population])
    return {
        "rho, exact": (found["rho_exact"], float(used[judged].sum())),
        "rho, support": (found["rho"], inside(distance, pair, used)),
        "rho, mass": (found["rho_mass"], float(used[np.isin(types[2], types[0])].sum())),
    }


def gaps(world: ClinicWorld, rng: np.random.Generator) -> Found:
    """J of the first policy, and what tilting it gains and loses at the audit's betas."""
    careful = world.true_reward_table(0) + world.tastes.mean(axis=0)  # booking's, everywhere
    samples = _samples(world, *SAMPLES, rng)
    gold = world.true_reward(samples.contexts[:, None], samples.outputs)
    proxy = careful[samples.outputs]
    codes = np.arange(len(gold))
    weights = _alike(world)
    first = world.expected_reward(distribution=weights)
    found: Found = {"J of the first policy": (cluster_mean(gold.mean(axis=1), codes), first)}
    gold_sd = _within_sd(world, weights, world.true_reward_table)
    proxy_sd = _within_sd(world, weights, lambda context: careful)
    start = first / gold_sd
    for beta in BETAS:
        estimate = performance_gap(gold, proxy, beta, codes)
        best, got = (
            world.expected_reward(world.tilted(reward, beta * sd), distribution=weights) / gold_sd
            for reward, sd in (
                (world.true_reward_table, gold_sd),
                (lambda context: careful, proxy_sd),
            )
        )
        found |= {
            f"J gained by the truth, beta {beta:g}": (estimate.gold, best - start),
            f"J gained by the model, beta {beta:g}": (estimate.proxy, got - start),
            f"Delta J, beta {beta:g}": (estimate.gap, best - got),
        }
    return found


def held_out(drawn: Floats, near: NDArray[np.bool_]) -> Floats:
    """How likely each context is a calibration row: drawn at least once, and no neighbour."""
    chance = np.where(near, 0.0, 1 - (1 - drawn) ** FEEDBACK)
    return chance / chance.sum()


def inside(distance: Floats, reference: Floats, deployment: Floats) -> float:
    """Deployment's mass no farther than 95 % of the reference's mass."""
    order = np.argsort(distance, kind="stable")
    level = np.cumsum(reference[order])
    threshold = distance[order][np.searchsorted(level, 0.95 - 1e-12)]
    return float(deployment[distance <= threshold].sum())


class _Samples:
    def __init__(self, contexts: Integers, outputs: Integers) -> None:
        self.contexts, self.outputs = contexts, outputs


def _samples(world: ClinicWorld, n: int, k: int, rng: np.random.Generator) -> _Samples:
    drawn = rng.choice(world.n_contexts, n, p=world.deployment_distribution)
    outputs = [rng.choice(world.n_outputs, k, p=np.exp(world.log_policy(c))) for c in drawn]
    return _Samples(drawn, np.stack(outputs))


def _alike(world: ClinicWorld) -> Floats:
    """The deployment's weights, with each family and kind's on one of its contexts.

    Neither policies nor rewards differ among those, so sums over contexts stay what they are.
    """
    alike = world.contexts.groupby(["family", "kind"]).ngroup().to_numpy()
    _, one = np.unique(alike, return_index=True)
    weights = np.zeros(world.n_contexts)
    weights[one] = np.bincount(alike, world.deployment_distribution)
    return weights


def _within_sd(world: ClinicWorld, weights: Floats, reward: Any) -> float:
    """Root of the mean over contexts of the variance under the first policy."""
    total = 0.0
    for context in np.flatnonzero(weights):
        weight = weights[context]
        policy, values = world.log_policy(context), reward(context)
        mean = expectation(policy, values)
        total += weight * expectation(policy, (values - mean) ** 2)
    return float(np.sqrt(total))


def _distributions(world: ClinicWorld) -> tuple[Floats, Floats]:
    return world.feedback_distribution, world.deployment_distribution


@cache
def _texts(contexts: tuple[int, ...], outputs: tuple[int, ...]) -> NDArray[np.object_]:
    """Every output of every context, (n_contexts, n_outputs): the same in all seeds."""
    world = ClinicWorld()
    return np.array([[world.output_text(c, o) for o in outputs] for c in contexts], dtype=object)


def _few_outputs(world: ClinicWorld) -> Integers:
    others = [name for name in world.features.columns if name not in SLOTS]
    return np.flatnonzero((world.features[others] == 0).all(axis=1).to_numpy())


def _draw(policy: Floats, rng: np.random.Generator) -> Integers:
    """One output for each row of probabilities."""
    below = rng.random((len(policy), 1)) >= policy.cumsum(axis=1)[:, :-1]
    return below.sum(axis=1).astype(np.int64)


def _two_outputs(policy: Floats, rng: np.random.Generator) -> tuple[Integers, Integers]:
    first, second = _draw(policy, rng), _draw(policy, rng)
    while (same := first == second).any():
        first[same], second[same] = _draw(policy[same], rng), _draw(policy[same], rng)
    return first, second


def _table(columns: dict[str, Any], kind: DataType) -> Dataset:
    frame = pd.DataFrame(columns)
    frame["id"] = [f"{kind}-{i}" for i in range(len(frame))]
    frame["row"] = np.arange(1, len(frame) + 1)
    if kind == "preference":
        frame["tie"] = False
    return Dataset(kind, frame, Source("drawn", "0" * 64, len(frame), len(frame), 0))


def _case(
    *,
    pairs: dict[str, Any],
    deployment: dict[str, Any] | None,
    evaluation: dict[str, Any],
    seed: int,
) -> Case:
    return Case(
        model=given_function(lambda texts: [0.0] * len(texts)),
        eval=_table(evaluation, "preference"),
        feedback=_table(pairs, "preference"),
        deployment=None if deployment is None else _table(deployment, "deployment"),
        seed=seed,
    )


def _codes(data: Dataset | None) -> Integers:
    if data is None:
        raise ValueError("the case has no deployment")
    return data.clusters


def report(lines: Sequence[dict[str, list[float]]]) -> str:
    """A Markdown table: how many intervals hold the value, mean estimate and mean value."""
    rows = ["| estimate | holds | defined | mean estimate | mean value | mean width |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    shares = []
    for name in lines[0]:
        values = np.array([line[name] for line in lines], dtype=float)  # value, low, high, truth
        defined = values[np.isfinite(values[:, 0])]
        holds = (defined[:, 1] <= defined[:, 3]) & (defined[:, 3] <= defined[:, 2])
        shares.append(holds.mean())
        rows.append(
            f"| {name} | {int(holds.sum())} | {len(defined)} | {defined[:, 0].mean():.4f} | "
            f"{defined[:, 3].mean():.4f} | {(defined[:, 2] - defined[:, 1]).mean():.4f} |"
        )
    rows.append(f"| all | {np.mean(shares):.1%} | | | | |")
    return "\n".join(rows)


def main() -> None:
    """Go on from what the file holds; print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    path = Path(sys.argv[2] if len(sys.argv) > 2 else "population.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for seed in range(len(lines), seeds):
        found = one_seed(seed)
        lines.append({k: [e.value, e.low, e.high, true] for k, (e, true) in found.items()})
        with path.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
    print(report(lines[:seeds]))


if __name__ == "__main__":
    main()
