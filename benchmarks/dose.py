"""The table of the dose world: where gold turns and what is lost after it, by seed, resumable.

    python benchmarks/dose.py --seeds 20 [--rl]
    python benchmarks/dose.py --seeds 20 --ppo-wco     # PPO against the worst case of four
    python benchmarks/dose.py --figure docs/figures    # the figure of the documentation, seed 0

One cell per (pairs, noise, RL or not, seed) is appended to benchmarks/cells/dose.jsonl; cells that
are there are not run again. The table gives means, 95% t intervals over seeds, and paired
differences.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read
from scipy.stats import t as student

from rmaudit.overoptimization.dose_curves import (
    BETAS,
    METHODS,
    OCTAVES,
    SINGLE,
    WARM,
    _rl,
    exact_curve,
    from_dose,
    proxy_tables,
    within_sd,
)
from rmaudit.overoptimization.fits import Form, fit_form, form_terms
from rmaudit.overoptimization.paper import gain_lines
from rmaudit.plots.gain_lines import gain_axes
from rmaudit.plots.paper import paper_files
from rmaudit.worlds.dose import DoseWorld
from rmaudit.worlds.dose.policy import DoseSetting
from rmaudit.worlds.dose.proxies import train_proxies

CELLS = Path(__file__).parent / "cells" / "dose.jsonl"
SETTINGS = ((800, 0.25), (3200, 0.25), (800, 0.0))


def numbers(gold: np.ndarray, kl: np.ndarray) -> dict[str, float]:
    """Peak and loss of a curve of mean gold gains."""
    peak = int(gold.argmax())
    lost = float(gold[peak] - gold[-1])
    return {"kl": float(kl[peak]), "gain": float(gold[peak]), "loss": lost, "end": float(kl[-1])}


def cell(world: DoseWorld, pairs: int, noise: float, seed: int, rl: bool | str) -> dict[str, Any]:
    """Every proxy under best of n and the tilt, exact; or under RL one model, or ("wco") WCO."""
    feedback = world.draw_pairs(pairs, np.random.default_rng(seed), noise=noise)
    proxies = train_proxies(world, feedback, seed=seed)
    tables, unit = proxy_tables(world, proxies), within_sd(world, world.gold)
    if rl == "wco":
        found = rl_gains(world, tables["wco"], seed, unit, "WCO", ("ppo",))
    elif rl:
        found = rl_gains(world, tables[SINGLE], seed, unit)
    else:
        found = exact_gains(world, tables, unit)
    return {
        "pairs": pairs,
        "noise": noise,
        "seed": seed,
        "rl": rl,
        "error_correlation": proxies.error_correlation(world.gold),
        "effective_number": proxies.effective_number(world.gold),
        "found": found,
    }


def exact_gains(
    world: DoseWorld, tables: Mapping[str, np.ndarray], unit: float
) -> dict[str, dict[str, float]]:
    """Peak and loss of every proxy under best of n and the tilted policy."""
    gains = {}
    for name, table in tables.items():
        for method, strengths in (
            ("bon", 2.0 ** np.arange(OCTAVES + 1)),
            ("tilted", BETAS * within_sd(world, table)),
        ):
            curve = exact_curve(world, table, method, strengths)  # type: ignore[arg-type]
            gold = (curve.gold - curve.gold_start[:, None]).mean(axis=0) / unit
            gains[f"{method} {name}"] = numbers(gold, curve.kl_at)
    return gains


def rl_gains(
    world: DoseWorld,
    table: np.ndarray,
    seed: int,
    unit: float,
    name: str = SINGLE,
    methods: Sequence[str] = METHODS,
) -> dict[str, dict[str, float]]:
    """Peak and loss of one proxy under RLOO, PPO and A2C."""
    gains = {}
    for method in methods:
        with tempfile.TemporaryDirectory() as folder:
            _rl(DoseSetting(world, seed=seed), table, method, 150, Path(folder), seed)
            lines = (Path(folder) / method / "training-log.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if "gold_exact" in row]
        gold = np.array([row["gold_exact"] for row in rows])
        kl = np.array([row["kl_exact"] for row in rows])
        gains[f"{method} {name}"] = numbers((gold - gold[0]) / unit, kl) | {
            "curve": np.column_stack([kl, (gold - gold[0]) / unit]).round(4).tolist()
        }
    return gains


def interval(values: np.ndarray) -> str:
    """Mean and half-width of a 95% t interval over seeds."""
    if len(values) < 2:
        return f"{values.mean():.2f}"
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():.2f} ± {half:.2f}"


def table(cells: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = [
        "| pairs | flipped labels | method, proxy | seeds | peak KL | gain at the peak "
        "| loss after it | loss minus that of one model |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for pairs, noise in SETTINGS:
        mine = [c for c in cells if (c["pairs"], c["noise"]) == (pairs, noise)]
        seeds: dict[int, dict[str, Any]] = {}
        for c in mine:
            seeds.setdefault(c["seed"], {}).update(c["found"])
        for name in dict.fromkeys(key for found in seeds.values() for key in found):
            one = f"{name.partition(' ')[0]} {SINGLE}"
            here = [f for f in seeds.values() if name in f and one in f]
            of = {k: np.array([f[name][k] for f in here]) for k in ("kl", "gain", "loss")}
            base = np.array([f[one]["loss"] for f in here])
            paired = "" if name.endswith(SINGLE) else interval(of["loss"] - base)
            shown = " | ".join(interval(of[k]) for k in ("kl", "gain", "loss"))
            lines.append(f"| {pairs} | {noise:.0%} | {name} | {len(here)} | {shown} | {paired} |")
    return "\n".join(lines)


def forms(cells: list[dict[str, Any]]) -> str:
    """How far each of the two published forms is off the RL runs whose curves are kept."""
    lines = [
        "| RL runs | seeds | off `d (a - b d)`, gold SD | off `d (a - b log d)` | difference |",
        "| --- | --- | --- | --- | --- |",
    ]
    off: dict[str, list[tuple[float, float]]] = {}
    for found in (c["found"] for c in cells if c["rl"]):
        for name, run in found.items():
            if "curve" in run:
                kl, gain = np.array(run["curve"]).T
                off.setdefault(name, []).append(
                    (form_error(kl, gain, "bon"), form_error(kl, gain, "rl"))
                )
    for name, errors in off.items():
        bon, rl = np.array(errors).T
        shown = " | ".join(interval(each) for each in (bon, rl, rl - bon))
        lines.append(f"| {name} | {len(errors)} | {shown} |")
    return "\n".join(lines) if off else ""


def form_error(kl: np.ndarray, gain: np.ndarray, form: Form) -> float:
    """Root mean square of what a published form, fitted by least squares, leaves of a curve."""
    d = np.sqrt(kl[kl > 0])
    mine = gain[kl > 0]
    alpha, beta = fit_form(d[None], mine[None], np.ones(len(d)), form)
    first, second = form_terms(d, form)
    return float(np.sqrt(np.mean((mine - alpha[0] * first - beta[0] * second) ** 2)))


def figure(folder: Path) -> None:
    """Best of n against one model, mean, WCO and UWO: gold and proxy, at the width of NeurIPS."""
    found = from_dose(folder, rl=())
    chosen = [one for one in found.studies if one.curve.method == "bon" and one.run != WARM]
    lines, marks, unit = gain_lines(replace(found, studies=tuple(chosen)))
    draw = partial(gain_axes, lines=lines, marks=marks, unit=unit)
    files = paper_files(draw, "neurips", "The dose world: gain of best of n")
    (folder / "overopt-dose.svg").write_bytes(files["svg"])


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--figure", type=Path, help="a folder for the figure; no table")
    parser.add_argument("--rl", action="store_true", help="also RLOO, PPO and A2C (a minute each)")
    parser.add_argument("--ppo-wco", action="store_true", help="also PPO against WCO")
    asked = parser.parse_args()
    if asked.figure:
        figure(asked.figure)
        return
    cells = list(read(CELLS))
    done = {(c["pairs"], c["noise"], c["rl"], c["seed"]) for c in cells}
    world = DoseWorld()
    wanted: list[tuple[int, float, bool | str]]
    wanted = [(pairs, noise, False) for pairs, noise in SETTINGS]
    wanted += [(*SETTINGS[0], True)] if asked.rl else []
    wanted += [(*SETTINGS[0], "wco")] if asked.ppo_wco else []
    for seed in range(asked.seeds):
        for pairs, noise, rl in wanted:
            if (pairs, noise, rl, seed) in done:
                continue
            cells.append(cell(world, pairs, noise, seed, rl))
            add(CELLS, cells[-1])
    print(table(cells))
    print(f"\n{forms(cells)}")


if __name__ == "__main__":
    main()
