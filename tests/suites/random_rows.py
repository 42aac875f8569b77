"""Random score files in each benchmark's schema: ties, NaN, missing rewards, missing groups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from published_rows import best_of, judged, pair, rmb_best, rmb_pair, styled
from slow_rules import SUBSETS

Rows = list[dict[str, Any]]


class Draw:
    """Random choices of one file; half of the files have ties, half missing rewards."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.levels = int(self.rng.choice([2, 3, 1000]))  # few: many ties
        self.missing = float(self.rng.choice([0.0, 0.0, 0.1]))
        self.nested = bool(self.rng.random() < 0.3)

    def reward(self) -> Any:
        """A number, a list with one number, NaN or null."""
        if self.rng.random() < self.missing:
            return [None, math.nan][int(self.rng.integers(2))]
        value = float(self.rng.integers(self.levels)) / 2
        return [value] if self.nested and self.rng.random() < 0.5 else value

    def rewards(self, count: int) -> list[Any]:
        """Several rewards."""
        return [self.reward() for _ in range(count)]

    def some(self, names: Sequence[str]) -> list[str]:
        """At least one of the names."""
        kept = [name for name in names if self.rng.random() < 0.8]
        return kept or [names[0]]

    def count(self, low: int, high: int) -> int:
        """A number of rows, high included."""
        return int(self.rng.integers(low, high + 1))

    def one(self, options: Sequence[Any]) -> Any:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]


def rewardbench(draw: Draw) -> Rows:
    prior = ["anthropic_helpful", "anthropic_hhh", "shp", "summarize", "mtbench_human"]
    names = draw.some(SUBSETS) + (draw.some(prior) if draw.rng.random() < 0.5 else [])
    return [
        pair(name, draw.reward(), draw.reward(), k)
        for name in names
        for k in range(draw.count(1, 4))
    ]


def m_rewardbench(draw: Draw) -> Rows:
    rows = []
    for language in draw.some(["deu_Latn", "eng_Latn", "ind_Latn", "kor_Hang"]):
        for row in rewardbench(draw):
            if row["subset"] in SUBSETS:
                rows.append({**row, "language": language, "source": row.pop("subset")})
    return rows


def rewardbench2(draw: Draw) -> Rows:
    domains = ["Factuality", "Precise IF", "Math", "Safety", "Focus"]
    kept = domains if draw.rng.random() < 0.7 else draw.some(domains)
    rows = [
        best_of(name, draw.rewards(4), str(k)) for name in kept for k in range(draw.count(1, 5))
    ]
    for number in range(draw.count(0, 4)):
        for kind in draw.some(["ref", "tied"]):
            correct = 1 if kind == "ref" else draw.count(2 if draw.rng.random() < 0.95 else 1, 4)
            size = correct + draw.count(1, 3)
            rows.append(best_of("Ties", draw.rewards(size), f"{kind}:{number}", correct))
    return rows


def rm_bench(draw: Draw) -> Rows:
    names = ["chat", "math", "code", "safety-refuse", "safety-response"]
    kept = names if draw.rng.random() < 0.7 else draw.some(names)
    return [
        styled(name, draw.rewards(3), draw.rewards(3), k)
        for name in kept
        for k in range(draw.count(1, 6))
    ]


def rmb(draw: Draw) -> Rows:
    paths = ["Helpfulness/Chat/A", "Helpfulness/Code/B", "Harmlessness/S1", "Harmlessness/multi"]
    rows = [
        rmb_pair(path, draw.reward(), draw.reward(), 100 * i + k)
        for i, path in enumerate(draw.some(paths))
        for k in range(draw.count(1, 5))
    ]
    return rows + [
        rmb_best(path, draw.rewards(draw.count(3, 7)), 100 * i + k)
        for i, path in enumerate(draw.some(paths))
        for k in range(draw.count(1, 5))
    ]


def ppe(draw: Draw) -> Rows:
    rows: Rows = []
    if draw.rng.random() < 0.7:
        for k in range(draw.count(1, 8)):
            row = {"question_id": f"h{k}", "model_a": "a", "model_b": "b", "prompt": f"q{k}"}
            row |= {"winner": draw.one(["model_a", "model_b", "tie", "tie (bothbad)"])}
            row |= {"response_1": "one", "response_2": "another"}
            rows.append(row | {f"score_{i}": draw.reward() for i in (1, 2)})
    for column in draw.some(["answer_index", "test_list"]):
        for k in range(draw.count(1, 3)):
            right = [bool(draw.rng.random() < 0.5) for _ in range(30)] + [True, False]
            yes = [i for i in range(32) if right[i]]
            no = [i for i in range(32) if not right[i]]
            pairs = [[draw.one(yes), draw.one(no)][:: draw.one([1, -1])] for _ in range(5)]
            row = {"question_id": f"{column}{k}", "prompt": f"p{k}", column: 0, "scores": right}
            row |= {f"response_{i}": f"r{i}" for i in range(1, 33)}
            row |= {f"score_{i}": draw.reward() for i in range(1, 33)}
            rows.append(row | {"sampled_conflict_pairs": pairs})
    return rows


