"""Coverage of the intervals of official scores, by simulation.

``python benchmarks/suite_intervals.py 1000`` draws so many data sets per suite from a made-up
population of items, and prints the share of 95% intervals that hold the population's value, which
is taken to be the mean over all draws. Items differ in difficulty, responses of one item share it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from rmaudit.suites import SUITES, Item
from rmaudit.suites.rewardbench import SECTIONS
from rmaudit.suites.scored import Scored

Rng = np.random.Generator
Draw = Callable[[Rng], tuple[list[Item], list[np.ndarray]]]


def rewardbench(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """The published number of rows of each subset; difficulty differs by subset."""
    items, rewards = [], []
    subsets = [(name, n) for counts in SECTIONS.values() for name, n in counts.items()]
    for place, (name, count) in enumerate(subsets):
        rows = 447 if name == "math-prm" else count
        margins = rng.normal(0.2 + 0.08 * place, 1.0, rows)
        for k, margin in enumerate(margins):
            items.append(Item(f"{name}/{k}", f"{name}/{k}", name, pairs=((0, 1),)))
            rewards.append(np.array([margin, 0.0]))
    return items, rewards


def rm_bench(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """60 items a domain; nine comparisons of an item share its difficulty."""
    items, rewards = [], []
    style = np.array([0.0, 0.5, 0.8])
    for domain in ("chat", "math", "code", "safety-refuse", "safety-response"):
        for k in range(60):
            item = rng.normal(0.3, 1.0)
            sides = [item + style, style]
            rewards.append(np.concatenate(sides) + rng.normal(0, 0.4, 6))
            items.append(Item(f"{domain}/{k}", f"{domain}/{k}", domain))
    return items, rewards


def rewardbench2(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """60 rows a domain and 50 prompts of Ties in both kinds, rated coarsely: with ties."""
    items, rewards = [], []
    for domain in ("Factuality", "Precise IF", "Math", "Safety", "Focus"):
        for k in range(60):
            scores = np.round(rng.normal([0.8, 0, 0, 0], 1.0), 1)
            items.append(Item(f"{domain}/{k}", f"{domain}/{k}", domain, facts={"correct": 1}))
            rewards.append(scores)
    for k in range(50):
        ease = rng.normal(1.5, 1.0)
        for kind, correct in (("ref", 1), ("tied", 4)):
            scores = np.concatenate([ease + rng.normal(0, 0.5, correct), rng.normal(0, 0.5, 6)])
            facts = {"correct": correct, "id": f"{kind}:{k}"}
            items.append(Item(f"Ties/{kind}:{k}", f"Ties/{k}", "Ties", facts=facts))
            rewards.append(scores)
    return items, rewards


def rmb(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """200 prompts a goal with one to four pairs and one best of n each."""
    items, rewards = [], []
    for goal, ease in (("helpfulness", 0.7), ("harmlessness", 0.3)):
        for k in range(200):
            prompt = rng.normal(ease, 0.8)
            for kind, size in [*[("pairwise", 2)] * int(rng.integers(1, 5)), ("bon", 4)]:
                scores = np.concatenate([[prompt], np.zeros(size - 1)]) + rng.normal(0, 0.7, size)
                facts = {"kind": kind, "goal": goal}
                name = f"{goal}/{k}"
                items.append(Item(f"{name}/{len(items)}", name, goal, facts=facts))
                rewards.append(scores)
    return items, rewards


def rewardmath(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """200 problems, ten solutions each."""
    items = [Item(str(k), str(k), "", facts={"right": 0}) for k in range(200)]
    return items, [rng.normal(np.r_[rng.normal(1, 1), np.zeros(9)], 1.0) for _ in items]


def processbench(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """150 solutions in each of four configs, six steps each; half have a wrong step."""
    items, rewards = [], []
    for config, ease in (("gsm8k", 2.0), ("math", 1.6), ("olympiadbench", 1.2), ("omnimath", 1.0)):
        for k in range(150):
            label = int(rng.integers(6)) if rng.random() < 0.5 else -1
            centre = np.where(np.arange(6) == label, -ease, ease)
            facts = {"label": label, "prediction": None, "recorded": False}
            items.append(Item(f"{config}-{k}", f"{config}-{k}", config, facts=facts))
            rewards.append(centre + rng.normal(0, 1, 6))
    return items, rewards


def prmbench(rng: Rng) -> tuple[list[Item], list[np.ndarray]]:
    """200 problems in three classes each, five to twelve steps, a fifth of them wrong."""
    items, rewards = [], []
    for k in range(200):
        ease = rng.normal(0.8, 0.5)
        for class_ in ("circular", "counterfactual", "deception"):
            size = int(rng.integers(5, 13))
            errors = frozenset(np.flatnonzero(rng.random(size) < 0.2).tolist())
            centre = np.array([-ease if step in errors else ease for step in range(size)])
            facts = {"errors": errors, "labels": None}
            items.append(Item(f"{class_}/{k}", str(k), class_, facts=facts))
            rewards.append(centre + rng.normal(0, 1, size))
    return items, rewards


SUITES_DRAWN: dict[str, tuple[Draw, str]] = {
    "rewardbench": (rewardbench, "score"),
    "rewardbench2": (rewardbench2, "score"),
    "rm-bench": (rm_bench, "score"),
    "rmb": (rmb, "score"),
    "rewardmath": (rewardmath, "mrr"),
    "processbench": (processbench, "f1"),
    "prmbench": (prmbench, "prmscore"),
}


def main(draws: int) -> None:
    """One line a suite."""
    for name, (draw, headline) in SUITES_DRAWN.items():
        suite, rng = SUITES[name](), np.random.default_rng(0)
        estimates = []
        for _ in range(draws):
            items, rewards = draw(rng)
            codes = np.unique([item.cluster for item in items], return_inverse=True)[1]
            scored = Scored(items, rewards, codes.astype(np.int64), threshold=0.0)
            estimates.append(suite.official(scored)[headline].estimate(0.95))
        truth = float(np.mean([e.value for e in estimates]))
        held = np.mean([e.low <= truth <= e.high for e in estimates])
        width = np.mean([e.high - e.low for e in estimates])
        sd = np.std([e.value for e in estimates])
        print(
            f"{name}: {headline} {truth:.4f}, 95% intervals hold it in {held:.1%} of {draws}; "
            f"mean width {width:.4f}, SD of the score {sd:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
