"""The monitor beside simple rules, a public package and two oracles, on simulated runs.

    python benchmarks/monitor.py --runs 40             # goes on where it stopped
    python benchmarks/monitor.py --samples 256         # with four times the samples
    python benchmarks/monitor.py --flat 400            # false alarms of runs that never fall

Twelve shapes of the gold reward, of which two only rise and two are flat, at 64 samples per step;
noise of successive steps is AR(1). Each cell is kept in ``benchmarks/cells/monitor.jsonl``.

``rldoctor`` runs where it is installed (``pip install --no-deps rldoctor``, 0.2.0): its
reward-eval divergence takes the proxy and the gold reward. What an alarm could know at best: "noise
known" compares the monitor's windows with the noise given, its limit set to 5% false alarms by
simulation; "oracle" knows the shape, the onset and the noise, and tests the fall against staying at
the best (a sequential likelihood ratio, alarm at 1 / 0.05).
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read

from rmaudit.stats.dependence import variance_of_mean
from rmaudit.stats.falls import BLOCKS, FIRST, LOOK, WINDOWS, FallTest

try:
    from rl_doctor.live import LiveMonitor
except ImportError:
    LiveMonitor = None

CELLS = Path(__file__).parent / "cells" / "monitor.jsonl"
STEPS = 300
SAMPLES = 64  # of a step, of SD 1
NOISE = 1 / math.sqrt(SAMPLES)  # SD of a step's mean
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
SOUND = ("rises throughout", "rises in a line", "flat", "rises, then flat")
DEPENDENCE = (0.0, 0.5, 0.8)


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """Stationary AR(1) noise of variance 1."""
    out = np.empty(n)
    out[0] = rng.standard_normal()
    for t, shock in enumerate(rng.standard_normal(n - 1) * math.sqrt(1 - phi**2), 1):
        out[t] = phi * out[t - 1] + shock
    return out


class Log:
    """What a run logged, and for the oracles what it was made from."""

    def __init__(
        self, name: str, phi: float, seed: list[int], steps: int = STEPS, samples: int = SAMPLES
    ) -> None:
        self.noise = 1 / math.sqrt(samples)
        rng = np.random.default_rng(seed)
        u = np.arange(steps) / steps
        self.phi, self.truth, self.kl = phi, SHAPES[name](u), 16 * u
        self.onset = int(np.argmax(self.truth)) if name not in SOUND else steps
        if name == "flat, then falls":
            self.onset = int(0.4 * steps)
        self.gold = self.truth + self.noise * ar1(rng, steps, phi)
        self.proxy = 3 * (1 - np.exp(-3 * u)) + self.noise * ar1(rng, steps, phi)


def monitor(log: Log) -> int | None:
    """The first step at which the test of `RunMonitor` reaches its level."""
    test = FallTest()
    return next((t for t, value in enumerate(log.gold) if test.update(value).p <= ALPHA), None)


def slope(log: Log, width: int = 50) -> int | None:
    """The slope of the last 50 steps is below zero at 1 %, steps taken as independent."""
    x = np.arange(width) - (width - 1) / 2
    for t in range(width, len(log.gold) + 1):
        y = log.gold[t - width : t]
        b = x @ y / (x @ x)
        off = y - y.mean() - b * x
        if b < -2.4 * math.sqrt(off @ off / (width - 2) / (x @ x)):
            return t - 1
    return None


def ema_drop(log: Log, keep: float = 0.95, drop: float = 0.1) -> int | None:
    """An exponential mean falls by a tenth of its gain so far below its best."""
    mean = best = first = log.gold[0]
    for t, value in enumerate(log.gold):
        mean = keep * mean + (1 - keep) * value
        best = max(best, mean)
        if t > 20 and best - mean > max(drop * abs(best - first), NOISE):
            return t
    return None


def kl_threshold(log: Log, limit: float = 10.0) -> int | None:
    """KL above 10 nats, whatever gold does."""
    over = np.flatnonzero(log.kl > limit)
    return int(over[0]) if over.size else None


def rldoctor(log: Log) -> int | None:
    """The first warning of rldoctor's reward-eval divergence, with its own settings."""
    watch = LiveMonitor(only=["reward_hacking"], on_finding=lambda finding: None)
    for t, (proxy, gold) in enumerate(zip(log.proxy, log.gold, strict=True)):
        found = watch.log({"reward_mean": float(proxy), "eval_score": float(gold)}, step=t)
        if found:
            return t
    return None


def largest_falls(gold: np.ndarray, phi: float, noise: float = NOISE) -> np.ndarray:
    """At each look the largest fall between windows in standard errors, the noise given."""
    totals = np.concatenate([[0.0], np.cumsum(gold)])
    found = []
    for t in range(FIRST, len(gold) + 1, LOOK):
        best = -math.inf
        for recent, (size, stride) in itertools.product(WINDOWS, BLOCKS):
            first = np.arange(0, t - recent - size + 1, stride)
            if first.size:
                higher = (totals[first + size] - totals[first]).max() / size
                now = (totals[t] - totals[t - recent]) / recent
                square = variance_of_mean(size, phi) + variance_of_mean(recent, phi)
                best = max(best, (higher - now) / noise / math.sqrt(square))
        found.append(best)
    return np.array(found)


