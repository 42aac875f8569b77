"""Over-optimisation in the clinic over seeds, and on real reward models.

    python benchmarks/best_of_n.py clinic [--seeds 5] [--ppo] [FOLDER]
    python benchmarks/best_of_n.py real DATA [--figures FOLDER]

`clinic`: reward models trained on 800 and on 2,400 pairs of narrow feedback; best of n (to 128) and
tilting for one model and for mean, WCO and UWO of three; with `--ppo` also PPO at two KL weights.
Prints Markdown tables with means and 95 % t intervals over seeds, in gold SDs: of every curve, and
of what more feedback, aggregates and a larger beta change, paired by seed. Every curve is kept in
FOLDER (default: reports/best_of_n): the same command goes on where it stopped.

`real`: RewardMATH (nine reward models, ten solutions a problem of which one is correct) and
AlpacaEval (two judges, and an output that is the same gibberish for every prompt), from the folder
of preference data.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from rmaudit.data import Dataset, load, score_names
from rmaudit.overoptimization import Overopt, from_samples
from rmaudit.overoptimization.clinic_curves import from_clinic
from rmaudit.rewards import load_reward_model

PAIRS = (800, 2400)
BETAS = (0.02, 0.3)  # of PPO, in within-prompt SDs of the proxy per nat
POOL = (150, 128)
JUDGE, SECOND = "gpt4_turbo_weighted_vs_gpt4_1106", "gpt4_vs_davinci003"
COLUMNS = {
    "end_kl": "KL at the end",
    "proxy": "proxy gain at the end",
    "peak_kl": "KL of the gold peak",
    "gold": "gold gain at the peak",
    "loss": "gold lost after it",
}
EFFECTS = {
    "end_kl": "KL at the end",
    "peak_kl": "KL of the gold peak",
    "gold": "gold gain at the peak",
    "loss": "gold lost after it",
}


def one_seed(seed: int, pairs: int, betas: tuple[float, ...], folder: Path) -> pd.DataFrame:
    """The numbers of every curve of one seed; what is done is read back."""
    done = folder / f"seed-{seed}-pairs-{pairs}-ppo-{len(betas)}.csv"
    if done.is_file():
        return pd.read_csv(done)
    rows = []
    for k, beta in enumerate(betas or (None,)):
        result = from_clinic(
            folder / f"seed-{seed}",
            pairs=pairs,
            pool=POOL if k == 0 else (20, 16),  # the pool's curves are the same at every beta
            ppo=() if beta is None else ("mean",),
            ppo_beta=beta or 1.0,
            seed=seed,
            resamples=200,
            say=lambda message: print(f"seed {seed}: {message}", file=sys.stderr, flush=True),
        )
        for one in result.studies:
            if k and one.curve.method != "rl":
                continue
            name = f"{one.run}, PPO beta {beta:g} SD" if one.curve.method == "rl" else one.run
            last = int(np.flatnonzero(one.curve.usable)[-1])
            rows.append(
                {
                    "method": one.curve.method,
                    "proxy_by": name,
                    "pairs": pairs,
                    "end_kl": one.curve.kl[:, last].mean(),
                    "proxy": one.curve.gains("proxy")[last].value,
                    "peak_kl": one.found.best_kl.value,
                    "gold": one.found.gain_at_peak.value,
                    "loss": one.found.loss_after_peak.value,
                }
            )
    table = pd.DataFrame(rows)
    table.to_csv(done, index=False)
    return table


def clinic(seeds: int, ppo: bool, folder: Path) -> None:
    """Run what is missing, print the table."""
    folder.mkdir(parents=True, exist_ok=True)
    betas = BETAS if ppo else ()
    tables = [one_seed(s, pairs, betas, folder) for s in range(seeds) for pairs in PAIRS]
    every = pd.concat(tables)
    print(f"| {seeds} seeds | pairs | " + " | ".join(COLUMNS.values()) + " |")
    print("| --- | --- |" + " --- |" * len(COLUMNS))
    for (method, name, pairs), group in every.groupby(["method", "proxy_by", "pairs"], sort=False):
        cells = [cell(group[key].to_numpy()) for key in COLUMNS]
        print(f"| {method}, {name} | {pairs} | " + " | ".join(cells) + " |")
    effects(pd.concat([table.assign(seed=i // len(PAIRS)) for i, table in enumerate(tables)]))


def effects(every: pd.DataFrame) -> None:
    """What feedback, aggregates and the KL weight change, paired by seed."""
    few, many = PAIRS
    runs = every.set_index(["method", "proxy_by", "pairs", "seed"])[list(EFFECTS)].sort_index()
    weak, strong = (f"mean, PPO beta {beta:g} SD" for beta in reversed(BETAS))
    compared = {
        f"{many} pairs, not {few} ({method}, {name})": ((method, name, many), (method, name, few))
        for method, name in (("bon", "one model"), ("bon", "mean"), ("tilted", "mean"))
    }
    for name in ("mean", "wco", "uwo"):
        compared[f"{name}, not one model (bon, {few} pairs)"] = (
            ("bon", name, few),
            ("bon", "one model", few),
        )
    for pairs in PAIRS:
        compared[f"PPO's larger beta ({pairs} pairs)"] = (
            ("rl", weak, pairs),
            ("rl", strong, pairs),
        )
    print("\n| change | " + " | ".join(EFFECTS.values()) + " |")
    print("| --- |" + " --- |" * len(EFFECTS))
    for what, (new, old) in compared.items():
        if {new[:2], old[:2]} <= {key[:2] for key in runs.index}:
            change = runs.loc[new] - runs.loc[old]
            print(
                f"| {what} | " + " | ".join(cell(change[key].to_numpy()) for key in EFFECTS) + " |"
            )


def cell(values: np.ndarray) -> str:
    """Mean and 95 % t interval."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else np.nan
    return f"{values.mean():.2f} ± {half:.2f}"


