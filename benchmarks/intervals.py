"""Do the 95 % intervals hold the population value in 95 % of data sets?

    python benchmarks/intervals.py [--prompts 200 50 1000] [--sets 2000] [--minutes M]
                                   [--groups policy coverage ...]

Data sets are simulated with one pair a prompt, and with one to five; numbers are those of the
audits themselves. Where the simulation does not know the population value, it is the mean over
20,000 prompts or more. Cells of 50 data sets are kept in
``benchmarks/cells/intervals.jsonl``: a run that was stopped goes on where it was, and a group is
measured anew by taking its lines out. Prints the coverage of every metric, and why the others have
no value to cover.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))  # also where it is no script

import numpy as np
from interval_groups import GROUPS, NO_POPULATION, POPULATIONS, Draw, Group, Measured
from rows import add, read
from scipy.stats import binomtest

from rmaudit.audits.base import metric_specs

Row = dict[str, Any]
Setting = tuple[int, bool]  # prompts; whether some have several pairs
Counts = Mapping[Setting, tuple[int, int]]  # intervals that hold the value, and intervals

CELLS = Path(__file__).parent / "cells" / "intervals.jsonl"
RESAMPLES = 500
AT_ONCE = 50  # data sets of a cell
LOW, HIGH = 0.935, 0.965  # the band that a metric should be in at 200 prompts


def main() -> None:
    """Simulate what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", nargs="+", type=int, default=[200, 50, 1_000])
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell later")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=list(GROUPS))
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    done = list(read(given.cells))
    known = {key_of(row) for row in done}
    truths = {(r["group"], r["several"]): r["truth"] for r in done if "truth" in r}
    for key in plan(given.groups, given.prompts, given.sets):
        if key in known or time.monotonic() > until:
            continue
        name, prompts, several, part = key
        row: Row = {"group": name, "several": several}
        if prompts is None:
            row["truth"] = truths[name, several] = truth_of(name, several)
        else:
            seeds = range(part * AT_ONCE, min((part + 1) * AT_ONCE, given.sets))
            counts = cell(GROUPS[name], prompts, several, seeds, truths[name, several])
            row |= {"prompts": prompts, "part": part, "counts": counts}
        done.append(row)
        add(given.cells, row)
    print(table(done))


def key_of(row: Row) -> tuple[str, int | None, bool, int]:
    """Which cell a row is."""
    return row["group"], row.get("prompts"), row["several"], row.get("part", 0)


def plan(
    groups: Iterable[str], sizes: Sequence[int], sets: int
) -> Iterator[tuple[str, int | None, bool, int]]:
    """The population values first, then size by size, group by group in turn."""
    names = list(groups)
    for name in names:
        for several in (False, True):
            yield name, None, several, 0
    for size in sizes:
        for part in range(-(-sets // AT_ONCE)):
            for name in names:
                for several in (False, True):
                    yield name, size, several, part


def truth_of(name: str, several: bool) -> dict[str, float]:
    """Population values by id and slice, of those that the simulation does not know."""
    known = found_by(GROUPS[name](Draw(50, several, 0, 50)))
    if all(len(found) == 4 for found in known.values()):
        return {}
    prompts, sets = POPULATIONS.get(name, POPULATIONS[""])
    values: dict[str, list[float]] = defaultdict(list)
    for seed in range(sets):
        for id_, found in found_by(GROUPS[name](Draw(prompts, several, seed, 50))).items():
            if len(found) == 3:
                values[id_].append(found[0])
    return {id_: float(np.mean(each)) for id_, each in values.items()}


def cell(
    group: Group, prompts: int, several: bool, seeds: Iterable[int], truth: Mapping[str, float]
) -> dict[str, list[int]]:
    """Intervals that hold the value, end below it and begin above it, by id and slice."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for seed in seeds:
        for id_, found in found_by(group(Draw(prompts, several, seed, RESAMPLES))).items():
            value = found[3] if len(found) == 4 else truth.get(id_, math.nan)
            if math.isnan(value):
                continue
            slack = 1e-9 * abs(value)  # of rounding, where a number never varies
            below, above = found[2] < value - slack, found[1] > value + slack
            counts[id_][1 if below else 2 if above else 0] += 1
    return dict(counts)


def found_by(measured: Iterable[Measured]) -> dict[str, list[float]]:
    """Value and interval by id and slice, then the population value where it is known.

    Of subsets only where there is no whole; undefined numbers are left out.
    """
    pairs = [m if isinstance(m, tuple) else (m, None) for m in measured]
    whole = {metric.id for metric, _ in pairs if not metric.slice}
    return {
        " ".join([metric.id, *metric.slice.values()]): [
            metric.estimate.value,
            metric.estimate.low,
            metric.estimate.high,
            *([] if truth is None else [truth]),
        ]
        for metric, truth in pairs
        if metric.estimate.defined and (not metric.slice or metric.id not in whole)
    }


def coverage(rows: Sequence[Row]) -> dict[str, dict[Setting, tuple[int, int]]]:
    """Data sets whose interval holds the population value, and data sets, by metric and setting."""
    counts: dict[str, dict[Setting, tuple[int, int]]] = defaultdict(dict)
    for row in rows:
        for id_, (held, below, above) in row.get("counts", {}).items():
            setting = (row["prompts"], row["several"])
            hit, n = counts[id_].get(setting, (0, 0))
            counts[id_][setting] = hit + held, n + held + below + above
    return counts


def table(rows: Sequence[Row]) -> str:
    """Coverage in percent, by metric and setting; and the metrics that are not there, with why."""
    counts = coverage(rows)
    settings = sorted({setting for by in counts.values() for setting in by})
    heads = [f"{size:,}{', several' if several else ''}" for size, several in settings]
    lines = [
        f"| metric | {' | '.join(heads)} | data sets | |",
        f"| --- {'| ---: ' * len(heads)}| --- | --- |",
    ]
    for id_ in sorted(counts):
        by_setting = counts[id_]
        cells = [shown(*by_setting.get(setting, (0, 0))) for setting in settings]
        lines.append(
            f"| `{id_}` | {' | '.join(cells)} | {sizes(by_setting)} | {verdict(by_setting)} |"
        )
    there = {id_.partition(" ")[0] for id_ in counts}
    lines += ["", "No population value:", ""]
    lines += [f"- `{id_}`: {why}." for id_, why in sorted(NO_POPULATION.items())]
    absent = sorted(set(metric_specs()) - there - set(NO_POPULATION))
    if absent:
        lines += ["", f"Not run: {', '.join(f'`{id_}`' for id_ in absent)}."]
    return "\n".join(lines)


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
