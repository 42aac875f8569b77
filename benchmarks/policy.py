"""How near do PPO, RLOO and A2C come to the exact optimum, and how true is their KL estimate?

    python benchmarks/policy.py [SEEDS] [FOLDER]

In the enumerable clinic, on a proxy reward that is written down: a sum over slots, and for PPO also
one in which every two slots interact. For every method and seed:

- share: (proxy of the trained policy - proxy of pi_pre), in units of what the exact tilted policy
  of equal KL gains. By enumeration.
- KL estimate: k1 and k3 of 8,000 samples of the trained policy, relative to the enumerated KL; and
  the k1 of the training log, summed over the steps at which the KL was enumerated too.

Runs are kept in FOLDER (default: reports/policy): the same command goes on where it stopped.
Prints a Markdown table with means and 95 % t intervals over seeds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from rmaudit.training.policy.a2c import train_a2c
from rmaudit.training.policy.log import sampled
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.ppo import train_ppo
from rmaudit.training.policy.rloo import train_rloo
from rmaudit.training.policy.settings import A2cConfig, PpoConfig, RlooConfig
from rmaudit.worlds.clinic.policy import ClinicReward, ClinicSetting
from rmaudit.worlds.clinic.world import ClinicWorld

BETA = 0.5
INTERACTING = "PPO, slots interact"
EACH = 160  # samples of each of the 50 prompts
COLUMNS = {
    "kl": "exact KL",
    "share": "share of the optimum's gain",
    "k1": "k1 / exact",
    "k3": "k3 / exact",
    "logged": "logged k1 / exact",
}


def methods(seed: int) -> Iterator[tuple[str, Callable[..., Path], Any]]:
    """Each method with settings that suit it; all draw the same number of sequences."""
    shared: dict[str, Any] = {"beta": BETA, "seed": seed, "learning_rate": 2e-3}
    ppo = PpoConfig(steps=100, batch=256, measure_every=10, **shared)
    yield "PPO", train_ppo, ppo
    yield INTERACTING, train_ppo, ppo
    yield "RLOO", train_rloo, RlooConfig(steps=400, batch=64, measure_every=40, **shared)
    yield "A2C", train_a2c, A2cConfig(steps=400, batch=64, measure_every=40, **shared)


def measured(
    reward: ClinicReward, pre: CausalPolicy, policy: CausalPolicy, log: Path, seed: int
) -> dict[str, float]:
    """The numbers of one trained policy."""
    setting, proxy = reward.setting, reward.table
    reference = setting.log_probs(pre)
    start = setting.exact(reference, reference, proxy)
    found = setting.exact(setting.log_probs(policy), reference, proxy)
    _, best = setting.tilted_at(reference, proxy, found.kl)
    said = sampled(reward, setting.prompts, pre, seed, each=EACH)(policy)
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    both = [record for record in records if "kl_exact" in record]
    return {
        "kl": found.kl,
        "share": (found.proxy - start.proxy) / (best.proxy - start.proxy),
        "k1": said["kl_k1"] / found.kl,
        "k3": said["kl_k3"] / found.kl,
        "logged": sum(r["kl_k1"] for r in both) / sum(r["kl_exact"] for r in both),
    }


def interactions(setting: ClinicSetting, seed: int) -> np.ndarray:
    """A normal weight for every two slots that both say something, (n_outputs,), SD about 1."""
    said = setting.world.features.to_numpy() > 0  # (n_outputs, n_slots)
    weights = np.triu(np.random.default_rng(seed).normal(size=(said.shape[1],) * 2), 1)
    values = np.einsum("os,st,ot->o", said, weights, said)
    return np.asarray(values / values.std(), dtype=np.float64)


def one_seed(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """All methods from the same pretrained policy; what is done is read back."""
    setting = ClinicSetting(ClinicWorld(seed), seed=seed)
    additive = setting.additive_proxy()
    results = {}
    for name, train, config in methods(seed):
        out = folder / f"{name}-{seed}"
        result = out / "measured.json"
        table = additive + interactions(setting, seed) if name == INTERACTING else additive
        reward = ClinicReward(setting, table)
        if not result.is_file():
            policy = setting.pretrained_policy(seed, folder / f"pre-{seed}")
            pre = policy.frozen()
            measure = setting.measure(setting.log_probs(pre), reward.table)
            log = train(policy, reward, setting.prompts, config, out, measure=measure)
            numbers = measured(reward, pre, policy, log, seed)
            result.write_text(json.dumps(numbers), encoding="utf-8")
        results[name] = json.loads(result.read_text(encoding="utf-8"))
        print(f"seed {seed}, {name}: {results[name]}", file=sys.stderr, flush=True)
    return results


def cell(values: np.ndarray) -> str:
    """Mean and 95 % t interval."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1) if len(values) > 1 else np.nan
    return f"{values.mean():.4f} ± {half:.4f}"


def main() -> None:
    """Run what is missing, print the table."""
    torch.set_num_threads(1)  # matrices this small gain nothing from a second
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("reports/policy")
    rows = [one_seed(seed, folder) for seed in range(seeds)]
    print(f"| {seeds} seeds, beta {BETA} | " + " | ".join(COLUMNS.values()) + " |")
    print("| --- |" + " --- |" * len(COLUMNS))
    for method in rows[0]:
        cells = [cell(np.array([row[method][key] for row in rows])) for key in COLUMNS]
        print(f"| {method} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
