"""Mixes in worlds that are known: which component grows first, predicted and under RLOO.

    python benchmarks/mixes.py                         # goes on where it stopped

Thirty mixes of four to six components in the clinic and the dose world, fifteen each, under the
three scalings. The prediction is the audit's first-mover slope from sixteen samples per prompt of
the initial policy. The real order is that of the components' growth, in their own SDs, when a
policy that answers slot after slot is trained by sampled RLOO, groups of eight, up to a KL of
0.25 nats; growth is computed exactly, by enumeration. Then twenty clean mixes, whose components
are independent and equally spread: none may get a finding. Kept in
``benchmarks/cells/mixes.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import rmaudit as rma
from rmaudit.audits.mix.measure import Groups, first_movers
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import ClinicWorld
from rmaudit.worlds.dose import DoseWorld

CELLS = Path(__file__).parent / "cells" / "mixes.jsonl"
MIXES, CLEAN = 30, 20
PROMPTS, SAMPLES, GROUP = 48, 16, 8
KL, RATE, MOST_STEPS = 0.25, 0.04, 2000
SCALES = ("none", "group", "component")


@dataclass(frozen=True)
class Setting:
    """A finite world: the value of each slot in each output, and the initial policy."""

    digits: Integers  # (n_outputs, n_slots)
    logits: list[Float]  # by slot: (PROMPTS, values)
    gold: Float  # (PROMPTS, n_outputs)


def dose() -> Setting:
    """The dose world."""
    world = DoseWorld()
    marginal = _marginals(np.tile(world.log_policy, (PROMPTS, 1)), world.doses)
    return Setting(world.doses, marginal, world.gold[:PROMPTS])


def clinic() -> Setting:
    """The clinic, on prompts spread over its families."""
    world = ClinicWorld()
    prompts = np.linspace(0, world.n_contexts - 1, PROMPTS).astype(int)
    policy = np.stack([world.log_policy(int(c)) for c in prompts])
    digits = world.features.to_numpy()
    gold = np.stack([world.true_reward_table(int(c)) for c in prompts])
    return Setting(digits, _marginals(policy, digits), gold)


def _marginals(log_policy: Float, digits: Integers) -> list[Float]:
    """Log-probability of each value of each slot, by prompt; slots are independent."""
    chance = np.exp(log_policy)
    return [
        np.log(
            np.stack(
                [chance[:, digits[:, s] == v].sum(1) for v in range(digits[:, s].max() + 1)], 1
            )
        )
        for s in range(digits.shape[1])
    ]


@dataclass
class Policy:
    """Slot after slot: logits by prompt, and by each earlier slot's value for all prompts."""

    own: list[Float]  # by slot: (PROMPTS, values)
    pair: dict[tuple[int, int], Float]  # by (slot, earlier slot): (earlier values, values)

    @classmethod
    def initial(cls, setting: Setting) -> Policy:
        """The world's initial policy: slots are independent."""
        sizes = setting.digits.max(0) + 1
        pair = {(s, t): np.zeros((sizes[t], sizes[s])) for s in range(len(sizes)) for t in range(s)}
        return cls([values.copy() for values in setting.logits], pair)

    @property
    def parameters(self) -> list[Float]:
        """All of them, to be changed in place."""
        return [*self.own, *self.pair.values()]

    def logits(self, slot: int, before: Integers) -> Float:
        """Of a slot's values given the earlier ones, (PROMPTS, n, slot) -> (PROMPTS, n, values)."""
        found = self.own[slot][:, None, :]
        for t in range(slot):
            found = found + self.pair[(slot, t)][before[:, :, t]]
        return np.asarray(found - np.logaddexp.reduce(found, axis=2, keepdims=True))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Integers, list[Float]]:
        """N samples of each prompt, (PROMPTS, n, slots), and each slot's chances."""
        sample = np.zeros((PROMPTS, n, len(self.own)), dtype=np.int64)
        chances = []
        for slot in range(len(self.own)):
            chance = np.exp(
                np.broadcast_to(self.logits(slot, sample), (PROMPTS, n, len(self.own[slot][0])))
            )
            sample[:, :, slot] = (rng.random((PROMPTS, n, 1)) > chance.cumsum(2)[:, :, :-1]).sum(2)
            chances.append(chance)
        return sample, chances

    def gradient(self, sample: Integers, chances: list[Float], advantage: Float) -> list[Float]:
        """Of the mean of advantage times log-probability, in the order of `parameters`."""
        pushes = [
            advantage[:, :, None] * ((sample[:, :, s, None] == np.arange(c.shape[2])) - c)
            for s, c in enumerate(chances)
        ]
        pairs = []
        for (s, t), table in self.pair.items():
            each = np.zeros_like(table)
            np.add.at(each, sample[:, :, t], pushes[s])
            pairs.append(each / advantage.size)
        return [*(push.mean(1) for push in pushes), *pairs]

    def log_probability(self, digits: Integers) -> Float:
        """Of every output, (PROMPTS, n_outputs)."""
        every = np.broadcast_to(digits, (PROMPTS, *digits.shape))
        total = np.zeros((PROMPTS, len(digits)))
        for slot in range(digits.shape[1]):
            found = self.logits(slot, every)
            total += np.take_along_axis(found, every[:, :, slot, None], 2)[:, :, 0]
        return total


