"""How often intervals from samples of the dose world hold its exact values.

    python benchmarks/estimator_coverage.py --draws 400     # goes on where it stopped

A draw is 200 prompts with 64 responses each from the initial policy. Best of n (2 to 64) and the
tilted policy are estimated from it as `rmaudit overopt --samples` does, which knows nothing of the
world, and held against enumeration. Cells of 50 draws are kept in
``benchmarks/cells/estimator_coverage.jsonl``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read

from rmaudit.overoptimization.curves import Pool, best_of_n_curve, tilted_curve
from rmaudit.overoptimization.dose_curves import exact_curve, within_sd
from rmaudit.overoptimization.fits import fit_form, overoptimization, peak_of
from rmaudit.stats.best_of_n import best_of_n_kl
from rmaudit.worlds.dose import DoseWorld
from rmaudit.worlds.dose.proxies import train_proxies

CELLS = Path(__file__).parent / "cells" / "estimator_coverage.jsonl"
PROMPTS, SAMPLES, AT_ONCE = 200, 64, 50
NS = (1, 2, 4, 8, 16, 32, 64)
STRENGTHS = 2.0 ** np.arange(2, -2.1, -0.5)  # betas in within-prompt SDs of the proxy
PAIRS = (800, 3200)


def truth_of(world: DoseWorld, table: np.ndarray) -> dict[str, Any]:
    """Exact gains in SDs; the measured peak; the peak of the form fitted to the exact curve."""
    unit = within_sd(world, world.gold)
    best = exact_curve(world, table, "bon", np.array(NS, dtype=float))
    tilt = exact_curve(world, table, "tilted", STRENGTHS * within_sd(world, table))
    gains = [(c.gold - c.gold_start[:, None]).mean(axis=0) / unit for c in (best, tilt)]
    kl = np.array([best_of_n_kl(n) for n in NS])
    alpha, beta = fit_form(np.sqrt(kl)[None], gains[0][None], np.ones(len(kl)), "bon")
    return {
        "bon": gains[0],
        "tilted": gains[1],
        "peak_at": float(kl[int(gains[0].argmax())]),
        "fitted": float(peak_of(alpha, beta, "bon")[0]),
        "turns": int(gains[0].argmax()) < len(NS) - 1,
    }


def draw(world: DoseWorld, table: np.ndarray, truth: dict[str, Any], seed: int) -> dict[str, Any]:
    """One draw: which intervals hold."""
    rng = np.random.default_rng([seed, 6])
    context = rng.integers(world.n_contexts, size=PROMPTS)
    outputs = rng.choice(world.log_policy.size, (PROMPTS, SAMPLES), p=np.exp(world.log_policy))
    rows = context[:, None]
    pool = Pool.of(table[rows, outputs], world.gold[rows, outputs], np.arange(PROMPTS))
    best = best_of_n_curve(pool, NS)
    tilt = tilted_curve(pool, (STRENGTHS * within_sd(world, table)).tolist())
    held: dict[str, list[bool]] = {"bon": [], "tilted": []}
    for name, curve in (("bon", best), ("tilted", tilt)):
        for k, gain in enumerate(curve.gains("gold")):
            if curve.usable[k] and not (name == "bon" and k == 0):
                held[name].append(bool(gain.low <= truth[name][k] <= gain.high))
    found = overoptimization(best, rng, resamples=500)
    peak = found.fit("bon").peak_kl
    return {
        **held,
        "best": found.best_kl.low - 1e-9 <= truth["peak_at"] <= found.best_kl.high + 1e-9,
        "fitted": peak.low <= truth["fitted"] <= peak.high if peak.defined else None,
        "safe": found.safe_kl.value <= truth["peak_at"] + 1e-9 if found.safe_kl.defined else None,
    }


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=400)
    given = parser.parse_args()
    world, done = DoseWorld(), list(read(CELLS))
    known = {(c["pairs"], c["part"]) for c in done}
    trained: dict[int, np.ndarray] = {}
    parts = range(-(-given.draws // AT_ONCE))
    for part in parts:
        for pairs in PAIRS:
            if (pairs, part) in known:
                continue
            if pairs not in trained:
                feedback = world.draw_pairs(pairs, np.random.default_rng(0), noise=0.25)
                trained[pairs] = train_proxies(world, feedback, members=1).tables[0]
            table = trained[pairs]
            truth = truth_of(world, table)
            seeds = range(part * AT_ONCE, (part + 1) * AT_ONCE)
            drawn = [draw(world, table, truth, seed) for seed in seeds]
            count = {
                name: [sum(values), len(values)]
                for name in ("bon", "tilted", "best", "fitted", "safe")
                for values in [
                    [
                        value
                        for one in drawn
                        for value in (one[name] if isinstance(one[name], list) else [one[name]])
                        if value is not None
                    ]
                ]
            }
            done.append({"pairs": pairs, "part": part, "turns": truth["turns"], **count})
            add(CELLS, done[-1])
    show(done)


def show(cells: list[dict[str, Any]]) -> None:
    """Coverage by proxy."""
    names = ("bon", "tilted", "best", "fitted", "safe")
    head = "best of n, gain | tilted, gain | measured peak's KL | fitted peak's KL"
    print(f"| pairs | draws | {head} | safe KL at or below the peak's |\n" + "| --- " * 7 + "|")
    for pairs in PAIRS:
        mine = [c for c in cells if c["pairs"] == pairs]
        sums = {n: np.sum([c[n] for c in mine], axis=0) for n in names}
        shown = [f"{a / b:.3f} ({int(b)})" if b else "-" for a, b in (sums[n] for n in names)]
        print(f"| {pairs} | {AT_ONCE * len(mine)} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
