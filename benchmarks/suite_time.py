"""One benchmark run, from the command line to the number: rmaudit beside rewardbench.

    python benchmarks/suite_time.py --rewardbench PYTHON [--model FOLDER] [--pairs 200] [--rounds 2]

The same model, rows and texts, float32, no store. Each way is a process of its own, timed from its
start to its number, in turns, so that other work on the machine touches both; the ratio is the
median of the rounds. rewardbench needs an environment of its own (scoring_rewardbench.py).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scoring import DATA, HERE, minilm_reward

from rmaudit.data.types import prompt_text

Found = tuple[float, float, float]
"""Seconds of the process, of its inference, and the accuracy that came of it."""


def rmaudit(model: Path, rows: list[dict[str, str]], folder: Path) -> Found:
    """`rmaudit bench rewardbench` on the rows."""
    data, out = folder / "rows.jsonl", folder / "out"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["rmaudit", "bench", "rewardbench", "--data", data, "--model", model, "--no-cache"]
    start = time.perf_counter()
    run([sys.executable, "-m", *command, "--quiet", "--out", out])
    seconds = time.perf_counter() - start
    written = json.loads((out / "bench.json").read_text())
    (name,) = (name for name in written["official"] if name.startswith("subset."))
    return seconds, written["cost"]["seconds"], written["official"][name]


def rewardbench(python: Path, model: Path, rows: list[dict[str, str]], folder: Path) -> Found:
    """Its command on the same texts, its batches of 8."""
    texts = folder / "texts.json"
    strings = [f"{row['prompt']}\n\n{row[side]}" for row in rows for side in ("chosen", "rejected")]
    texts.write_text(json.dumps(strings))
    start = time.perf_counter()
    said = run([python, HERE / "scoring_rewardbench.py", model, texts])
    seconds = time.perf_counter() - start
    line = json.loads(next(line for line in said.splitlines() if line.startswith('{"seconds"')))
    return seconds, line["seconds"], line["accuracy"]


def run(command: list[str | Path]) -> str:
    """Standard output of a command with as many threads as torch has here."""
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(command, capture_output=True, text=True, env=threads)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout


def main() -> None:
    """One line a way, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rewardbench", type=Path, required=True, help="Python that has it")
    parser.add_argument("--model", type=Path, help="default: MiniLM with a random reward head")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    with gzip.open(given.data, "rt", encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    rows = [
        {
            "prompt": prompt_text(row["prompt"]),
            "chosen": row["chosen"],
            "rejected": row["rejected"],
            "subset": "alpacaeval-easy",
        }
        for row in read[: given.pairs]
    ]
    ratios, inference = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = given.model or minilm_reward(folder / "minilm")
        for _ in range(given.rounds):
            ours = rmaudit(model, rows, folder)
            theirs = rewardbench(given.rewardbench, model, rows, folder)
            ratios.append(theirs[0] / ours[0])
            inference.append(theirs[1] / ours[1])
            for who, (whole, part, accuracy) in (("rmaudit", ours), ("rewardbench", theirs)):
                print(f"{who}: {whole:.1f} s, inference {part:.1f} s, accuracy {accuracy:.4f}")
    print(
        f"{len(rows)} pairs: rewardbench takes {float(np.median(ratios)):.2f} times as long, "
        f"its inference {float(np.median(inference)):.2f} times"
    )


if __name__ == "__main__":
    main()
