"""How fast the score store is: hashing, inserts, look-ups. Writes a JSON line and a Markdown row.

    python benchmarks/store.py [--rows 10000000] [--folder DIR] [--results benchmarks/results]

Keys are random, as hashes are, so every insert and look-up lands anywhere in the file.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from measured import keep

from rmaudit.scoring.keys import Keys, distinct, text_keys
from rmaudit.scoring.requests import Request
from rmaudit.scoring.rows import ROW
from rmaudit.scoring.store import ScoreStore

FILL = 500_000  # rows a transaction while the store is filled
BATCH = 64  # rows a transaction while a model scores
BATCHES = 500
LOOK_UPS = 200_000
TEXTS = 200_000


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, help="where the store is made, then removed")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = measure(Path(folder) / "scores.sqlite", arguments.rows)
    row = (
        "| rewards stored | MB | look-ups/s | look-ups/s of absent keys | inserts/s "
        f"in batches of {BATCH} | texts hashed/s |\n| --- | --- | --- | --- | --- | --- |\n"
        f"| {result['rows']:,} | {result['megabytes']:,} | {result['look_ups_per_second']:,} "
        f"| {result['absent_look_ups_per_second']:,} | {result['inserts_per_second']:,} "
        f"| {result['keys_per_second']:,} |"
    )
    keep(arguments.results, "store", [result], row)


def measure(path: Path, n_rows: int) -> dict[str, float | int | str]:
    """Fill a store with `n_rows` rewards; rates of filling, look-ups and small inserts."""
    rng = np.random.default_rng(0)
    known: list[Keys] = []  # a sample of what is stored
    with ScoreStore(path) as store:
        start = time.perf_counter()
        for done in range(0, n_rows, FILL):
            keys = random_keys(rng, min(FILL, n_rows - done))
            store.add("model", keys, np.zeros(len(keys), dtype=ROW))
            known.append(keys[:: max(1, n_rows // LOOK_UPS)])
        fill = n_rows / (time.perf_counter() - start)
    asked = distinct(np.concatenate(known)).keys
    absent = distinct(random_keys(rng, len(asked))).keys
    with ScoreStore(path) as store:
        assert store.look_up("model", asked)[1].all()
    with ScoreStore(path) as store:
        small = [random_keys(rng, BATCH) for _ in range(BATCHES)]
        start = time.perf_counter()
        for keys in small:
            store.add("model", keys, np.zeros(BATCH, dtype=ROW))
        insert = BATCHES * BATCH / (time.perf_counter() - start)
    return {
        "benchmark": "store",
        "rows": n_rows,
        "megabytes": round(path.stat().st_size / 1e6),
        "look_ups_per_second": round(look_up_rate(path, asked)),
        "absent_look_ups_per_second": round(look_up_rate(path, absent)),
        "inserts_per_second": round(insert),
        "fill_rows_per_second": round(fill),
        "keys_per_second": round(hashing()),
    }


def look_up_rate(path: Path, keys: Keys) -> float:
    """Keys a second, the fastest of three: other work on the machine only ever slows it."""
    seconds = []
    for _ in range(3):
        with ScoreStore(path) as store:  # opened anew: nothing is cached in the process
            start = time.perf_counter()
            store.look_up("model", keys)
            seconds.append(time.perf_counter() - start)
    return len(keys) / min(seconds)


def random_keys(rng: np.random.Generator, n: int) -> Keys:
    """Keys in ascending order, as the engine asks for them."""
    return distinct(rng.integers(0, 2**64, (n, 2), dtype=np.uint64)).keys


def hashing() -> float:
    """Texts hashed and told apart a second, at about 200 characters each."""
    ids = [str(i) for i in range(TEXTS)]
    prompts = ["What would you say to somebody who asked you this question? " + i for i in ids]
    outputs = [
        "I would say that it depends on what they would like to do next. " * 2 + i for i in ids
    ]
    start = time.perf_counter()
    distinct(text_keys([Request("chosen", ids, prompts, outputs)]))
    return TEXTS / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
