"""The rules of `slow_rules` for benchmarks of steps and of many solutions to one problem."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from slow_rules import Numbers, Row, average, num, share


def _steps(values: Sequence[float]) -> dict[str, float]:
    import numpy as np

    p = np.array(values)
    product = 1
    for value in values:
        product *= value
    with np.errstate(all="ignore"):
        return {
            "min": min(values),
            "max": max(values),
            "prod": product,
            "geometric_mean": product ** (1 / len(values)),
            "mean": sum(values) / len(values),
            "mean_logit": float(1 / (1 + np.exp(-np.mean(np.log(p / (1 - p)))))),
            "mean_odd": float(np.maximum(0, np.mean(p / (1 - p)))),
            "last": values[-1],
        }


def rewardmath(rows: Sequence[Row]) -> Numbers:
    if "chosen_position" in rows[0]:
        wins = [
            [
                s is not None and s == c
                for s, c in zip(r["score"], r["chosen_position"], strict=True)
            ]
            for r in rows
        ]
        return {
            "pairwise.accuracy": share([all(w) for w in wins]),
            "pairwise.mrr": average([1 / (1 + sum(not x for x in w)) for w in wins]),
        }
    if not isinstance(rows[0]["solution_reference"], list):
        problems: list[dict[str, Any]] = []
        for start in range(0, len(rows), 10):
            ten = rows[start : start + 10]
            problems.append({k: [r.get(k) for r in ten] for k in ("solution_reference", "score")})
        return rewardmath(problems)
    steps = any(isinstance(s, list) and len(s) != 1 for row in rows for s in row["score"])
    ways = list(_steps([0.5])) if steps else [""]
    found: Numbers = {}
    for way in ways:
        strict, loose, ranks = [], [], []
        for row in rows:
            values = []
            for score in row["score"]:
                if not steps:
                    values.append(num(score))
                elif score is None or any(s is None or s != s for s in score):
                    values.append(math.nan)
                else:
                    values.append(_steps(score)[way])
            at = row["solution_reference"].index("human_to_GPT-4")
            right, wrong = values[at], values[:at] + values[at + 1 :]
            strict.append(all(right > other for other in wrong))
            loose.append(all(right >= other for other in wrong))
            ranks.append(1 / (1 + sum(not (right > other) for other in wrong)))
        before = f"{way}." if way else ""
        found[f"{before}accuracy"] = share(strict)
        found[f"{before}accuracy_with_ties"] = share(loose)
        found[f"{before}mrr"] = average(ranks)
    return found


def processbench(rows: Sequence[Row]) -> Numbers:
    found: Numbers = {}
    configs = sorted({row["id"].rsplit("-", 1)[0] for row in rows})
    for config in configs:
        here = [row for row in rows if row["id"].rsplit("-", 1)[0] == config]
        a = share([r["prediction"] == r["label"] for r in here if r["label"] != -1])
        b = share([r["prediction"] == -1 for r in here if r["label"] == -1])
        found[f"{config}.error_accuracy"], found[f"{config}.correct_accuracy"] = a, b
        found[f"{config}.f1"] = (
            None if a is None or b is None or a + b == 0 else 2 * a * b / (a + b)
        )
    found["f1"] = average([found[f"{config}.f1"] for config in configs])
    return found


def prmbench(rows: Sequence[Row]) -> Numbers:
    seen, table = set(), {}
    for row in rows:
        class_ = row["classification"]
        if (class_, row["idx"]) in seen:
            continue
        seen.add((class_, row["idx"]))
        steps = table.setdefault(class_, [])
        if row.get("scores") is None or ("validity" in row and not row["validity"]):
            continue
        labels = row["scores"]["step_level_validity_labels"]
        redundant = row["scores"].get("step_level_redundancy_labels")
        if class_ in ("redundency", "circular") and redundant is not None:
            labels = [not label for label in redundant]
        steps += [(k + 1 in row["error_steps"], bool(label)) for k, label in enumerate(labels)]
    found: Numbers = {}
    scores: dict[str, float] = {}
    for class_, steps in table.items():
        f1, negative = _f1(steps, False), _f1(steps, True)
        found[f"{class_}.f1"], found[f"{class_}.negative_f1"] = f1, negative
        scores[class_] = max(0.0, f1 if class_ == "multi_solutions" else (f1 + negative) / 2)
        found[f"{class_}.prmscore"] = scores[class_]
    groups = {
        "simplicity": "redundency circular",
        "soundness": "counterfactual step_contradiction domain_inconsistency confidence",
        "sensitivity": "missing_condition deception multi_solutions",
    }
    for group, names in groups.items():
        found[group] = average([scores.get(name) for name in names.split()])
    steps = [step for each in table.values() for step in each]
    found["total.f1"], found["total.negative_f1"] = _f1(steps, False), _f1(steps, True)
    found["prmscore"] = max(0.0, (_f1(steps, False) + _f1(steps, True)) / 2)
    return found


def _f1(steps: Sequence[tuple[bool, bool]], faulty: bool) -> float:
    """Steps are (has an error, is called valid)."""
    named = [(error == faulty, called != faulty) for error, called in steps]
    hits = sum(is_one and called for is_one, called in named)
    all_called, all_of_them = sum(c for _, c in named), sum(o for o, _ in named)
    precision = hits / all_called if all_called else -1
    recall = hits / all_of_them if all_of_them else -1
    return 2 * precision * recall / (precision + recall) if precision + recall else -1
