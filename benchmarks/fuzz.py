"""Mutants of valid inputs through the real entry points: no traceback, no hang, no lost row.

    python benchmarks/fuzz.py [--mutants 10000] [--seed 0] [--start 0] [--only data]

Starts from valid tables of every type, format and published layout, settings, gate policies,
mixes, probe suites, published benchmarks and results, reports and the logs of trainers; harms
their bytes, structure and types; and runs what reads them. Every mutant must be accepted,
accepted with rows set aside (which add up), or refused with one clear line,
within five seconds of work. Mutant i depends on the seed and i alone, so that a run may be split,
and `--start i --mutants 1` runs one again. Writes a JSON line and a Markdown table; what broke is
kept in RESULTS/fuzz-failures. Exit 1 if anything broke.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from fuzzing.field import FIELD
from fuzzing.targets import TARGETS as OWN
from fuzzing.targets import prepare

TARGETS = OWN | FIELD
SECONDS = 5.0  # of processor time that one mutant may take: no other program's work counts
WAITING = 120.0  # seconds by the clock: a busy machine takes its time
BACKSTOP = 300.0  # seconds after which even code that no signal reaches is ended, with its stack
_GOLDEN = 0x9E3779B9  # spreads the targets over the numbers of the mutants


class Hang(BaseException):
    """Over the time; no `except Exception` swallows it."""


@dataclass
class Outcome:
    """What came of a run."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0
    warned: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Run the mutants, and write what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--only", choices=list(TARGETS))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    results = arguments.results.resolve()
    results.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    outcome = fuzz(
        arguments.mutants,
        arguments.seed,
        start=arguments.start,
        only=arguments.only,
        keep=results / "fuzz-failures",
    )
    rows = table(outcome)
    record = {
        "mutants": arguments.mutants,
        "seed": arguments.seed,
        "start": arguments.start,
        "outcomes": {f"{target}: {how}": n for (target, how), n in outcome.counts.items()},
        "broken": outcome.broken,
        "slowest_seconds": round(outcome.slowest, 2),
        "seconds": round(time.perf_counter() - start),
    }
    (results / "fuzz.json").write_text(json.dumps(record) + "\n")
    (results / "fuzz.md").write_text(rows)
    print(rows)
    print(f"slowest {outcome.slowest:.2f} s of work, all {record['seconds']} s; warnings:")
    for text, count in outcome.warned.most_common(12):
        print(f"  {count} x {text}")
    for each in outcome.broken:
        print(f"BROKEN {each['mutant']} ({each['target']}): {each['error']}")
    return 1 if outcome.broken else 0


def fuzz(
    mutants: int, seed: int, *, start: int = 0, only: str | None = None, keep: Path | None = None
) -> Outcome:
    """Run mutants `start` to `start + mutants`; what broke goes to the folder `keep`."""
    outcome = Outcome()
    with tempfile.TemporaryDirectory() as name, working_in(Path(name)):
        prepare(Path())
        warm_up()
        for number in range(start, start + mutants):
            run_one(number, seed, only, outcome, keep)
    return outcome


def warm_up() -> None:
    """Import what is imported on use, torch above all: no mutant's time."""
    import netcal.metrics  # noqa: F401


def run_one(number: int, seed: int, only: str | None, outcome: Outcome, keep: Path | None) -> None:
    """One mutant in a folder of its own."""
    target = only or target_of(number)
    rng = np.random.default_rng([seed, number])
    folder = Path(f"m{number}")
    folder.mkdir()
    begun = time.process_time()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with time_limit():
                how = TARGETS[target][1](folder, rng)
        except (Exception, Hang) as error:
            how = "BROKEN"
            what = f"{type(error).__name__}: {str(error)[:600]}"
            trace = "".join(traceback.format_exception(error))
            outcome.broken.append({"mutant": number, "target": target, "error": what})
            if keep is not None:
                kept = keep / f"{seed}-{number}"
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                (kept / "traceback.txt").write_text(trace, errors="backslashreplace")
    for w in warned:
        place = f"{Path(w.filename).name}:{w.lineno}"
        outcome.warned[f"{w.category.__name__} at {place}: {w.message}"[:150]] += 1
    outcome.counts[target, how] += 1
    outcome.slowest = max(outcome.slowest, time.process_time() - begun)
    shutil.rmtree(folder)


def target_of(number: int) -> str:
    """Which entry point a mutant goes to, by the targets' shares."""
    place = (number * _GOLDEN % 2**32) / 2**32 * sum(share for share, _ in TARGETS.values())
    for name, (share, _) in TARGETS.items():
        place -= share
        if place < 0:
            return name
    return name


@contextmanager
def time_limit() -> Iterator[None]:
    """`Hang` when the time is up; code that no signal reaches ends the process, later."""

    def stop(*_: object) -> None:
        raise Hang(f"over {SECONDS} s of work, or {WAITING} s of waiting")

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS),
              signal.SIGALRM: (signal.ITIMER_REAL, WAITING)}  # fmt: skip
    before = {number: signal.signal(number, stop) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    faulthandler.dump_traceback_later(BACKSTOP, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """A working folder whose modules can be imported, no network, no log on stderr."""
    before, path, hub = Path.cwd(), list(sys.path), os.environ.get("HF_HUB_OFFLINE")
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.chdir(before)
        sys.path[:] = path
        sys.modules.pop("fuzzed_model", None)
        if hub is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = hub


def table(outcome: Outcome) -> str:
    """Markdown: a row an entry point, a column an outcome."""
    ways = ["accepted", "some rows set aside", "refused", "BROKEN"]
    lines = [f"| what is fuzzed | mutants | {' | '.join(ways)} |", "| --- |" + " ---: |" * 5]
    for target in TARGETS:
        counts = [outcome.counts[target, way] for way in ways]
        lines.append(f"| {target} | {' | '.join(f'{n:,}' for n in (sum(counts), *counts))} |")
    sums = [sum(outcome.counts[target, way] for target in TARGETS) for way in ways]
    lines.append(f"| all | {' | '.join(f'{n:,}' for n in (sum(sums), *sums))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
