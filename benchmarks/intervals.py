"""Do the 95 % intervals hold the population value in 95 % of data sets?

    python benchmarks/intervals.py [--prompts 50 200 1000] [--sets 2000] [--minutes M]
                                   [--out build/intervals]

Data sets are simulated with one pair a prompt, and with one to five; numbers are those of the
audits themselves. The population value is the mean over data sets of 20,000 prompts. Each data
set's estimates are appended to OUT/estimates.jsonl: a run that was stopped goes on where it was.
Prints the coverage of every metric with its Monte-Carlo interval, and which metrics are not here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

# This folder last: a file here is called statistics.py, like a module of the standard library.
if Path(sys.path[0]).resolve() == Path(__file__).resolve().parent:
    sys.path.pop(0)
sys.path.append(str(Path(__file__).resolve().parent))

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rows import read
from scipy.special import expit
from scipy.stats import binomtest

import rmaudit as rma
from rmaudit import registry
from rmaudit.audits import generalization, prompt, sparsity
from rmaudit.audits.pairs import margins
from rmaudit.case import Case
from rmaudit.results import Estimate, Metric
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Scores

Float = NDArray[np.float64]
Row = dict[str, Any]

AUDITS = (
    "preference",
    "calibration",
    "length",
    "disagreement",
    "annotators",
    "tails",
    "teacher",
    "overoptimization",
)
MEMBERS, SAMPLES, SUBSETS, VOTES = 3, 16, 4, 3
POPULATION, POPULATIONS = 20_000, 2  # prompts of a data set that stands for all, and such sets
RESAMPLES = 500
LOW, HIGH = 0.935, 0.965  # the band that a metric should be in at 200 prompts


def main() -> None:
    """Simulate what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", nargs="+", type=int, default=[50, 200, 1_000])
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no set later")
    parser.add_argument("--out", type=Path, default=Path("build") / "intervals")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * given.minutes
    file = given.out / "estimates.jsonl"
    known = {(row["prompts"], row["several"], row["seed"]) for row in read(file)}
    with file.open("a", encoding="utf-8") as out:
        for key in plan(given.prompts, given.sets):
            if key not in known and time.monotonic() < until:
                out.write(json.dumps(row_of(*key)) + "\n")
                out.flush()
    text = table(list(read(file)))
    (given.out / "intervals.md").write_text(text + "\n", encoding="utf-8")
    print(text)


def plan(sizes: Sequence[int], sets: int) -> Iterator[tuple[int, bool, int]]:
    """The population first, then set by set, so that a run that is stopped has as many of each."""
    for several in (False, True):
        for seed in range(POPULATIONS):
            yield POPULATION, several, seed
    for seed in range(sets):
        for size in sizes:
            for several in (False, True):
                yield size, several, seed


def row_of(prompts: int, several: bool, seed: int) -> Row:
    """Value and interval of every metric on one data set; None where undefined."""
    rng = np.random.default_rng([prompts, several, seed])
    found = {
        " ".join([metric.id, *metric.slice.values()]): [
            metric.estimate.value,
            metric.estimate.low,
            metric.estimate.high,
        ]
        if metric.estimate.defined
        else None
        for metric in estimates(rng, prompts, several, 100 if prompts == POPULATION else RESAMPLES)
        if not metric.slice or metric.id.startswith("overoptimization")
    }
    return {"prompts": prompts, "several": several, "seed": seed, "found": found}