def judgebench(draw: Draw) -> Rows:
    sources = draw.some(
        ["mmlu-pro-law", "livebench-reasoning", "livebench-math", "livecodebench", "other"]
    )
    scalar = draw.rng.random() < 0.5
    single = draw.rng.random() < 0.2
    decisions = ["A>B", "B>A", "A=B", None, "A>>B"]
    rows = []
    for k in range(draw.count(2, 20)):
        label = draw.one(["A>B", "B>A"])
        if not scalar:
            said = [draw.one(decisions) for _ in range(1 if single else 2)]
            rows.append(judged(label, said, draw.one(sources), k))
            continue
        scores = draw.rewards(2)
        a, b = (math.nan if s is None else s[0] if isinstance(s, list) else s for s in scores)
        judgment = {"judgment": {"scores": scores}, "decision": "A>B" if a > b else "B>A"}
        rows.append({**judged(label, [], draw.one(sources), k), "judgments": [judgment]})
    return rows


def rewardmath(draw: Draw) -> Rows:
    kind = draw.one(["rows", "results", "steps", "pairs"])
    references = ["human_to_GPT-4", *(f"writer-{k}" for k in range(9))]
    rows: Rows = []
    for k in range(draw.count(1, 6)):
        if kind == "pairs":
            said = [draw.one(["A", "B", None]) for _ in range(9)]
            places = [draw.one(["A", "B"]) for _ in range(9)]
            row = {"problem": f"p{k}", "solution_reference": references[1:], "score": said}
            rows.append(row | {"chosen_position": places})
            continue
        order = [references[i] for i in draw.rng.permutation(10)]
        scores: list[Any] = draw.rewards(10)
        if kind == "steps":
            scores = [
                [float(draw.rng.integers(1, 20)) / 20 for _ in range(draw.count(2, 6))]
                for _ in range(10)
            ]
            if draw.missing:
                scores[draw.count(0, 9)] = draw.one([None, [0.5, None], [math.nan, 0.5]])
        if kind != "rows":
            rows.append({"problem": f"p{k}", "solution_reference": order, "score": scores})
            continue
        rows += [
            {"problem": f"p{k}", "problem_id": k, "solution_reference": name, "score": score}
            | {"eval_solution": ["one step", "another"]}
            for name, score in zip(order, scores, strict=True)
        ]
    return rows


def processbench(draw: Draw) -> Rows:
    rows = []
    for config in draw.some(["gsm8k", "math", "olympiadbench", "omnimath"]):
        for k in range(draw.count(1, 8)):
            label = draw.count(-1, 2)
            said = draw.one([label, label, -1, 0, 1, 2, None])
            row = {"id": f"{config}-{k}", "problem": f"{config}{k}", "steps": ["a", "b", "c"]}
            rows.append(row | {"label": label, "prediction": said})
    return rows


def prmbench(draw: Draw) -> Rows:
    names = ["redundency", "circular", "counterfactual", "step_contradiction"]
    names += ["domain_inconsistency", "confidence", "missing_condition", "deception"]
    good = draw.one([0.0, 0.5, 0.9, 1.0])
    rows: Rows = []
    for name in draw.some([*names, "multi_solutions"]):
        for k in range(draw.count(1, 4)):
            size = draw.count(1, 5)
            errors = [s for s in range(1, size + 2) if draw.rng.random() < 0.3]
            labels = [[bool(draw.rng.random() < good) for _ in range(size)] for _ in range(2)]
            scores = {"step_level_validity_labels": labels[0]}
            if draw.rng.random() < 0.5:
                scores["step_level_redundancy_labels"] = labels[1]
            row = {"classification": name, "idx": f"i{k}", "modified_question": f"q{k}"}
            row |= {"modified_process": [f"step {s}" for s in range(size)], "scores": scores}
            row |= {"error_steps": [] if name == "multi_solutions" else errors}
            if draw.rng.random() < 0.2:
                row["validity"] = draw.one([True, False])
            rows.append(row)
    return rows + rows[: draw.count(0, 2)]  # repeated items


ROWS: dict[str, Callable[[Draw], Rows]] = {
    "rewardbench": rewardbench,
    "rewardbench2": rewardbench2,
    "rm-bench": rm_bench,
    "rmb": rmb,
    "ppe": ppe,
    "judgebench": judgebench,
    "rewardmath": rewardmath,
    "processbench": processbench,
    "prmbench": prmbench,
    "m-rewardbench": m_rewardbench,
}
