"""Recorded pairs through the five audits of the spine: seconds and peak memory, as a whole process.

    python benchmarks/statistics.py [PAIRS]

Texts of about 20 words, two pairs a prompt, five subsets. Prints a JSON line and a Markdown row.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

AUDITS = "preflight,data,preference,calibration,length"
WORDS = np.array(
    [
        "we",
        "can",
        "move",
        "your",
        "visit",
        "to",
        "monday",
        "please",
        "call",
        "the",
        "desk",
        "if",
        "it",
        "hurts",
        "more",
    ]
)


def write(path: Path, pairs: int) -> None:
    """Recorded rewards that rank right in about 70 % of pairs and pay a little for length."""
    rng = np.random.default_rng(0)
    quality = rng.normal(0, 1, (pairs, 2))
    lengths = rng.integers(10, 31, (pairs, 2))
    rewards = quality + 0.02 * lengths + rng.normal(0, 1.2, (pairs, 2))
    with path.open("w") as file:
        for i in range(pairs):
            texts = [" ".join(rng.choice(WORDS, n)) for n in lengths[i]]
            better, worse = (0, 1) if quality[i, 0] > quality[i, 1] else (1, 0)
            row = {
                "prompt": f"Question {i // 2}",
                "chosen": texts[better],
                "rejected": texts[worse],
                "chosen_reward": rewards[i, better],
                "rejected_reward": rewards[i, worse],
                "subset": f"subset {i % 5}",
            }
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Write the data, audit them in a process of its own, and report what it took."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "pairs.jsonl"
        write(data, pairs)
        command = [sys.executable, "-m", "rmaudit", "audit", "--model", "recorded"]
        command += ["--eval", str(data), "--only", AUDITS, "--out", str(Path(folder) / "out")]
        start = time.monotonic()
        subprocess.run([*command, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2  # GB on Linux
    print(json.dumps({"pairs": pairs, "seconds": round(seconds, 1), "peak_gb": round(peak, 2)}))
    print(f"| {pairs:,} recorded pairs, five audits | {seconds:.1f} s | {peak:.2f} GB |")


if __name__ == "__main__":
    main()