def estimates(
    rng: np.random.Generator, prompts: int, several: bool, resamples: int
) -> list[Metric]:
    """Simulate a data set, and measure."""
    counts = rng.integers(1, 6, prompts) if several else np.ones(prompts, dtype=np.int64)
    of = np.repeat(np.arange(prompts), counts)  # prompt of each pair, (n,)
    frame, reward, members, length = simulated(rng, of)
    case = Case(
        Recorded(),
        rma.load(frame.to_dict("records"), "preference"),
        samples=rma.load(samples(rng, prompts), "deployment"),
        ensemble=tuple(Recorded(f"member {k}") for k in range(1, MEMBERS)),
        seed=int(rng.integers(1 << 30)),
        resamples=resamples,
    )
    columns = [
        {
            request.key: column(values[:, side], length[:, side])
            for side, request in enumerate(case.data_requests)
        }
        for values in (reward, *members)
    ]
    names = ["recorded", *(f"member {k}" for k in range(1, MEMBERS))]
    scores = Scores([], columns[0], members=columns, member_names=names)
    found: list[Metric] = []
    for audit in registry.audits(AUDITS):
        found += audit.measure(case, scores).metrics
    return found + others(rng, case, scores, of)


def simulated(
    rng: np.random.Generator, of: NDArray[np.int64]
) -> tuple[pd.DataFrame, Float, list[Float], NDArray[np.int64]]:
    """Rows, rewards of the model and of the other members, lengths; (n, 2), chosen first."""
    n, prompts = len(of), int(of.max()) + 1
    length = np.maximum(1, np.exp(rng.normal(4, 0.6, (n, 2)))).astype(np.int64)
    easy = rng.normal(0.9, 0.6, prompts)[of]  # pairs of a prompt are alike
    subset = rng.integers(0, SUBSETS, n)
    margin = easy + 0.15 * subset + rng.normal(0, 1.2, n)
    base = rng.normal(0, 1, n)
    reward = np.stack([base + margin / 2, base - margin / 2], axis=1) + 0.3 * np.log2(length)
    unsure = np.exp(rng.normal(-0.5, 0.5, prompts))[of, None]
    reward = np.round(reward, 1)  # some ties
    members = [reward + unsure * rng.normal(size=(n, 2)) for _ in range(1, MEMBERS)]
    agree = rng.random((n, VOTES)) < expit(0.4 + easy)[:, None]
    for_chosen = agree.sum(axis=1, keepdims=True) * 2 > VOTES
    votes = np.where(agree == for_chosen, "chosen", "rejected")  # the majority is the label
    people = [f"annotator {k}" for k in range(VOTES)]
    frame = pd.DataFrame(
        {
            "prompt": [f"Question {p}" for p in of],
            "chosen": [f"Answer {i}" for i in range(n)],
            "rejected": [f"Reply {i}" for i in range(n)],
            "subset": [f"subset {s}" for s in subset],
            "annotator_votes": votes.tolist(),
            "annotators": [people] * n,
        }
    )
    return frame, reward, members, length


def samples(rng: np.random.Generator, prompts: int) -> list[Row]:
    """Rewards of a policy's samples: the proxy follows the gold reward, with a heavy tail."""
    gold = rng.normal(0, 1, (prompts, SAMPLES)) + rng.normal(0, 1, (prompts, 1))
    proxy = gold + 0.7 * rng.standard_t(6, (prompts, SAMPLES))
    proxy[rng.random(prompts) < 0.2] *= 0.02  # saturated
    outputs = [f"Sample {j}" for j in range(SAMPLES)]
    return [
        {
            "prompt": f"Question {p}",
            "outputs": outputs,
            "proxy_rewards": r.tolist(),
            "gold_rewards": g.tolist(),
        }
        for p, (r, g) in enumerate(zip(proxy, gold, strict=True))
    ]


def column(reward: Float, length: NDArray[np.int64]) -> Column:
    """A column of rewards."""
    no = np.zeros(len(reward), dtype=bool)
    return Column(reward, length, length, no, no, no)


