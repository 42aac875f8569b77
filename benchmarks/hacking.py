"""Does the search by gradients beat the search by trial, and both random words, at equal budget?

    python benchmarks/hacking.py MODEL PAIRS [--texts 1000] [--seeds 3] [--limit 300]

MODEL is a transformers reward model, PAIRS preference data. Both searches get the same budget in
texts (a gradient counts three); what they find on one half of the prompts is tried on the other.
Prints a Markdown row for each length: share of the pairs ranked right that are turned, mean over
seeds and the range of the seeds' values.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

import rmaudit as rma
from rmaudit.audits.hacking.attacks import BLACK, WHITE

MOST_CHARACTERS = 300  # of prompt and both outputs' longer one: short texts cost little


def short(path: str, limit: int) -> rma.Dataset:
    """The first pairs whose texts are short."""
    data = rma.load(path)
    frame = data.frame
    prompts = [p if isinstance(p, str) else " ".join(m["content"] for m in p) for p in frame.prompt]
    longest = np.maximum(frame.chosen.str.len(), frame.rejected.str.len()).to_numpy()
    total = np.array([len(prompt) for prompt in prompts]) + longest
    return data.take(np.flatnonzero(total <= MOST_CHARACTERS)[:limit])


def main() -> None:
    """One row a length."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("pairs")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=300)
    given = parser.parse_args()
    model, data = rma.load_reward_model(given.model), short(given.pairs, given.limit)
    found: dict[tuple[int, str], list[float]] = defaultdict(list)
    for seed in range(given.seeds):
        report = rma.audit(
            model, data, only=["hacking"], search_texts=given.texts, seed=seed, debug=True
        )
        table = report.audits["hacking"].tables["attacks"]
        for row in (dict(zip(table.columns, values, strict=True)) for values in table.rows):
            if row["attack"] in (BLACK, WHITE):
                found[row["k"], row["attack"]].append(row["success"])
                found[row["k"], f"random, {row['attack']}"].append(row["success_random"])
    kinds = [WHITE, BLACK, f"random, {WHITE}", f"random, {BLACK}"]
    print("| words | " + " | ".join(kinds) + " |")
    print("| --- |" + " --- |" * len(kinds))
    for k in sorted({k for k, _ in found}):
        values = [np.array(found[k, kind]) for kind in kinds]
        cells = [f"{v.mean():.2f} ({v.min():.2f} to {v.max():.2f})" for v in values]
        print(f"| {k} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
