"""Data of hostile shapes beside the same rows without: processor, memory and the page's size.

    python benchmarks/shapes.py [--pairs 20000] [--only subsets] [--results DIR]

Each audit is a process of its own on recorded rewards: `data`, `preference`, `length` and what the
shape is about. A shape may cost three times its rows without it; its page stays under 2 MB, and it
and the page of samples open in Chromium in under 2 s (the least of three openings, by the browser's
own clock). Writes a JSON line per shape and a Markdown table; exit 1 where one does not hold.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measured import keep
from million_pairs import WORDS
from opening import seconds_to_open

MOST_TIMES, MOST_PAGE, MOST_OPENING = 3.0, 2_000_000, 2.0
AUDITS = "data,preference,length"
Columns = dict[str, Any]


def pairs(count: int) -> Columns:
    """Recorded pairs, two per prompt."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 20)) for _ in range(2 * count)]
    return {
        "prompt": [f"Question {i // 2}" for i in range(count)],
        "chosen": texts[::2],
        "rejected": texts[1::2],
        "chosen_reward": rng.normal(0.5, 1, count),
        "rejected_reward": rng.normal(0, 1, count),
    }


def subsets(count: int) -> tuple[Columns, Columns]:
    """2,000 subsets."""
    plain = pairs(count)
    return plain, plain | {"subset": [f"subset {i % 2000}" for i in range(count)]}


def metadata(count: int) -> tuple[Columns, Columns]:
    """500 columns that no audit reads."""
    plain = pairs(count)
    return plain, plain | {f"note {k}": np.arange(count) % (k + 2) for k in range(500)}


def members(count: int) -> tuple[Columns, Columns]:
    """64 members' rewards in one column."""
    plain = pairs(count)
    rng = np.random.default_rng(1)
    sides = ("chosen", "rejected")
    scores = [
        pa.StructArray.from_arrays(
            [pa.array(plain[f"{s}_reward"] + rng.normal(0, 0.5, count)) for s in sides], sides
        )
        for _ in range(64)
    ]
    names = [f"member {k}" for k in range(64)]
    return plain, plain | {"scores": pa.StructArray.from_arrays(scores, names)}


def samples(count: int) -> tuple[Columns, Columns]:
    """Five samples per prompt, and as many of a single prompt."""
    texts = pairs(5 * count)
    outputs, rewards = texts["chosen"], texts["chosen_reward"]
    split = [outputs[i : i + 5] for i in range(0, 5 * count, 5)]
    plain = {"prompt": [f"Question {i}" for i in range(count)], "outputs": split,
             "rewards": [rewards[i : i + 5] for i in range(0, 5 * count, 5)]}  # fmt: skip
    return plain, {"prompt": ["Question"], "outputs": [outputs], "rewards": [rewards]}


def long_texts(count: int) -> tuple[Columns, Columns]:
    """As many characters in ten pairs whose texts have a megabyte each as in pairs of 1,000."""
    rng = np.random.default_rng(0)
    words = [" ".join(rng.choice(WORDS, 200)) for _ in range(20_000)]
    short = {"chosen": words[::2], "rejected": words[1::2]}
    size = len(words) // 20
    joined = [" ".join(words[i : i + size]) for i in range(0, len(words), size)]
    long = {"chosen": joined[::2], "rejected": joined[1::2]}
    return tuple(  # type: ignore[return-value]
        texts | {"prompt": [f"Question {i}" for i in range(len(texts["chosen"]))]}
        | {f"{s}_reward": rng.normal(0, 1, len(texts["chosen"])) for s in ("chosen", "rejected")}
        for texts in (short, long)
    )  # fmt: skip


SHAPES: dict[str, Callable[[int], tuple[Columns, Columns]]] = {
    "subsets": subsets,
    "metadata": metadata,
    "members": members,
    "samples": samples,
    "long_texts": long_texts,
}


def audited(columns: Columns, more: list[str], *, opening: bool = False) -> dict[str, float]:
    """Processor seconds, peak memory in GB, bytes of its pages, seconds to open them."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "rows.parquet", Path(folder) / "out"
        pq.write_table(pa.table(columns), data)
        command = [sys.executable, "-m", "rmaudit", "audit", "--eval", str(data), "--only", AUDITS]
        command += ["--out", str(out), "--quiet", *(more or ["--model", "recorded"])]
        running = subprocess.Popen(command)
        _, status, usage = os.wait4(running.pid, 0)
        if status:
            raise SystemExit(f"the audit ended with {status}")
        pages = [out / name for name in ("report.html", "samples.html")]
        opened = [seconds_to_open(page) for page in pages] if opening else []
        return {"processor": usage.ru_utime + usage.ru_stime, "gb": usage.ru_maxrss / 1024**2,
                "page": pages[0].stat().st_size, "samples": pages[1].stat().st_size,
                "opened": max((s for s in opened if s is not None), default=0.0)}  # fmt: skip


def main() -> int:
    """Run the shapes, and write what they took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--only", choices=list(SHAPES))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    lines = ["| shape | processor s without | with | times | peak GB | page kB | samples kB "
             "| opens in s |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    kept, broken = [], False
    for name in [given.only] if given.only else list(SHAPES):
        plain, shaped = SHAPES[name](given.pairs)
        more = ["--model", "recorded:member 0"] if name == "members" else []
        for k in range(1, 64) if name == "members" else ():
            more += ["--ensemble", f"recorded:member {k}"]
        without, with_ = audited(plain, []), audited(shaped, more, opening=True)
        times = with_["processor"] / without["processor"]
        broken |= times > MOST_TIMES or with_["page"] > MOST_PAGE or with_["opened"] > MOST_OPENING
        kept.append({"shape": name, "without": without, "with": with_, "times": round(times, 2)})
        lines.append(
            f"| {(SHAPES[name].__doc__ or name).rstrip('.')} | {without['processor']:.1f} | "
            f"{with_['processor']:.1f} | {times:.1f} | {with_['gb']:.2f} | "
            f"{with_['page'] / 1000:.0f} | {with_['samples'] / 1000:.0f} | {with_['opened']:.2f} |"
        )
        print(lines[-1], flush=True)
    keep(given.results, "shapes", [{"pairs": given.pairs, "rows": kept}], "\n".join(lines))
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
