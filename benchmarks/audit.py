"""A whole audit but for its forward passes, and an audit whose rewards are all in the store.

    python benchmarks/audit.py [--pairs 5000] [--again 10000] [--results DIR]

MiniLM with a random head, HH-RLHF's pairs, repeated with a number added until there are enough.
The forward passes of the whole audit would take minutes that say nothing about the rest: made-up
rewards stand in for them, and their time is the tokens that would have gone through the model at
the rate of real batches of the same texts. Everything else is real and counts: reading, tokenising,
hashing, the store, the statistics, figures and page; imports do not. The gradient search of
`hacking` counts as the rest too. The second audit (the five of the spine) is the command line in a
process of its own, imports included. Writes a JSON line and Markdown rows.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from measured import keep
from scoring import DATA, minilm_reward, read_texts

import rmaudit
from rmaudit.data.types import prompt_text
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.base import Encoded
from rmaudit.rewards.local.transformers_model import TransformersReward

SPINE = "data,preference,calibration,length,style"
SAMPLE = 256  # texts of which the rate of forward passes is taken


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--again", type=int, default=10_000)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = minilm_reward(folder / "minilm")
        result = {
            "benchmark": "audit",
            "pairs": given.pairs,
            "threads": torch.get_num_threads(),
            **whole(model, pairs(given.data, given.pairs, folder / "whole.jsonl"), folder),
            **again(model, pairs(given.data, given.again, folder / "again.jsonl"), folder),
        }
    rows = [
        "| audit | seconds | beside |",
        "| --- | --- | --- |",
        f"| all audits, {given.pairs:,} pairs, {result['texts']:,} texts, but for forward passes "
        f"| {result['rest_seconds']} | {result['forward_seconds']} s of forward passes: "
        f"{result['rest_share']:.1%} of the whole |",
        f"| five audits again, {given.again:,} pairs, all in the store | {result['again_seconds']} "
        f"({result['again_processor_seconds']} of the processor) "
        f"| {result['again_texts_scored']} texts scored |",
    ]
    keep(given.results, "audit", [result], "\n".join(rows))


def whole(folder: Path, data: Path, scratch: Path) -> dict[str, Any]:
    """Seconds of all that is no forward pass, and those of the forward passes."""
    start = time.perf_counter()
    model = without_forward_passes(load_reward_model(folder))
    report = rmaudit.audit(model, data, store=scratch / "whole.sqlite")
    report.save(scratch / "whole")
    rest = time.perf_counter() - start
    cost = json.loads((scratch / "whole" / "report.json").read_text())["cost"]
    rate = tokens_per_second(load_reward_model(folder), data)
    forward = cost["tokens"] / rate
    return {
        "texts": cost["texts_scored"],
        "tokens": cost["tokens"],
        "tokens_per_second": round(rate),
        "rest_seconds": round(rest, 1),
        "forward_seconds": round(forward, 1),
        "rest_share": round(rest / (rest + forward), 4),
    }


def again(folder: Path, data: Path, scratch: Path) -> dict[str, Any]:
    """Seconds of the command line with every reward in the store."""
    store = scratch / "again.sqlite"
    model = without_forward_passes(load_reward_model(folder))
    rmaudit.audit(model, data, only=SPINE.split(","), store=store)
    out = scratch / "again"
    command = [sys.executable, "-m", "rmaudit", "audit", "--model", str(folder), "--eval"]
    command += [str(data), "--only", SPINE, "--store", str(store), "--out", str(out), "--quiet"]
    # Once before, for the store knows the rewards, but not yet the folder that they are of.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    start, before = time.perf_counter(), children_seconds()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    cost = json.loads((out / "report.json").read_text())["cost"]
    return {
        "again_texts": cost["texts"],
        "again_texts_scored": cost["texts_scored"],
        "again_seconds": round(seconds, 1),
        "again_processor_seconds": round(children_seconds() - before, 1),
    }


def children_seconds() -> float:
    """Of the processor, by all processes that this one has waited for so far."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def without_forward_passes(model: TransformersReward) -> TransformersReward:
    """The model with rewards that its tokens decide, at no cost."""

    def made_up(batch: Sequence[Encoded], *, pad_left: bool = False) -> np.ndarray:
        sums = np.array([sum(each.payload) % 1009 for each in batch])
        return sums / 1009 + 0.001 * np.array([each.output_tokens for each in batch])

    model.forward = made_up
    return model


def tokens_per_second(model: TransformersReward, data: Path) -> float:
    """Of real forward passes, in batches as the engine makes them, longest texts first."""
    rows = [json.loads(line) for line in data.open()]
    chosen = [Text(row["prompt"], row["chosen"]) for row in rows[:: max(1, len(rows) // SAMPLE)]]
    encoded = sorted(model.encode(chosen), key=lambda each: -each.tokens)
    model.forward(encoded[:1])
    start = time.perf_counter()
    first = 0
    while first < len(encoded):
        size = min(model.max_batch, max(1, model.token_budget // encoded[first].tokens))
        model.forward(encoded[first : first + size])
        first += size
    return sum(each.tokens for each in encoded) / (time.perf_counter() - start)


def pairs(source: Path, n: int, path: Path) -> Path:
    """HH-RLHF's pairs over and over, each time with another number in the prompt."""
    texts = read_texts(source, 2 * n)
    both = list(zip(texts[::2], texts[1::2], strict=True))
    with path.open("w") as file:
        for number in range(n):
            chosen, rejected = both[number % len(both)]
            row = {
                "prompt": f"({number}) {prompt_text(chosen.prompt)}",
                "chosen": chosen.output,
                "rejected": rejected.output,
            }
            file.write(json.dumps(row) + "\n")
    return path


if __name__ == "__main__":
    main()
