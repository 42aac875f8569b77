"""Recorded rollouts with components through the audit `mix`: seconds and peak memory.

    python benchmarks/million_rollouts.py [ROLLOUTS] [--folder DIR]

JSON Lines: sixteen responses of about 20 words per prompt, each with a total and eight components,
four of which are verdicts. The audit is a process of its own, so its memory is what it needs.
Prints one line: seconds on the wall, of the processor, peak gigabytes, the shares' sum.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from million_pairs import WORDS

SAMPLES, COMPONENTS, CHUNK = 16, 8, 2_000


def write(path: Path, rollouts: int) -> None:
    """The rollouts; the total is the components' weighted sum."""
    rng = np.random.default_rng(0)
    weights = np.linspace(0.2, 1.0, COMPONENTS)
    with path.open("w", encoding="utf-8") as file:
        for first in range(0, rollouts // SAMPLES, CHUNK):
            prompts = min(CHUNK, rollouts // SAMPLES - first)
            shape = (prompts, SAMPLES, COMPONENTS)
            values = rng.normal(0, 1, (prompts, 1, COMPONENTS)) + rng.normal(0, 1, shape)
            values[:, :, : COMPONENTS // 2] = values[:, :, : COMPONENTS // 2] > 0.5
            values = values.round(4)
            totals = (values @ weights).round(6)
            words = rng.choice(WORDS, (prompts, SAMPLES, 20))
            for i in range(prompts):
                rewards = [
                    {"total": total, **{f"part {k}": part for k, part in enumerate(parts)}}
                    for total, parts in zip(totals[i].tolist(), values[i].tolist(), strict=True)
                ]
                outputs = [" ".join(each) for each in words[i].tolist()]
                row = {"prompt": f"Question {first + i}", "outputs": outputs, "rewards": rewards}
                file.write(json.dumps(row) + "\n")


def main() -> None:
    """Write, audit, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rollouts", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        data = folder / "rollouts.jsonl"
        write(data, given.rollouts)
        words = ["audit", "--model", "recorded", "--eval", data, "--samples", data]
        words += ["--only", "mix", "--out", folder / "report"]
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "rmaudit", *map(str, words)], check=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        report = json.loads((folder / "report" / "report.json").read_text())
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    shares = [
        m["value"] for m in report["audits"]["mix"]["metrics"] if m["id"] == "mix.advantage_share"
    ]
    print(
        f"{given.rollouts:,} rollouts x {COMPONENTS} components: {wall:.0f} s, {spent:.0f} s of "
        f"the processor, {after.ru_maxrss / 1e6:.2f} GB; {len(shares)} shares add to "
        f"{sum(shares):.9f}"
    )


if __name__ == "__main__":
    main()
