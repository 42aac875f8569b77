"""Real perturbations beside ours, and real scores by country.

    python benchmarks/stress_real.py perturbed --model MODEL --data rm_bench_perturbed [--pairs 120]
    python benchmarks/stress_real.py countries --data country_bias/starling_rm_scores.jsonl.gz

`perturbed` scores RM-Bench pairs under the prompt variants that RewardAuditor ships, under ours of
the same kind, and paraphrased; effects are changes of the margin in within-prompt SDs. `countries`
takes the published scores of Starling-RM on sentences that differ in the country's name alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtr
from scipy.stats import false_discovery_control

import rmaudit as rma
from rmaudit.data.types import Prompt
from rmaudit.probes.texts import request_of, with_request
from rmaudit.probes.transforms import Subject, find_transform
from rmaudit.results import Estimate
from rmaudit.scoring import open_store
from rmaudit.scoring import score as run_requests
from rmaudit.scoring.requests import Request
from rmaudit.stats import cluster_mean, within_prompt_sd

# Theirs, and the transform of ours that does the same to the prompt.
KINDS = {
    "random_handle": "random_handle",
    "random_url": "random_url",
    "typos": "typos",
    "punctuation_spacing": "punctuation",
    "quoted": "",
}


def rows(path: Path) -> list[dict[str, Any]]:
    """A file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def perturbed(model: str, folder: Path, pairs: int, store: Path | None) -> None:
    """Margins under their variants and under ours."""
    every = rows(folder / "prompt_perturbations.jsonl.gz")
    order = np.random.default_rng(0).permutation(len(every))[:pairs]
    table = [every[i] for i in order]
    prompts: dict[str, list[Prompt | None]] = {"own": [row["prompt"] for row in table]}
    for theirs, ours in KINDS.items():
        prompts[f"{theirs}, theirs"] = [row["prompt_variants"].get(theirs) for row in table]
        if ours:
            prompts[f"{theirs}, ours ({ours})"] = [changed(ours, row["prompt"]) for row in table]
    ids = [row["id"] for row in table]
    requests = []
    for name, column in prompts.items():
        own: list[Prompt] = [p or row["prompt"] for p, row in zip(column, table, strict=True)]
        for side in ("chosen", "rejected"):
            outputs = [row[side] for row in table]
            requests.append(Request(f"{name}:{side}", ids, own, outputs, "real"))
    with open_store(store) as opened:
        scores = run_requests(rma.load_reward_model(model), requests, store=opened)
    reward = {request.side: scores.reward(request.side, audit="real") for request in requests}
    cluster = np.unique([row["group"] for row in table], return_inverse=True)[1]
    both = np.r_[reward["own:chosen"], reward["own:rejected"]]
    sd = within_prompt_sd(both, np.r_[cluster, cluster])
    before = reward["own:chosen"] - reward["own:rejected"]
    print(f"{len(table)} pairs, accuracy {shown(cluster_mean(before > 0, cluster))}")
    for name, column in prompts.items():
        if name != "own":
            kept = np.array([bool(p) for p in column])
            after = reward[f"{name}:chosen"] - reward[f"{name}:rejected"]
            change = (after - before)[kept] / sd
            moved = cluster_mean(np.abs(change), cluster[kept])
            flips = cluster_mean((after * before < 0)[kept], cluster[kept])
            print(
                f"{name}: {shown(cluster_mean(change, cluster[kept]))} SD, "
                f"absolute {shown(moved)}, flips {shown(flips)}, n {int(kept.sum())}"
            )


def changed(name: str, prompt: Prompt) -> Prompt | None:
    """The prompt after one of our transforms; None where it does not apply."""
    transform = find_transform(name)
    request = request_of(prompt)
    text = transform.apply(Subject(request), 0, transform.check({}))
    return None if text is None else with_request(prompt, text)


def countries(path: Path) -> None:
    """Each country's mean standardised score, over sentences that praise and that blame."""
    table = rows(path)
    frame = pd.DataFrame([row["scores"] for row in table], dtype=float)
    sentiment = np.array([str(row["sentiment"]) for row in table])
    deviation = frame.sub(frame.mean(axis=1), axis=0)
    standard = deviation.div(deviation.std(axis=1), axis=0)  # (sentences, countries)
    means = {}
    for name in sorted(set(sentiment)):
        part = standard[sentiment == name]
        n = len(part)
        means[name] = part.mean()
        t = means[name] / (part.std() / np.sqrt(n))
        p = 2 * stdtr(n - 1, -np.abs(t))
        told = int((false_discovery_control(p) < 0.05).sum())
        ordered = means[name].sort_values()
        print(f"{name}: {n} sentences, {told} of {part.shape[1]} countries off the mean (BH 5 %)")
        for place in (*ordered.index[:3], *ordered.index[-3:]):
            half = 1.96 * part[place].std() / np.sqrt(n)
            low, high = ordered[place] - half, ordered[place] + half
            print(f"  {place}: {ordered[place]:+.2f} SD ({low:+.2f} to {high:+.2f})")
    names: Sequence[str] = list(means)
    if len(names) > 1:
        first, second = means["positive"], means["negative"]
        print(f"correlation of the means, praise with blame: {first.corr(second):.2f}")


def shown(found: Estimate) -> str:
    """A number and its interval."""
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("perturbed", "countries"))
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=120)
    parser.add_argument("--store", type=Path)
    given = parser.parse_args()
    if given.what == "perturbed":
        perturbed(given.model, given.data, given.pairs, given.store)
    else:
        countries(given.data)


if __name__ == "__main__":
    main()
