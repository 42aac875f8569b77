"""Results on published data: RewardMATH, AlpacaEval's null model, annotators, length."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import rmaudit as rma
from reproductions.cells import interval, show
from rmaudit.stats.intervals import cluster_mean

RIDGE = 300.0  # nats; of heads on 384 features and 800 pairs, not tuned
PAIRS = 800
MOST = 0.3  # of the prompts that a generator must have been judged on
SAME = {  # names of one model in the two files of RewardMATH
    "GRM-Llama3-8B": "grm_llama3",
    "GRM_Gemma_2B": "grm_gemma",
    "Skywork-Llama-3.1-8B": "skywork_llama3",
    "internlm2-20b": "internlm2_20b",
}


def rewardmath(data: Path) -> None:
    """Accuracy on one pair a problem, and on one correct solution of ten, of the same models."""
    pairs = list(_rows(data / "rewardmath/math_prm_pair_scores.jsonl.gz"))
    tens = list(_rows(data / "rewardmath/rm_scores_10way.jsonl.gz"))
    rows, falls = [], []
    for name in pairs[0]["scores"]:
        other = SAME.get(name, name)
        both = other in tens[0]["scores"]
        margin = np.array([_margin(row["scores"][name]) for row in pairs])
        one = _share((margin > 0) + 0.5 * (margin == 0))
        if not both:
            rows.append([name, interval(one), "not scored"])
            continue
        scores = np.array([row["scores"][other] for row in tens], dtype=float)
        best = scores.max(axis=1, keepdims=True) == scores  # the first solution is the correct one
        ten = _share(best[:, 0] / best.sum(axis=1))
        falls.append(one.value - ten.value)
        rows.append([name, interval(one), interval(ten)])
    show(["reward model", f"of two ({len(pairs)} pairs)", f"of ten ({len(tens)})"], rows)
    print(f"of two less of ten: {min(falls):.2f} to {max(falls):.2f} over {len(falls)} models")


def _margin(scores: dict[str, float]) -> float:
    return float(scores["chosen"]) - float(scores["rejected"])


def null_model(data: Path) -> None:
    """How often AlpacaEval's judge prefers one constant answer to GPT-4's."""
    rows = list(_rows(data / "alpaca_eval/judge_scores.jsonl.gz"))
    judge = "gpt4_turbo_weighted_vs_gpt4_1106"
    wins: dict[str, list[float]] = {}
    for row in rows:
        for name, win in zip(row["generators"], row["scores"][judge], strict=True):
            if win is not None:
                wins.setdefault(name, []).append(win)
    seen = {name: values for name, values in wins.items() if len(values) >= MOST * len(rows)}
    shown = [(name, cluster_mean(np.array(v), np.arange(len(v)))) for name, v in seen.items()]
    shown.sort(key=lambda each: -each[1].value)
    picked = [each for each in shown if each[0] == "NullModel"]
    picked += [each for each in shown if each[0] != "NullModel"][:3]
    cells = [[name, interval(found), str(found.n)] for name, found in picked]
    show(["generator", "win rate", "prompts"], cells)
    place = [name for name, _ in shown].index("NullModel") + 1
    print(f"the null model is number {place} of {len(shown)}")


def annotators(data: Path) -> None:
    """Krippendorff's alpha, and how well the others' majority predicts a left-out annotator."""
    zero = rma.load_reward_model(lambda texts: [0.0] * len(texts))
    rows = []
    for name, file in (
        ("PandaLM", "pandalm/pairs_3annotators"),
        ("DICES 350", "dices/dices_350"),
        ("DICES 990", "dices/dices_990"),
    ):
        report = rma.audit(zero, data / f"{file}.jsonl.gz", only=["annotators"], cache=False)
        found = [report[f"annotators.{m}"] for m in ("alpha", "noise_ceiling")]
        rows.append([name, *map(interval, found), str(found[0].n)])
    show(["data", "alpha", "accuracy of the others' majority", "items"], rows)


def length(data: Path) -> None:
    """How a trained reward follows length, and how well length alone ranks the pairs."""
    from reproductions.minilm import cross_fitted, embed

    rows = []
    for name, file, subset in (
        ("WebGPT", "webgpt/pairs", None),
        ("HH-RLHF, helpful", "hh_rlhf/train", "helpful-base"),
    ):
        frame = rma.load(data / f"{file}.jsonl.gz").frame
        frame = frame[~frame["tie"].to_numpy(dtype=bool)]
        frame = frame if subset is None else frame[frame["subset"] == subset]
        frame = frame.head(PAIRS)
        prompts = [_last_turn(prompt) for prompt in frame["prompt"]]
        sides = [frame[side].tolist() for side in ("chosen", "rejected")]
        vectors = embed(prompts * 2, [*sides[0], *sides[1]])
        codes = np.unique(prompts, return_inverse=True)[1]
        half = len(frame)
        chosen, rejected = cross_fitted(vectors[:half], vectors[half:], codes, RIDGE)
        longer = np.sign([len(a.split()) - len(b.split()) for a, b in zip(*sides, strict=True)])
        model = np.sign(chosen - rejected)
        different = longer != 0
        rows.append(
            [
                name,
                str(half),
                interval(_share((model > 0) + 0.5 * (model == 0), codes)),
                interval(_share((longer > 0) + 0.5 * (longer == 0), codes)),
                interval(_share((model == longer)[different], codes[different])),
                f"{_correlation(chosen - rejected, sides):.2f}",
            ]
        )
    head = ["data", "pairs", "accuracy of the model", "accuracy of the longer one"]
    show([*head, "model prefers the longer", "correlation of margin and log length ratio"], rows)


def _correlation(margin: np.ndarray, sides: list[list[str]]) -> float:
    lengths = np.log([[1 + len(text.split()) for text in side] for side in sides])
    return float(np.corrcoef(margin, lengths[0] - lengths[1])[0, 1])


def _share(values: np.ndarray, codes: np.ndarray | None = None) -> Any:
    values = np.asarray(values, dtype=np.float64)
    return cluster_mean(values, np.arange(len(values)) if codes is None else codes, bounds=(0, 1))


def _last_turn(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)
