"""Plant every flaw in graded strengths, audit, and count what is found.

    python benchmarks/detection [--worlds clinic real] [--pairs 500 2000] [--seeds 50]
                                [--clean 50] [--others 10] [--jobs 2] [--minutes M]
                                [--first 0] [--out build/detection]

Each cell's findings are appended to OUT/cells.jsonl: a run that was stopped goes on where it was,
and further seeds are added to what is there. Writes OUT/detection.md and OUT/detection.png.
The real texts (HH-RLHF, RMB) are read from --data and are not part of the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from rows import read

from detection.cells import Cell, key_of, run
from detection.draws import SHARED
from detection.flaws import FLAWS
from detection.tables import write


def cells(
    worlds: Sequence[str],
    sizes: Sequence[int],
    seeds: int,
    clean: int,
    flaws: Sequence[str],
    places: Sequence[int] = (1, 2, 3, 4, 5),
    first: int = 0,
) -> Iterator[Cell]:
    """Seed by seed, so that a run that is stopped has as many of each; clean twins among them."""
    for seed in range(first, first + max(seeds, clean)):
        for world in worlds:
            for pairs in sizes:
                if seed < first + clean:
                    yield Cell(world, pairs, "", 0.0, seed)
                if seed < first + seeds:
                    for name in flaws:
                        for place in places:
                            strength = FLAWS[name].strengths[place - 1]
                            yield Cell(world, pairs, name, strength, seed)


def rows(
    todo: Iterator[Cell], work: Callable[[Cell], dict[str, Any]], jobs: int, until: float
) -> Iterator[dict[str, Any]]:
    """The rows of the cells as they are done; none is begun after `until`."""
    if jobs == 1:
        for cell in todo:
            if time.monotonic() > until:
                return
            yield work(cell)
        return
    with ProcessPoolExecutor(jobs) as pool:
        running: set[Future[dict[str, Any]]] = {pool.submit(work, c) for c in islice(todo, jobs)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                if time.monotonic() < until:
                    running |= {pool.submit(work, cell) for cell in islice(todo, 1)}


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", nargs="+", choices=("clinic", "real"))
    parser.add_argument("--pairs", nargs="+", type=int, default=[500, 2_000])
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--clean", type=int, default=50, help="seeds of the clean twins")
    parser.add_argument("--first", type=int, default=0, help="the first seed, run and told of")
    parser.add_argument("--others", type=int, default=10, help="seeds that run all cheap audits")
    parser.add_argument("--flaws", nargs="+", default=list(FLAWS), choices=list(FLAWS))
    parser.add_argument("--strengths", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no cell later")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--out", type=Path, default=Path("build") / "detection")
    given = parser.parse_args()
    if given.worlds is None:
        given.worlds = ["clinic", *(["real"] if given.data.is_dir() else [])]
    return given


def main() -> None:
    """Plant, audit, count."""
    given = arguments()
    until = time.monotonic() + 60 * given.minutes
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "cells.jsonl"
    known = {key_of(row) for row in read(file)}
    sizes = (given.pairs, given.seeds, given.clean)
    every = cells(given.worlds, *sizes, given.flaws, given.strengths, given.first)
    todo = (cell for cell in every if cell.key not in known)
    with file.open("a", encoding="utf-8") as out:
        work = partial(run, others=given.others, data=given.data)
        for row in rows(todo, work, given.jobs, until):
            out.write(json.dumps(row) + "\n")
            out.flush()
    print(write([row for row in read(file) if row["seed"] >= given.first], given.out))