def components(
    setting: Setting, rng: np.random.Generator
) -> tuple[dict[str, Float], dict[str, float]]:
    """Four to six components over all outputs, (PROMPTS, n_outputs) each, and their weights."""
    digits, slots = setting.digits, setting.digits.shape[1]
    sizes = digits.max(0) + 1
    made: dict[str, Float] = {}
    once: list[str] = []  # what a mix has at most once
    for k in range(int(rng.integers(4, 7))):
        slot, other = rng.choice(slots, 2, replace=False)
        kinds = ["at least", "value", "same", "fits", *({"length", "gold"} - {*once})]
        kind = sorted(kinds)[int(rng.integers(len(kinds)))]
        if kind == "at least":
            row = (digits[:, slot] >= rng.integers(1, sizes[slot])) * 1.0
            table = np.tile(row, (PROMPTS, 1))
        elif kind == "value":
            table = np.tile(digits[:, slot] * 1.0, (PROMPTS, 1))
        elif kind == "same":
            table = np.tile((digits[:, slot] == digits[:, other]) * 1.0, (PROMPTS, 1))
        elif kind == "fits":  # what is correct hangs on the prompt
            wanted = rng.integers(0, sizes[slot], PROMPTS)
            table = (digits[:, slot][None, :] == wanted[:, None]) * 1.0
        elif kind == "length":
            table = np.tile((digits > 0).sum(1) / slots, (PROMPTS, 1))
        else:
            table = setting.gold
        once.append(kind)
        made[f"{kind} {k}"] = table
    weights = rng.uniform(0.2, 1.0, len(made)) * np.where(rng.random(len(made)) < 0.2, -1, 1)
    return made, dict(zip(made, weights.tolist(), strict=True))


def advantages(parts: list[Float], total: Float, scale: str) -> Float:
    """Of groups, (PROMPTS, GROUP), as trainers make them; parts are weighted."""
    centred = lambda v: (v - v.mean(1, keepdims=True)) * GROUP / (GROUP - 1)  # noqa: E731
    over = lambda v: centred(v) / (v.std(1, keepdims=True) + 1e-6)  # noqa: E731
    if scale == "component":
        return np.sum([np.sign(w) * abs(w) * over(v) for w, v in parts], axis=0)  # type: ignore[misc]
    return over(total) if scale == "group" else centred(total)


def trained(
    setting: Setting,
    made: dict[str, Float],
    weights: dict[str, float],
    scale: str,
    rng: np.random.Generator,
) -> tuple[Policy, float]:
    """The policy at a KL of `KL` or a little more, by sampled RLOO, and its KL."""
    policy, first = Policy.initial(setting), Policy.initial(setting).log_probability(setting.digits)
    radix, place, distance = _radix(setting), np.arange(PROMPTS)[:, None], 0.0
    for step in range(1, MOST_STEPS + 1):
        sample, chances = policy.draw(GROUP, rng)
        values = {name: table[place, sample @ radix] for name, table in made.items()}
        parts = [(weights[n], v) for n, v in values.items()]
        total = np.asarray(sum(w * v for w, v in parts))
        gradient = policy.gradient(sample, chances, advantages(parts, total, scale))
        size = float(np.sqrt(np.mean(advantages(parts, total, scale) ** 2))) + 1e-9
        for p, g in zip(policy.parameters, gradient, strict=True):
            p += RATE * g / size
        if step % 10 == 0:
            after = policy.log_probability(setting.digits)
            distance = float((np.exp(after) * (after - first)).sum(1).mean())
            if distance >= KL:
                break
    return policy, distance


def _radix(setting: Setting) -> Integers:
    """What makes an output's number of its digits."""
    return np.cumprod([1, *(setting.digits.max(0) + 1)[:0:-1]])[::-1]