def others(
    rng: np.random.Generator, case: Case, scores: Scores, of: NDArray[np.int64]
) -> list[Metric]:
    """What needs texts elsewhere: margins under other prompts, along outputs, outside support."""
    found = margins(case, scores).decided
    n, margin = len(found), found.margin
    elsewhere = [share * margin + rng.normal(0, 1, n) for share in (0.2, 0.3, 0.5)]
    named: dict[str, Estimate] = prompt.numbers(case, prompt.Swapped(found, *elsewhere))
    steps = np.abs(rng.normal(0, 1, (2, n, 10))) * np.r_[np.ones(9), 3.0]
    curves = dict(zip(("chosen", "rejected"), np.cumsum(steps, axis=2), strict=True))
    named["sparsity.late_share"] = sparsity.late_share(curves, found.cluster, 0.95)
    shares = np.linspace(0.2, 1, 10)
    along = margin[:, None] * shares + (1 - shares) * rng.normal(0, 2, (n, 10))
    named["sparsity.arrival_position"] = sparsity.arrival_position(along, found.cluster, case)[1]
    outside = rng.random(int(of.max()) + 1)[of] < 0.3
    shifted = replace(found, reward=found.reward.copy())
    worse = found.worse[outside[found.row]]
    shifted.reward[worse] += 0.5  # less often right outside
    numbers = generalization.by_support(shifted, np.where(outside, 0.0, 1.0), 0.95)
    named |= {f"generalization.{name}": estimate for name, estimate in numbers.items()}
    return [Metric(id_, estimate) for id_, estimate in named.items()]


def coverage(rows: Sequence[Row]) -> dict[str, dict[tuple[int, bool], tuple[int, int]]]:
    """Data sets whose interval holds the population value, and data sets, by metric and setting."""
    truth: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for row in rows:
        for id_, found in row["found"].items():
            if row["prompts"] == POPULATION and found is not None:
                truth[id_, row["several"]].append(found[0])
    counts: dict[str, dict[tuple[int, bool], tuple[int, int]]] = defaultdict(dict)
    for row in rows:
        setting = (row["prompts"], row["several"])
        for id_, found in row["found"].items():
            values = truth[id_, row["several"]]
            if row["prompts"] != POPULATION and found is not None and values:
                hit, n = counts[id_].get(setting, (0, 0))
                inside = found[1] <= float(np.mean(values)) <= found[2]
                counts[id_][setting] = hit + inside, n + 1
    return counts


def table(rows: Sequence[Row]) -> str:
    """Coverage in percent with its 95 % Monte-Carlo interval, by metric and setting."""
    counts = coverage(rows)
    settings = sorted({setting for by in counts.values() for setting in by})
    heads = [f"{size:,}{', several' if several else ''}" for size, several in settings]
    lines = [f"| metric | {' | '.join(heads)} | |", "| --- " * (len(heads) + 2) + "|"]
    for id_, by_setting in counts.items():
        cells = [shown(*by_setting.get(setting, (0, 0))) for setting in settings]
        lines.append(f"| `{id_}` | {' | '.join(cells)} | {verdict(by_setting)} |")
    every = {id_ for audit in registry.audits() for id_ in audit.metrics}
    there = {id_.partition(" ")[0] for id_ in counts}
    absent = ", ".join(f"`{id_}`" for id_ in sorted(every - there))
    return "\n".join([*lines, "", f"Not simulated: {absent}."])


def shown(hits: int, n: int) -> str:
    """A share in percent."""
    if not n:
        return ""
    ends = binomtest(hits, n).proportion_ci(method="exact")
    return f"{100 * hits / n:.1f} ({100 * ends.low:.1f}-{100 * ends.high:.1f})"


def verdict(by_setting: Mapping[tuple[int, bool], tuple[int, int]]) -> str:
    """Whether the coverage at 200 prompts is outside the band for certain."""
    said = []
    for (size, _), (hits, n) in by_setting.items():
        if size == 200:
            ends = binomtest(hits, n).proportion_ci(method="exact")
            said += ["short"] * (ends.high < LOW) + ["wide"] * (ends.low > HIGH)
    return ", ".join(dict.fromkeys(said))


if __name__ == "__main__":
    main()
