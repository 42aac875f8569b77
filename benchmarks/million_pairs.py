"""Recorded pairs through the audits, the gate and the page: seconds and peak memory.

    python benchmarks/million_pairs.py [PAIRS] [--default] [--results DIR]

A Parquet file: texts of about 20 words, two pairs per prompt, five subsets, rewards of five
models in the column ``scores``. With ``--default`` one model and the default audits, without the
gate. Each audit is a process of its own, so its memory is what it
needs. Writes a JSON line and a Markdown row.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import keep

AUDITS = "data,preference,calibration,length,style,disagreement"
MEMBERS = [f"member {k}" for k in range(5)]
CHUNK = 50_000
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
    writer = None
    for first in range(0, pairs, CHUNK):
        table = chunk(rng, np.arange(first, min(first + CHUNK, pairs)))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


def chunk(rng: np.random.Generator, rows: np.ndarray) -> pa.Table:
    """The pairs of these numbers."""
    n = len(rows)
    quality = np.sort(rng.normal(0, 1, (n, 2)))[:, ::-1]  # the chosen output is the better one
    lengths = rng.integers(10, 31, (n, 2))
    shared = quality + 0.02 * lengths + rng.normal(0, 1.1, (n, 2))
    words = rng.choice(WORDS, lengths.sum())
    texts = [" ".join(part) for part in np.split(words, lengths.ravel().cumsum()[:-1])]
    names = ("chosen", "rejected")
    sides = {name: shared[:, i] for i, name in enumerate(names)}
    scores = {
        member: pa.StructArray.from_arrays(
            [pa.array(sides[name] + rng.normal(0, 0.5, n)) for name in names], names
        )
        for member in MEMBERS
    }
    return pa.table(
        {
            "prompt": [f"Question {row // 2}" for row in rows.tolist()],
            "chosen": texts[::2],
            "rejected": texts[1::2],
            "subset": [f"subset {row % 5}" for row in rows.tolist()],
            "scores": pa.StructArray.from_arrays(list(scores.values()), MEMBERS),
        }
    )


def main() -> None:
    """Write the data, audit them in a process of its own, and report what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=int, nargs="?", default=100_000)
    parser.add_argument("--default", action="store_true")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "pairs.parquet", str(Path(folder) / "out")
        write(data, given.pairs)
        command = [sys.executable, "-m", "rmaudit"]
        model, *ensemble = [f"recorded:{member}" for member in MEMBERS]
        audit = [*command, "audit", "--model", model, "--eval", str(data)]
        if not given.default:
            audit += ["--only", AUDITS]
            for member in ensemble:
                audit += ["--ensemble", member]
        start = time.monotonic()
        subprocess.run([*audit, "--out", out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
        if not given.default:  # the verdict is an exit code
            subprocess.run([*command, "gate", out], check=False, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "benchmark": "statistics",
        "pairs": given.pairs,
        "members": 1 if given.default else len(MEMBERS),
        "seconds": round(seconds, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss / 1024**2, 2),  # KiB on Linux
    }
    work = "default audits" if given.default else f"{AUDITS.replace(',', ', ')}, gate"
    row = (
        f"| recorded pairs, members: {result['members']} | work | seconds | of the processor "
        "| peak GB |\n"
        "| --- | --- | --- | --- | --- |\n"
        f"| {given.pairs:,} | {work}, page | {seconds:.1f} "
        f"| {result['processor_seconds']} | {result['peak_gb']} |"
    )
    keep(given.results, "statistics_default" if given.default else "statistics", [result], row)


if __name__ == "__main__":
    main()