def mixed(number: int) -> dict[str, Any]:
    """One mix: predicted slopes, real growth, and the rank correlation of the two."""
    rng = np.random.default_rng(number)
    world, scale = ("dose", "clinic")[number % 2], SCALES[number // 2 % 3]
    setting = dose() if world == "dose" else clinic()
    made, weights = components(setting, rng)
    first = Policy.initial(setting)
    chance = np.exp(first.log_probability(setting.digits))
    spread = {}
    for name, table in list(made.items()):
        mean = (chance * table).sum(1, keepdims=True)
        spread[name] = float(np.sqrt((chance * (table - mean) ** 2).sum(1).mean()))
        if spread[name] < 1e-6:
            made.pop(name)
    sample, _ = first.draw(SAMPLES, rng)
    outputs = sample @ _radix(setting)
    values = {n: t[np.arange(PROMPTS)[:, None], outputs] for n, t in made.items()}
    total = np.asarray(sum(weights[n] * v for n, v in values.items()))
    kept = {n: weights[n] for n in made}
    groups = Groups(total, values, kept, np.arange(PROMPTS), scale)  # type: ignore[arg-type]
    slopes = {n: e.value for n, e in first_movers(groups).items() if e.defined}
    policy, distance = trained(setting, made, weights, scale, rng)
    change = np.exp(policy.log_probability(setting.digits)) - chance
    growth = {n: float((change * made[n]).sum(1).mean()) / spread[n] for n in slopes}
    rho = float(spearmanr(list(slopes.values()), list(growth.values())).statistic)
    first = max(slopes, key=slopes.__getitem__) == max(growth, key=growth.__getitem__)
    return {
        "mix": number, "world": world, "scale": scale, "kl": distance,
        "slopes": slopes, "growth": growth, "spearman": rho, "first_is_first": bool(first),
    }  # fmt: skip


def clean(number: int) -> dict[str, Any]:
    """A mix of independent, equally spread components: the findings of the audit."""
    rng = np.random.default_rng([1, number])
    size = int(rng.integers(2, 6))
    weights = rng.uniform(0.2, 1.0, size)
    scale = SCALES[number % 3]
    rows = []
    for i in range(80):
        parts = []
        for k in range(size):
            verdict = (number + k) % 2
            parts.append(2.0 * (rng.random(GROUP) < 0.5) if verdict else rng.normal(size=GROUP))
        rewards = [
            {"total": float(sum(w * p[j] for w, p in zip(weights, parts, strict=True))),
             **{f"part {k}": float(p[j]) for k, p in enumerate(parts)}}
            for j in range(GROUP)
        ]  # fmt: skip
        outputs = [f"response {i}.{j}" for j in range(GROUP)]
        rows.append({"prompt": f"prompt {i}", "outputs": outputs, "rewards": rewards})
    report = rma.audit("recorded", rows, samples=rows, only=["mix"], cache=False, debug=True)
    found = [[f.severity, f.title] for f in report.findings]
    return {"clean": number, "parts": size, "scale": scale, "findings": found}


def _pooled(mixes: list[dict[str, Any]]) -> str:
    """Spearman of predicted slopes and growth per square root of KL, all mixes together."""

    def rho(rows: list[dict[str, Any]]) -> float:
        slopes = [v for row in rows for v in row["slopes"].values()]
        growth = [v / row["kl"] ** 0.5 for row in rows for v in row["growth"].values()]
        return float(spearmanr(slopes, growth).statistic)

    rng = np.random.default_rng(0)
    drawn = [[mixes[i] for i in rng.integers(0, len(mixes), len(mixes))] for _ in range(1000)]
    low, high = np.quantile([rho(rows) for rows in drawn], [0.025, 0.975])
    return f"Spearman {rho(mixes):.3f} [{low:.3f}, {high:.3f}]"


def main() -> None:
    """Run what is not there yet, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=MIXES)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    given.cells.parent.mkdir(exist_ok=True)
    done = []
    if given.cells.exists():
        done = [json.loads(line) for line in given.cells.read_text().splitlines()]
    known = {(name, row[name]) for row in done for name in ("mix", "clean") if name in row}
    for name, count, run in (("mix", given.mixes, mixed), ("clean", CLEAN, clean)):
        for number in range(count):
            if (name, number) not in known:
                done.append(run(number))
                with given.cells.open("a") as out:
                    out.write(json.dumps(done[-1]) + "\n")
    mixes = [row for row in done if "mix" in row]
    rho = np.array([row["spearman"] for row in mixes])
    draws = np.random.default_rng(0).choice(rho, (10_000, len(rho))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    pooled = _pooled(mixes)
    print(f"pooled over {sum(len(r['slopes']) for r in mixes)} components: {pooled}")
    print(f"{len(mixes)} mixes: mean Spearman {rho.mean():.3f} [{low:.3f}, {high:.3f}],", end=" ")
    print(f"median {np.median(rho):.2f}, lowest {rho.min():.2f};", end=" ")
    print(f"the first is the first in {np.mean([row['first_is_first'] for row in mixes]):.0%}")
    for world in ("dose", "clinic"):
        own = [row["spearman"] for row in mixes if row["world"] == world]
        print(f"  {world}: {np.mean(own):.3f} over {len(own)}")
    sound = [row for row in done if "clean" in row]
    false = [row for row in sound if any(s in ("high", "medium") for s, _ in row["findings"])]
    print(f"{len(false)} of {len(sound)} clean mixes hold a false finding")


if __name__ == "__main__":
    main()