def real(folder: Path, figures: Path | None) -> None:
    """Tables of RewardMATH and AlpacaEval, and their figures if a folder is given."""
    math = load(folder / "rewardmath" / "rm_scores_10way.jsonl.gz", "samples")
    models = [load_reward_model(f"recorded:{name}") for name in score_names(math)]
    found = from_samples(
        math, models, gold="gold", with_aggregates=True, methods=("bon",), cache=False
    )
    print(f"RewardMATH, {len(math)} problems: correct answers by best of n")
    print("| reward model | n = 1 | n = 10 | gain (gold SD) | safe n |")
    print("| --- |" + " --- |" * 4)
    curve = found.curve.set_index(["run", "n"])
    for one in found.studies:
        at = [curve.loc[(one.run, n)] for n in (1, 10)]
        shown = [f"{r['gold']:.3f} [{r['gold_low']:.3f}, {r['gold_high']:.3f}]" for r in at]
        gain = one.curve.gains("gold")[-1]
        safe = one.found.safe_strength.value
        print(
            f"| {one.run} | {' | '.join(shown)} | {gain.value:+.2f} [{gain.low:+.2f}, "
            f"{gain.high:+.2f}] | {safe:.0f} |"
        )
    if figures:
        found.save(figures / "rewardmath", ("neurips",))
    alpaca = load(folder / "alpaca_eval" / "best_of_n.jsonl.gz", "samples")
    print(f"\nAlpacaEval, {len(alpaca)} prompts: gold by the second judge, best of n by the first")
    print("| outputs | n = 1 | n = 4 | n = 16 | safe n |")
    print("| --- |" + " --- |" * 4)
    studies = []
    for name, gibberish in (("17 judged by both", False), ("and the gibberish", True)):
        result = from_samples(
            with_gold(alpaca, gibberish),
            [load_reward_model(f"recorded:{JUDGE}")],
            gold="truth",
            methods=("bon",),
            cache=False,
        )
        rows = result.curve.set_index("n")
        cells = [
            f"{rows.loc[n, 'gold']:.3f} [{rows.loc[n, 'gold_low']:.3f}, "
            f"{rows.loc[n, 'gold_high']:.3f}]"
            for n in (1, 4, 16)
        ]
        safe = result.studies[0].found.safe_strength.value
        print(f"| {name} | {' | '.join(cells)} | {safe:.0f} |")
        studies.append(replace(result.studies[0], run=name))
    if figures:
        Overopt(tuple(studies)).save(figures / "alpaca_eval", ("neurips",))


def with_gold(data: Dataset, gibberish: bool) -> Dataset:
    """The second judge's verdicts as gold; one that is the same for every prompt is worth 0."""
    rows = []
    for names, scores in zip(data.frame["generators"], data.frame["scores"], strict=True):
        gold = [np.nan if v is None else float(v) for v in scores[SECOND]]
        if gibberish:
            gold[list(names).index("NullModel")] = 0.0
        rows.append(gold)
    return replace(data, frame=data.frame.assign(truth=rows))


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["clinic", "real"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("reports/best_of_n"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--figures", type=Path, help="of real: where to write them")
    parser.add_argument("--ppo", action="store_true")
    given = parser.parse_intermixed_args()
    if given.what == "real":
        real(given.folder, given.figures)
    else:
        import torch

        torch.set_num_threads(1)  # matrices this small gain nothing from a second
        clinic(given.seeds, given.ppo, given.folder)


if __name__ == "__main__":
    main()
