"""Simulated logs of RL runs: how often intervals hold the truth, and the bracket the onset.

    python benchmarks/rl_logs.py --logs 200            # goes on where it stopped

Each cell is one shape of the gold reward, one dependence of successive steps (AR(1)) and one
spacing of gold evaluations; its numbers are kept in ``benchmarks/cells/rl_logs.jsonl``.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read

from rmaudit.overoptimization.rl_curve import Run, rl_curve
from rmaudit.overoptimization.rl_findings import rl_overoptimization

CELLS = Path(__file__).parent / "cells" / "rl_logs.jsonl"
STEPS = 240
NOISE = 0.12  # SD of a step's mean gold reward, where the gold gain is about 1
Shape = Callable[[np.ndarray], np.ndarray]
SHAPES: dict[str, Shape] = {
    "rises throughout": lambda u: 1 - np.exp(-4 * u),
    "rises in a line": lambda u: u,
    "rises, then falls in a line": lambda u: 1 - np.exp(-6 * u) - 2.5 * np.maximum(u - 0.4, 0),
    "peak early": lambda u: 1 - np.exp(-12 * u) - 1.2 * np.maximum(u - 0.15, 0),
    "peak late": lambda u: 1.2 * u - 4 * np.maximum(u - 0.75, 0),
    "the published form": lambda u: np.sqrt(16 * u) * (0.9 - 0.5 * np.log(np.sqrt(16 * u))),
}
DEPENDENCE = (0.0, 0.5, 0.8)
EVERY = (1, 20, 80)


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """Stationary AR(1) noise of variance 1."""
    out = np.empty(n)
    out[0] = rng.standard_normal()
    for t, shock in enumerate(rng.standard_normal(n - 1) * math.sqrt(1 - phi**2), 1):
        out[t] = phi * out[t - 1] + shock
    return out


def simulated(shape: Shape, phi: float, every: int, seed: list[int]) -> tuple[Run, np.ndarray]:
    """A run, and the true gold reward of each step."""
    rng = np.random.default_rng(seed)
    step = np.arange(1.0, STEPS + 1)
    truth = shape(step / STEPS)
    gold = truth + NOISE * ar1(rng, STEPS, phi)
    gold[(np.arange(STEPS) + 1) % every != 0] = math.nan
    proxy = 3 * (1 - np.exp(-3 * step / STEPS)) + NOISE * ar1(rng, STEPS, phi)
    kl = 16 * step / STEPS * (1 + 0.02 * rng.standard_normal(STEPS))
    return Run(step, kl, proxy, gold), truth


def cell(name: str, phi: float, every: int, logs: int) -> dict[str, Any]:
    """What was found in the logs of one cell, as shares."""
    kept: list[dict[str, float]] = []
    for k in range(logs):
        run, truth = simulated(SHAPES[name], phi, every, [k, round(10 * phi), every])
        curve = rl_curve([run])
        found = rl_overoptimization(curve, np.random.default_rng(k))
        windows = curve.gold_windows
        step, _ = run.series("gold")
        inside = [
            truth[[int(s) - 1 for s in step if a <= s <= b]].mean()
            for a, b in zip(windows.first, windows.last, strict=True)
        ]
        gain, loss = max(inside) - inside[0], max(inside) - inside[-1]
        onset = found.onset_step
        assert onset is not None
        turn = float(np.argmax(truth) + 1)
        peak = found.fit("rl").peak_kl
        row = {
            "onset_held": onset.low <= turn <= onset.high,
            "closed": math.isfinite(onset.high),
            "onset_width": min(onset.high, STEPS) - onset.low,
            "gain_held": found.gain_at_peak.low <= gain + 1e-9
            and gain - 1e-9 <= found.gain_at_peak.high,
            "loss_held": found.loss_after_peak.low <= loss + 1e-9
            and loss - 1e-9 <= found.loss_after_peak.high,
            "said_to_fall": found.loss_after_peak.low > 0,
            "peak_printed": peak.defined,
            "safe_printed": found.safe_kl.defined,
            "safe_held": not found.safe_kl.defined
            or found.safe_kl.value <= 16 * turn / STEPS * 1.05,
        }
        if name == "the published form" and peak.defined:
            row["peak_held"] = peak.low <= math.exp(2 * (0.9 / 0.5 - 1)) <= peak.high
        kept.append({key: float(value) for key, value in row.items()})
    keys = sorted({key for row in kept for key in row})
    means = {key: float(np.mean([row[key] for row in kept if key in row])) for key in keys}
    return {"shape": name, "ar": phi, "every": every, "logs": logs, **means}


def main() -> None:
    """Run what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    logs, cells = given.logs, given.cells
    done = list(read(cells))
    known = {(c["shape"], c["ar"], c["every"]) for c in done if c["logs"] == logs}
    for name, phi, every in itertools.product(SHAPES, DEPENDENCE, EVERY):
        if (name, phi, every) not in known:
            done.append(cell(name, phi, every, logs))
            add(cells, done[-1])
    print("| gold reward | AR(1) | gold every | onset held | width | gain | loss | falls | peak |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for c in done:
        numbers = [c["onset_held"], c["gain_held"], c["loss_held"], c["said_to_fall"]]
        held, gain, loss, falls = (f"{v:.3f}" for v in numbers)
        peak = f"{c['peak_printed']:.2f}" + (f" ({c['peak_held']:.2f})" if "peak_held" in c else "")
        print(
            f"| {c['shape']} | {c['ar']:g} | {c['every']} | {held} | {c['onset_width']:.0f} | "
            f"{gain} | {loss} | {falls} | {peak} |"
        )


if __name__ == "__main__":
    main()
