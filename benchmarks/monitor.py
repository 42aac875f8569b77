"""The monitor beside three simple rules, on simulated runs whose onset is known.

    python benchmarks/monitor.py --runs 40             # goes on where it stopped

Twelve shapes of the gold reward, of which two only rise and two are flat, at 64 samples per step;
noise of successive steps is AR(1). Each cell is kept in ``benchmarks/cells/monitor.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rmaudit.stats.falls import FallTest

CELLS = Path(__file__).parent / "cells" / "monitor.jsonl"
STEPS = 300
NOISE = 0.125  # SD of a step's mean: 64 samples of SD 1
ALPHA = 0.05
Shape = Callable[[np.ndarray], np.ndarray]


def _turn(rise: float, at: float, slope: float) -> Shape:
    return lambda u: 1 - np.exp(-rise * u) - slope * np.maximum(u - at, 0)


SHAPES: dict[str, Shape] = {
    "steep fall, middle": _turn(6, 0.4, 2.5),
    "steep fall, early": _turn(12, 0.2, 2.0),
    "steep fall, late": _turn(6, 0.7, 4.0),
    "sudden fall": lambda u: np.where(u < 0.5, 1 - np.exp(-6 * u), 0.0),
    "gentle fall, middle": _turn(6, 0.4, 1.0),
    "gentle fall, late": _turn(6, 0.7, 1.5),
    "the published form": lambda u: np.sqrt(25 * u) * (0.9 - 0.5 * np.log(np.sqrt(25 * u + 1e-9))),
    "flat, then falls": lambda u: -1.5 * np.maximum(u - 0.4, 0),
    "rises throughout": lambda u: 1 - np.exp(-4 * u),
    "rises in a line": lambda u: u,
    "flat": lambda u: 0 * u,
    "rises, then flat": lambda u: np.minimum(3 * u, 1.0),
}
STEEP = tuple(name for name in SHAPES if name.startswith(("steep", "sudden")))
SOUND = ("rises throughout", "rises in a line", "flat", "rises, then flat")
DEPENDENCE = (0.0, 0.5, 0.8)


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """Stationary AR(1) noise of variance 1."""
    out = np.empty(n)
    out[0] = rng.standard_normal()
    for t, shock in enumerate(rng.standard_normal(n - 1) * math.sqrt(1 - phi**2), 1):
        out[t] = phi * out[t - 1] + shock
    return out


def monitor(gold: np.ndarray, kl: np.ndarray) -> int | None:
    """The first step at which the test of `RunMonitor` reaches its level."""
    test = FallTest()
    return next((t for t, value in enumerate(gold) if test.update(value).p <= ALPHA), None)


def slope(gold: np.ndarray, kl: np.ndarray, width: int = 50) -> int | None:
    """The slope of the last 50 steps is below zero at 1 %, steps taken as independent."""
    x = np.arange(width) - (width - 1) / 2
    for t in range(width, len(gold) + 1):
        y = gold[t - width : t]
        b = x @ y / (x @ x)
        off = y - y.mean() - b * x
        if b < -2.4 * math.sqrt(off @ off / (width - 2) / (x @ x)):
            return t - 1
    return None


def ema_drop(gold: np.ndarray, kl: np.ndarray, keep: float = 0.95, drop: float = 0.1) -> int | None:
    """An exponential mean falls by a tenth of its gain so far below its best."""
    mean = best = first = gold[0]
    for t, value in enumerate(gold):
        mean = keep * mean + (1 - keep) * value
        best = max(best, mean)
        if t > 20 and best - mean > max(drop * abs(best - first), NOISE):
            return t
    return None


def kl_threshold(gold: np.ndarray, kl: np.ndarray, limit: float = 10.0) -> int | None:
    """KL above 10 nats, whatever gold does."""
    over = np.flatnonzero(kl > limit)
    return int(over[0]) if over.size else None


RULES = {"monitor": monitor, "slope": slope, "EMA drop": ema_drop, "KL": kl_threshold}


def cell(name: str, phi: float, runs: int) -> dict[str, Any]:
    """Share found after the onset, early alarms, delay, and share of the gain lost at the alarm."""
    u = np.arange(STEPS) / STEPS
    truth, kl = SHAPES[name](u), 16 * u
    onset = int(np.argmax(truth)) if name not in SOUND else STEPS
    if name == "flat, then falls":
        onset = int(0.4 * STEPS)
    gain = truth.max() - truth[0] if truth.max() > truth[0] else 1.0
    row: dict[str, Any] = {"shape": name, "ar": phi, "runs": runs, "onset": onset}
    for rule, first in RULES.items():
        alarms = []
        for k in range(runs):
            rng = np.random.default_rng([k, round(10 * phi)])
            alarms.append(first(truth + NOISE * ar1(rng, STEPS, phi), kl))
        late = [a for a in alarms if a is not None and a >= onset]
        lost = [(truth.max() - truth[a]) / gain for a in late]
        row[rule] = {
            "early": sum(a is not None and a < onset for a in alarms) / runs,
            "found": len(late) / runs,
            "delay": float(np.median(late)) - onset if late else None,
            "lost": float(np.median(lost)) if lost else None,
            "before_half": sum(share < 0.5 for share in lost) / runs,
        }
    return row


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    given.cells.parent.mkdir(exist_ok=True)
    done = []
    if given.cells.exists():
        done = [json.loads(line) for line in given.cells.read_text().splitlines()]
    known = {(c["shape"], c["ar"]) for c in done if c["runs"] == given.runs}
    for name, phi in itertools.product(SHAPES, DEPENDENCE):
        if (name, phi) not in known:
            done.append(cell(name, phi, given.runs))
            with given.cells.open("a") as out:
                out.write(json.dumps(done[-1]) + "\n")
    print("| gold reward | AR(1) |" + "".join(f" {rule} |" for rule in RULES))
    print("| --- | --- |" + " --- |" * len(RULES))
    for c in done:
        shown = []
        for rule in RULES:
            r = c[rule]
            if c["shape"] in SOUND:
                shown.append(f"false {r['early']:.2f}")
                continue
            text = f"{r['found']:.2f}"
            if r["delay"] is not None:
                text += f", +{r['delay']:.0f} steps, {100 * r['lost']:.0f}% lost"
            shown.append(text + (f", early {r['early']:.2f}" if r["early"] else ""))
        print(f"| {c['shape']} | {c['ar']:g} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
