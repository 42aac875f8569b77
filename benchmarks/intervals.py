"""Do the 95 % intervals hold the population value in 95 % of data sets?

    python benchmarks/intervals.py [--prompts 200 50 1000] [--sets 2000] [--minutes M]
                                   [--audits calibration tails ...] [--out build/intervals]

Data sets are simulated with one pair a prompt, and with one to five; numbers are those of the
audits themselves. The population value is the mean over data sets of 20,000 prompts. The estimates
of each audit are appended to OUT/AUDIT.jsonl: a run that was stopped goes on where it was, and one
audit is measured anew by deleting its file. Prints the coverage of every metric, and which metrics
are not here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # also where it is no script

import numpy as np
from interval_sets import MEASURES, Simulated, simulated
from rows import read
from scipy.stats import binomtest

from rmaudit.audits.base import audits as registered_audits

Row = dict[str, Any]
Setting = tuple[int, bool]  # prompts; whether some have several pairs
Counts = Mapping[Setting, tuple[int, int]]  # intervals that hold the value, and intervals

POPULATION, POPULATIONS = 20_000, 6  # prompts of a data set that stands for all, and such sets
RESAMPLES = 500
LOW, HIGH = 0.935, 0.965  # the band that a metric should be in at 200 prompts


def main() -> None:
    """Simulate what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", nargs="+", type=int, default=[200, 50, 1_000])
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no set later")
    parser.add_argument("--audits", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--out", type=Path, default=Path("build") / "intervals")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * given.minutes
    files = {name: given.out / f"{name}.jsonl" for name in MEASURES}
    there = {name: {key_of(row) for row in read(files[name])} for name in given.audits}
    with ExitStack() as stack:
        out = {
            name: stack.enter_context(files[name].open("a", encoding="utf-8"))
            for name in given.audits
        }
        for key in plan(given.prompts, given.sets):
            wanted = [name for name in given.audits if key not in there[name]]
            if wanted and time.monotonic() < until:
                for name, row in rows_of(*key, wanted):
                    out[name].write(json.dumps(row) + "\n")
                    out[name].flush()
    text = table([row for file in files.values() for row in read(file)])
    (given.out / "intervals.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def key_of(row: Row) -> tuple[int, bool, int]:
    """Which data set a row is of."""
    return row["prompts"], row["several"], row["seed"]


def plan(sizes: Sequence[int], sets: int) -> Iterator[tuple[int, bool, int]]:
    """The population first, then size by size, with and without several pairs in turn."""
    for several in (False, True):
        for seed in range(POPULATIONS):
            yield POPULATION, several, seed
    for size in sizes:
        for seed in range(sets):
            for several in (False, True):
                yield size, several, seed


def rows_of(
    prompts: int, several: bool, seed: int, audits: Iterable[str]
) -> Iterator[tuple[str, Row]]:
    """By audit, value and interval of each metric on one data set; None where undefined."""
    data = simulated(prompts, several, seed, 100 if prompts == POPULATION else RESAMPLES)
    for name in audits:
        found = found_by(name, data)
        yield name, {"prompts": prompts, "several": several, "seed": seed, "found": found}


def found_by(audit: str, data: Simulated) -> dict[str, list[float] | None]:
    """What one audit finds, by metric id and slice; of subsets only where there is no whole."""
    metrics = list(MEASURES[audit](data))
    whole = {metric.id for metric in metrics if not metric.slice}
    return {
        " ".join([metric.id, *metric.slice.values()]): [
            metric.estimate.value,
            metric.estimate.low,
            metric.estimate.high,
        ]
        if metric.estimate.defined
        else None
        for metric in metrics
        if not metric.slice or metric.id not in whole
    }


def coverage(rows: Sequence[Row]) -> dict[str, dict[Setting, tuple[int, int]]]:
    """Data sets whose interval holds the population value, and data sets, by metric and setting."""
    truth: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for row in rows:
        for id_, found in row["found"].items():
            if row["prompts"] == POPULATION and found is not None:
                truth[id_, row["several"]].append(found[0])
    counts: dict[str, dict[Setting, tuple[int, int]]] = defaultdict(dict)
    for row in rows:
        setting = (row["prompts"], row["several"])
        for id_, found in row["found"].items():
            values = truth[id_, row["several"]]
            if row["prompts"] != POPULATION and found is not None and values:
                hit, n = counts[id_].get(setting, (0, 0))
                value = float(np.mean(values))
                slack = 1e-9 * abs(value)  # of rounding, where a number never varies
                inside = found[1] - slack <= value <= found[2] + slack
                counts[id_][setting] = hit + inside, n + 1
    return counts


def table(rows: Sequence[Row]) -> str:
    """Coverage in percent, by metric and setting."""
    counts = coverage(rows)
    settings = sorted({setting for by in counts.values() for setting in by})
    heads = [f"{size:,}{', several' if several else ''}" for size, several in settings]
    lines = [
        f"| metric | {' | '.join(heads)} | data sets | |",
        f"| --- {'| ---: ' * len(heads)}| --- | --- |",
    ]
    for id_, by_setting in counts.items():
        cells = [shown(*by_setting.get(setting, (0, 0))) for setting in settings]
        verdict_ = verdict(by_setting)
        lines.append(f"| `{id_}` | {' | '.join(cells)} | {sizes(by_setting)} | {verdict_} |")
    every = {id_ for audit in registered_audits() for id_ in audit.metrics}
    there = {id_.partition(" ")[0] for id_ in counts}
    absent = ", ".join(f"`{id_}`" for id_ in sorted(every - there))
    return "\n".join([*lines, "", f"Not simulated: {absent}."])


def shown(hits: int, n: int) -> str:
    """A share in percent."""
    return f"{100 * hits / n:.1f}" if n else ""


def sizes(by_setting: Counts) -> str:
    """How many data sets the shares of a metric are of: fewest to most."""
    numbers = [n for _, n in by_setting.values()]
    fewest, most = min(numbers), max(numbers)
    return f"{most:,}" if fewest == most else f"{fewest:,}-{most:,}"


def verdict(by_setting: Counts) -> str:
    """Whether the coverage at 200 prompts is outside the band; with "?" where chance may be why."""
    said = []
    for (size, _), (hits, n) in by_setting.items():
        if size == 200 and not LOW <= hits / n <= HIGH:
            ends = binomtest(hits, n).proportion_ci(method="exact")
            certain = ends.high < LOW or ends.low > HIGH
            said.append(("short" if hits / n < LOW else "wide") + ("" if certain else "?"))
    return ", ".join(dict.fromkeys(said))


if __name__ == "__main__":
    main()
