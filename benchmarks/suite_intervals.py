"""Coverage of the intervals of official scores, by simulation.

``python benchmarks/suite_intervals.py 2000 [SUITE ...]`` draws so many sets of rewards per suite
for made-up items, and prints the share of 95% intervals that hold the population's value, which is
taken to be the mean over all draws. Items differ in difficulty, anew in each draw; the responses,
pairs and translations of one item share it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable

import numpy as np

from rmaudit.suites import SUITES, Item
from rmaudit.suites.m_rewardbench import COUNTS
from rmaudit.suites.rewardbench import SECTIONS
from rmaudit.suites.scored import Scored

Rng = np.random.Generator
Rewards = list[np.ndarray]
Setting = tuple[list[Item], Callable[[Rng], Rewards]]
PAIR = ((0, 1),)


def pairs(margins: np.ndarray) -> Rewards:
    """Rewards of two responses from their margins."""
    return list(np.column_stack([margins, np.zeros(len(margins))]))


def rewardbench(_: Rng) -> Setting:
    """The published number of rows of each subset; difficulty differs by subset."""
    subsets = [(name, n) for counts in SECTIONS.values() for name, n in counts.items()]
    rows = {name: 447 if name == "math-prm" else count for name, count in subsets}
    items = [
        Item(f"{name}/{k}", f"{name}/{k}", name, pairs=PAIR)
        for name, count in rows.items()
        for k in range(count)
    ]
    ease = np.repeat(0.2 + 0.08 * np.arange(len(rows)), list(rows.values()))
    return items, lambda rng: pairs(rng.normal(ease))


def m_rewardbench(_: Rng) -> Setting:
    """Four languages and English with the published counts; translations share difficulty."""
    languages = ("deu_Latn", "fra_Latn", "hin_Deva", "zho_Hans", "eng_Latn")
    sources = [(name, n) for counts in COUNTS.values() for name, n in counts.items()]
    rows = [(name, k) for name, n in sources for k in range(447 if name == "math-prm" else n)]
    items = [
        Item(
            f"{language}/{name}/{k}",
            f"{name}/{k}",
            f"{language}/{name}",
            pairs=PAIR,
            facts={"language": language, "source": name},
        )
        for language in languages
        for name, k in rows
    ]
    place = {name: i for i, (name, _) in enumerate(sources)}
    ease = 0.2 + 0.06 * np.array([place[name] for name, _ in rows])

    def draw(rng: Rng) -> Rewards:
        shared = rng.normal(ease, 0.9)
        return pairs(np.concatenate([shared + rng.normal(0, 0.5, len(rows)) for _ in languages]))

    return items, draw


def rm_bench(_: Rng) -> Setting:
    """60 items a domain; nine comparisons of an item share its difficulty."""
    style = np.array([0.0, 0.5, 0.8])
    domains = ("chat", "math", "code", "safety-refuse", "safety-response")
    items = [Item(f"{d}/{k}", f"{d}/{k}", d) for d in domains for k in range(60)]

    def draw(rng: Rng) -> Rewards:
        ease = rng.normal(0.3, 1.0, len(items))[:, None]
        sides = np.hstack([ease + style, np.tile(style, (len(items), 1))])
        return list(sides + rng.normal(0, 0.4, sides.shape))

    return items, draw


def rewardbench2(_: Rng) -> Setting:
    """60 rows a domain and 50 prompts of Ties in both kinds, rated coarsely: with ties."""
    domains = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    one = {"correct": 1}
    items = [Item(f"{d}/{k}", f"{d}/{k}", d, facts=one) for d in domains for k in range(60)]
    plain = len(items)
    for k in range(50):
        for kind, correct in (("ref", 1), ("tied", 4)):
            facts = {"correct": correct, "id": f"{kind}:{k}"}
            items.append(Item(f"Ties/{kind}:{k}", f"Ties/{k}", "Ties", facts=facts))

    def draw(rng: Rng) -> Rewards:
        rewards = list(np.round(rng.normal([0.8, 0, 0, 0], 1.0, (plain, 4)), 1))
        for ease in rng.normal(1.5, 1.0, 50):
            for correct in (1, 4):
                better, worse = rng.normal(ease, 0.5, correct), rng.normal(0, 0.5, 6)
                rewards.append(np.concatenate([better, worse]))
        return rewards

    return items, draw


def rmb(rng: Rng) -> Setting:
    """200 prompts a goal with one to four pairs and one best of n each."""
    items, prompt, ease = [], [], []
    for goal, mean in (("helpfulness", 0.7), ("harmlessness", 0.3)):
        for k in range(200):
            ease.append(mean)
            for kind, size in [*[("pairwise", 2)] * int(rng.integers(1, 5)), ("bon", 4)]:
                facts = {"kind": kind, "goal": goal, "size": size}
                name = f"{goal}/{k}"
                items.append(Item(f"{name}/{len(items)}", name, goal, facts=facts))
                prompt.append(len(ease) - 1)

    def draw(rng: Rng) -> Rewards:
        easy = rng.normal(ease, 0.8)[prompt]
        return [
            np.r_[e, np.zeros(item.facts["size"] - 1)] + rng.normal(0, 0.7, item.facts["size"])
            for e, item in zip(easy, items, strict=True)
        ]

    return items, draw


def ppe(rng: Rng) -> Setting:
    """Five sets of 100 questions, five pairs a question, at times with a response in common."""
    sets = ("mmlu-pro", "math", "gpqa", "ifeval", "mbpp-plus")
    items = []
    for name in sets:
        for k in range(100):
            sampled = tuple((int(rng.integers(4)), 4 + int(rng.integers(4))) for _ in range(5))
            items.append(Item(f"{name}/{k}", f"{name}/{k}", name, pairs=sampled))

    def draw(rng: Rng) -> Rewards:
        ease = rng.normal(0.4, 0.8, len(items))[:, None]
        centre = np.hstack([np.tile(ease, 4), np.zeros((len(items), 4))])
        return list(centre + rng.normal(0, 1, centre.shape))

    return items, draw


def judgebench(_: Rng) -> Setting:
    """350 pairs in the published categories, half of each label."""
    sources = {
        "mmlu-pro": 154,
        "livebench-reasoning": 98,
        "livebench-math": 56,
        "livecodebench": 42,
    }
    items = []
    for name, count in sources.items():
        for k in range(count):
            label = ("A>B", "B>A")[k % 2]
            facts = {"label": label, "decisions": None}
            order = PAIR if label == "A>B" else ((1, 0),)
            items.append(Item(f"{name}/{k}", f"{name}/{k}", name, pairs=order, facts=facts))
    sign = np.array([1.0 if item.pairs == PAIR else -1.0 for item in items])
    return items, lambda rng: pairs(sign * rng.normal(0.3, 1.0, len(items)))


def rewardmath(_: Rng) -> Setting:
    """200 problems, ten solutions each."""
    items = [Item(str(k), str(k), "", facts={"right": 0}) for k in range(200)]

    def draw(rng: Rng) -> Rewards:
        centre = np.hstack([rng.normal(1, 1, (200, 1)), np.zeros((200, 9))])
        return list(rng.normal(centre))

    return items, draw


def processbench(rng: Rng) -> Setting:
    """150 solutions in each of four configs, six steps each; half have a wrong step."""
    items, centres = [], []
    for config, ease in (("gsm8k", 2.0), ("math", 1.6), ("olympiadbench", 1.2), ("omnimath", 1.0)):
        for k in range(150):
            label = int(rng.integers(6)) if rng.random() < 0.5 else -1
            centres.append(np.where(np.arange(6) == label, -ease, ease))
            facts = {"label": label, "prediction": None, "recorded": False}
            items.append(Item(f"{config}-{k}", f"{config}-{k}", config, facts=facts))
    centre = np.array(centres)
    return items, lambda rng: list(rng.normal(centre))


def prmbench(rng: Rng) -> Setting:
    """200 problems in three classes each, five to twelve steps, a fifth of them wrong."""
    items, signs, problem = [], [], []
    for k in range(200):
        for class_ in ("circular", "counterfactual", "deception"):
            wrong = rng.random(int(rng.integers(5, 13))) < 0.2
            facts = {"errors": frozenset(np.flatnonzero(wrong).tolist()), "labels": None}
            items.append(Item(f"{class_}/{k}", str(k), class_, facts=facts))
            signs.append(np.where(wrong, -1.0, 1.0))
            problem.append(k)

    def draw(rng: Rng) -> Rewards:
        ease = rng.normal(0.8, 0.5, 200)[problem]
        return [rng.normal(e * sign) for e, sign in zip(ease, signs, strict=True)]

    return items, draw


DRAWN: dict[str, tuple[Callable[[Rng], Setting], str]] = {
    "rewardbench": (rewardbench, "score"),
    "rewardbench2": (rewardbench2, "score"),
    "rm-bench": (rm_bench, "score"),
    "rmb": (rmb, "score"),
    "ppe": (ppe, "correctness.accuracy"),
    "judgebench": (judgebench, "both.overall"),
    "rewardmath": (rewardmath, "mrr"),
    "processbench": (processbench, "f1"),
    "prmbench": (prmbench, "prmscore"),
    "m-rewardbench": (m_rewardbench, "score"),
}


def main(draws: int, names: Iterable[str]) -> None:
    """One line a suite."""
    for name in names:
        make, headline = DRAWN[name]
        suite, rng = SUITES[name](), np.random.default_rng(0)
        items, draw = make(rng)
        codes = np.unique([item.cluster for item in items], return_inverse=True)[1]
        estimates = []
        for _ in range(draws):
            scored = Scored(items, draw(rng), codes.astype(np.int64), threshold=0.0)
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
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2:] or DRAWN)