@lru_cache
def limit_of(phi: float, runs: int = 1000) -> float:
    """What the largest fall of a flat run stays below in 95 % of runs."""
    rng = np.random.default_rng([7, round(10 * phi)])
    flat = [largest_falls(NOISE * ar1(rng, STEPS, phi), phi).max() for _ in range(runs)]
    return float(np.quantile(flat, 1 - ALPHA))


def noise_known(log: Log) -> int | None:
    """The monitor's windows with the noise given."""
    over = np.flatnonzero(largest_falls(log.gold, log.phi, log.noise) > limit_of(log.phi))
    return int(FIRST + LOOK * over[0] - 1) if over.size else None


def oracle(log: Log) -> int | None:
    """The likelihood ratio of the true fall to a gold reward that stays at its best."""
    from_onset = slice(log.onset, None)
    if log.onset >= len(log.gold):
        return None
    fall = log.truth[from_onset] - log.truth.max()
    seen = log.gold[from_onset] - log.truth.max()
    size = log.noise * math.sqrt(1 - log.phi**2)
    fall, seen = ((v[1:] - log.phi * v[:-1]) / size for v in (fall, seen))
    over = np.flatnonzero(np.cumsum(fall * seen - fall**2 / 2) > math.log(1 / ALPHA))
    return int(log.onset + 1 + over[0]) if over.size else None


RULES: dict[str, Callable[[Log], int | None]] = {
    "monitor": monitor,
    "noise known": noise_known,
    "oracle": oracle,
    "slope": slope,
    "EMA drop": ema_drop,
    "KL": kl_threshold,
    **({} if LiveMonitor is None else {"rldoctor": rldoctor}),
}


def cell(name: str, phi: float, runs: int, samples: int) -> dict[str, Any]:
    """Share found after the onset, early alarms, delay, and share of the gain lost at the alarm."""
    logs = [Log(name, phi, [k, round(10 * phi)], samples=samples) for k in range(runs)]
    truth, onset = logs[0].truth, logs[0].onset
    gain = truth.max() - truth[0] if truth.max() > truth[0] else 1.0
    row: dict[str, Any] = {"shape": name, "ar": phi, "runs": runs, "onset": onset}
    row["samples"] = samples
    for rule, first in RULES.items():
        alarms = [first(log) for log in logs]
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


def flat_cell(phi: float, runs: int, steps: int) -> dict[str, Any]:
    """Share of runs that never fall in which the monitor rings."""
    alarms = [monitor(Log("flat", phi, [k, round(10 * phi), 12], steps)) for k in range(runs)]
    rang = sum(alarm is not None for alarm in alarms)
    return {"shape": "flat", "ar": phi, "runs": runs, "steps": steps, "rang": rang}


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of a step")
    parser.add_argument("--flat", type=int, help="runs that never fall; no other table")
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    done = list(read(given.cells))

    def keep(made: dict[str, Any]) -> None:
        done.append(made)
        add(given.cells, made)

    if given.flat:
        sizes = {(c["ar"], c["steps"]) for c in done if "rang" in c and c["runs"] == given.flat}
        for phi, steps in itertools.product((*DEPENDENCE, 0.9), (STEPS,)):
            if (phi, steps) not in sizes:
                keep(flat_cell(phi, given.flat, steps))
        print("| AR(1) | steps | runs | rang |\n| --- | --- | --- | --- |")
        for c in (c for c in done if "rang" in c):
            print(f"| {c['ar']:g} | {c['steps']} | {c['runs']} | {c['rang'] / c['runs']:.3f} |")
        return
    asked = (given.runs, given.samples)
    mine = [c for c in done if (c["runs"], c.get("samples")) == asked]
    known = {(c["shape"], c["ar"]) for c in mine}
    for name, phi in itertools.product(SHAPES, DEPENDENCE):
        if (name, phi) not in known:
            keep(cell(name, phi, *asked))
            mine.append(done[-1])
    show(mine)


def show(cells: list[dict[str, Any]]) -> None:
    """Two tables: shapes that fall, and false alarms of those that do not."""
    rules = [rule for rule in RULES if all(rule in c for c in cells)]
    head = "| gold reward | AR(1) |" + "".join(f" {rule} |" for rule in rules)
    print(head + "\n| --- | --- |" + " --- |" * len(rules))
    for c in (c for c in cells if c["shape"] not in SOUND):
        print(f"| {c['shape']} | {c['ar']:g} | {' | '.join(_text(c[r]) for r in rules)} |")
    if all(c["shape"] not in SOUND for c in cells):
        return
    print("\n" + head + "\n| --- | --- |" + " --- |" * len(rules))
    for c in (c for c in cells if c["shape"] in SOUND):
        shown = " | ".join(f"{c[rule]['early']:.2f}" for rule in rules)
        print(f"| {c['shape']} | {c['ar']:g} | {shown} |")


def _text(found: dict[str, Any]) -> str:
    """Share found, and before half of the gain was lost; median steps from the onset."""
    text = f"{found['found']:.2f}, {found['before_half']:.2f} in time"
    if found["delay"] is not None:
        text += f", +{found['delay']:.0f}"
    return text + (f"; early {found['early']:.2f}" if found["early"] else "")


if __name__ == "__main__":
    main()
