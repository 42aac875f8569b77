"""Full reports on sound rewards that the data already carries: how often anything is raised.

    python benchmarks/clean_recorded.py [--seeds 100] [--first 0] [--pairs 200]
    python benchmarks/clean_recorded.py --only calibration preference --seeds 400    # these alone

A run that was stopped goes on where it was; seeds before the first one are not told of.

By seed and world (the clinic, real texts): pairs whose labels are Bradley-Terry draws from the
sound reward, two members of an ensemble that disagree where the labels are uncertain, eight
samples per prompt, 3,000 pairs of feedback and 200 other prompts as deployment, all of one
distribution. Every audit that applies runs. Appends to ``benchmarks/cells/clean_recorded.jsonl``
and prints a Markdown table with exact (Clopper-Pearson) intervals.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detection.cells import MEMBERS
from detection.draws import SAMPLES, SHARED, Draw, draw
from detection.flaws import FEEDBACK
from detection.reward import Reward
from detection.tables import false_alarms, share
from rows import add, digest, read

import rmaudit as rma
from rmaudit.audits.base import AUDITS
from rmaudit.data.types import prompt_text

CELLS = Path(__file__).parent / "cells" / "clean_recorded.jsonl"
SERIOUS = ("high", "medium")
RESAMPLES = 200


def recorded(drawn: Draw) -> list[dict[str, Any]]:
    """The pairs with the rewards of the sound model and of two members."""
    models = {"sound": Reward(drawn)}
    models |= {f"member {k}": Reward(drawn, member=k) for k in range(1, MEMBERS + 1)}
    rows = drawn.pairs.to_dict("records")
    for row in rows:
        prompt = prompt_text(row["prompt"])
        row["scores"] = {
            name: {side: model.reward(prompt, row[side]) for side in ("chosen", "rejected")}
            for name, model in models.items()
        }
    return rows


def samples(drawn: Draw, seed: int) -> list[dict[str, Any]]:
    """Eight samples per prompt: words of its two responses in a new order, rewards normal."""
    rng = np.random.default_rng([seed, 7])
    sd = drawn.sd
    rows = []
    for prompt, chosen, rejected in drawn.pairs[["prompt", "chosen", "rejected"]].to_numpy():
        words = f"{chosen} {rejected}".split()
        sizes = rng.integers(max(4, len(words) // 4), max(6, len(words) // 2 + 1), SAMPLES)
        outputs = [" ".join(rng.choice(words, size)) for size in sizes]
        sound = sd * (rng.normal() + rng.normal(size=SAMPLES))
        scores = {"sound": sound.tolist()}
        scores |= {
            f"member {k}": (sound + 0.3 * sd * rng.normal(size=SAMPLES)).tolist()
            for k in range(1, MEMBERS + 1)
        }
        row = {"prompt": prompt, "outputs": outputs, "scores": scores}
        rows.append(row | {"proxy_rewards": scores["sound"]})
    return rows


def cell(
    world: str, pairs: int, seed: int, data: Path, only: Sequence[str] | None = None
) -> dict[str, Any]:
    """One report: its findings and the audits that ran."""
    start = time.process_time()
    drawn = draw(world, pairs, seed, "eval", data)
    given: dict[str, Any] = {"only": only} if only else {}
    wanted = set(only or AUDITS)
    if "disagreement" in wanted:
        given["ensemble"] = [f"recorded:member {k}" for k in range(1, MEMBERS + 1)]
    if wanted & {"tails", "teacher"}:
        given["samples"] = samples(drawn, seed)
    if wanted & {"data", "coverage", "generalization", "poison"}:
        other = draw(world, FEEDBACK, seed, "feedback", data).pairs
        given["feedback"] = other.iloc[pairs:].to_dict("records")
        given["deployment"] = other.iloc[:pairs][["prompt"]].to_dict("records")
    report = rma.audit(
        "recorded:sound",
        recorded(drawn),
        **given,
        seed=seed,
        resamples=RESAMPLES,
        cache=False,
        debug=True,
    )
    return {
        "world": world,
        "pairs": pairs,
        "seed": seed,
        "audits": list(only)
        if only
        else [name for name, audit in report.audits.items() if audit.metrics],
        "findings": [(f.audit, f.metric, f.severity, f.title) for f in report.findings],
        "p": [(f.p, f.p_adjusted) for f in report.findings],
        "seconds": round(time.process_time() - start, 2),
        "tree": digest(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """False findings by world."""
    lines = [
        "| world | reports | high or medium | any | which |",
        "| --- | ---: | --- | --- | --- |",
    ]
    for world in sorted({row["world"] for row in rows}):
        own = [row for row in rows if row["world"] == world]
        false = [false_alarms(row) for row in own]
        serious = [
            false_alarms(row | {"findings": [f for f in row["findings"] if f[2] in SERIOUS]})
            for row in own
        ]
        which = Counter(metric for each in false for metric in {m for _, m in each})
        named = ", ".join(f"`{name}` {count}" for name, count in which.most_common())
        counts = (share(sum(map(bool, each)), len(own)) for each in (serious, false))
        lines.append(f"| {world} | {len(own)} | {' | '.join(counts)} | {named} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="the first seed, run and told of")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--only", nargs="+", choices=list(AUDITS), help="these audits alone")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--cells", type=Path)
    given = parser.parse_args()
    cells = given.cells or (CELLS.with_name("clean_alone.jsonl") if given.only else CELLS)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    done = [row for row in read(cells) if not given.only or row["audits"] == given.only]
    known = {(row["world"], row["pairs"], row["seed"]) for row in done}
    worlds = ("clinic", "real") if given.data.is_dir() else ("clinic",)
    for seed in range(given.first, given.first + given.seeds):
        for world in worlds:
            if (world, given.pairs, seed) not in known:
                done.append(cell(world, given.pairs, seed, given.data, given.only))
                add(cells, done[-1])
    print(table([r for r in done if r["pairs"] == given.pairs and r["seed"] >= given.first]))


if __name__ == "__main__":
    main()
