"""Mixes in worlds that are known: which component grows first, predicted and under RLOO.

    python benchmarks/mixes.py                         # goes on where it stopped

Thirty mixes of four to six components in the clinic and the dose world, fifteen each, under the
three scalings, and thirty more that were drawn after the predictors were settled ("fresh"). The
predictions are the audit's first-mover slope, and its slope by words, from sixteen samples per
prompt of the initial policy. The real order is that of the components' growth, in their own SDs,
when a policy (a softmax per slot and prompt) is trained by sampled RLOO, groups of eight, up to a
KL of 0.25 nats; growth is computed exactly, by enumeration. Ten mixes without scaling are also
held against exact tilting. Then twenty clean mixes, whose components are independent and equally
spread, and twenty fresh ones: none may get a finding. Kept in ``benchmarks/cells/mixes.jsonl``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read
from scipy.stats import spearmanr

import rmaudit as rma
from rmaudit.audits.mix.measure import Groups, first_movers
from rmaudit.audits.mix.words import word_slopes
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import ClinicWorld
from rmaudit.worlds.dose import DoseWorld
from rmaudit.worlds.exact import tilt

CELLS = Path(__file__).parent / "cells" / "mixes.jsonl"
MIXES, CLEAN = 30, 20
FRESH = 1000  # numbers from here on were drawn when rules and predictors were settled
PROMPTS, SAMPLES, GROUP = 48, 16, 8
KL, RATE, MOST_STEPS = 0.25, 0.05, 4000
SCALES = ("none", "group", "component")


@dataclass(frozen=True)
class Setting:
    """A finite world: the value of each slot in each output, and the initial policy."""

    digits: Integers  # (n_outputs, n_slots)
    logits: list[Float]  # by slot: (PROMPTS, values)
    gold: Float  # (PROMPTS, n_outputs)
    text: Callable[[int, int], str]  # of an output to a prompt


def dose() -> Setting:
    """The dose world."""
    world = DoseWorld()
    marginal = _marginals(np.tile(world.log_policy, (PROMPTS, 1)), world.doses)
    return Setting(
        world.doses, marginal, world.gold[:PROMPTS], lambda _, output: world.output_text(output)
    )


def clinic() -> Setting:
    """The clinic, on prompts spread over its families."""
    world = ClinicWorld()
    prompts = np.linspace(0, world.n_contexts - 1, PROMPTS).astype(int)
    policy = np.stack([world.log_policy(int(c)) for c in prompts])
    digits = world.features.to_numpy()
    gold = np.stack([world.true_reward_table(int(c)) for c in prompts])
    return Setting(
        digits,
        _marginals(policy, digits),
        gold,
        lambda prompt, output: world.output_text(int(prompts[prompt]), output),
    )


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


def log_probability(logits: list[Float], digits: Integers) -> Float:
    """Of every output under a policy, (PROMPTS, n_outputs)."""
    total = 0.0
    for slot, values in enumerate(logits):
        normal = values - np.logaddexp.reduce(values, axis=1, keepdims=True)
        total = total + normal[:, digits[:, slot]]
    return np.asarray(total)


def components(
    setting: Setting, rng: np.random.Generator
) -> tuple[dict[str, Float], dict[str, float]]:
    """Four to six components over all outputs, (PROMPTS, n_outputs) each, and their weights."""
    digits, slots = setting.digits, setting.digits.shape[1]
    sizes = digits.max(0) + 1
    made: dict[str, Float] = {}
    for k in range(int(rng.integers(4, 7))):
        slot, other = rng.choice(slots, 2, replace=False)
        kind = ("at least", "value", "same", "fits", "length", "gold")[int(rng.integers(6))]
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
        made[f"{kind} {k}"] = table
    weights = rng.uniform(0.2, 1.0, len(made)) * np.where(rng.random(len(made)) < 0.2, -1, 1)
    return made, dict(zip(made, weights.tolist(), strict=True))


def drawn(logits: list[Float], n: int, rng: np.random.Generator) -> list[Integers]:
    """Values of each slot in n samples of each prompt, (PROMPTS, n) each."""
    found = []
    for values in logits:
        chance = np.exp(values - np.logaddexp.reduce(values, axis=1, keepdims=True)).cumsum(1)
        found.append((rng.random((len(values), n, 1)) > chance[:, None, :-1]).sum(2))
    return found


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
) -> list[Float]:
    """The policy at a KL of `KL`, by sampled RLOO."""
    logits = [values.copy() for values in setting.logits]
    radix = np.cumprod([1, *(setting.digits.max(0) + 1)[:0:-1]])[::-1]
    place = np.arange(PROMPTS)[:, None]
    for step in range(MOST_STEPS):
        sample = drawn(logits, GROUP, rng)
        outputs = sum(s * r for s, r in zip(sample, radix, strict=True))
        values = {name: table[place, outputs] for name, table in made.items()}
        total = sum(weights[n] * v for n, v in values.items())
        parts = [(weights[n], v) for n, v in values.items()]
        advantage = advantages(parts, np.asarray(total), scale)
        spread = np.sqrt(np.mean(advantage**2)) + 1e-9
        for slot, theta in enumerate(logits):
            chance = np.exp(theta - np.logaddexp.reduce(theta, axis=1, keepdims=True))
            one_hot = sample[slot][:, :, None] == np.arange(theta.shape[1])
            gradient = (advantage[:, :, None] * (one_hot - chance[:, None, :])).mean(1)
            theta += RATE * gradient / spread
        if step % 10 == 9 and kl(logits, setting.logits) >= KL:
            break
    return logits


def kl(logits: list[Float], first: list[Float]) -> float:
    """Of the policy from the initial one, nats per sequence, mean over prompts."""
    total = 0.0
    for new, old in zip(logits, first, strict=True):
        a = new - np.logaddexp.reduce(new, axis=1, keepdims=True)
        b = old - np.logaddexp.reduce(old, axis=1, keepdims=True)
        total += float(
            np.where(np.isfinite(a), np.exp(a) * (a - np.where(np.isfinite(b), b, 0)), 0)
            .sum(1)
            .mean()
        )
    return total


def mixed(number: int) -> dict[str, Any]:
    """One mix: predicted slopes, real growth, and the rank correlation of the two."""
    rng = np.random.default_rng(number)
    world, scale = ("dose", "clinic")[number % 2], SCALES[number // 2 % 3]
    setting = dose() if world == "dose" else clinic()
    made, weights = components(setting, rng)
    chance = np.exp(log_probability(setting.logits, setting.digits))
    spread = {}
    for name, table in list(made.items()):
        mean = (chance * table).sum(1, keepdims=True)
        spread[name] = float(np.sqrt((chance * (table - mean) ** 2).sum(1).mean()))
        if spread[name] < 1e-6:
            made.pop(name)
    radix = np.cumprod([1, *(setting.digits.max(0) + 1)[:0:-1]])[::-1]
    sample = drawn(setting.logits, SAMPLES, rng)
    outputs = sum(s * r for s, r in zip(sample, radix, strict=True))
    values = {n: t[np.arange(PROMPTS)[:, None], outputs] for n, t in made.items()}
    total = np.asarray(sum(weights[n] * v for n, v in values.items()))
    kept = {n: weights[n] for n in made}
    groups = Groups(total, values, kept, np.arange(PROMPTS), scale)  # type: ignore[arg-type]
    slopes = {n: e.value for n, e in first_movers(groups).items() if e.defined}
    texts = [[setting.text(i, int(o)) for o in row] for i, row in enumerate(outputs)]
    worded = {n: e.value for n, e in word_slopes(groups, texts, rng).items() if n in slopes}
    after_logits = trained(setting, made, weights, scale, rng)
    after = np.exp(log_probability(after_logits, setting.digits))
    growth = {n: float(((after - chance) * made[n]).sum(1).mean()) / spread[n] for n in slopes}
    row = {
        "mix": number, "world": world, "scale": scale, "kl": kl(after_logits, setting.logits),
        "slopes": slopes, "word_slopes": worded, "growth": growth,
    }  # fmt: skip
    for prefix, predicted in (("", slopes), ("word_", worded)):
        rho = spearmanr(list(predicted.values()), list(growth.values())).statistic
        row[f"{prefix}spearman"] = float(rho)
        first = max(predicted, key=predicted.__getitem__)
        row[f"{prefix}first_is_first"] = first == max(growth, key=growth.__getitem__)
    return row


def tilted(number: int) -> dict[str, Any]:
    """One mix without scaling: predicted slopes, and growth under exact tilting to the same KL."""
    rng = np.random.default_rng(number)
    setting = dose() if number % 2 == 0 else clinic()
    made, weights = components(setting, rng)
    log_first = log_probability(setting.logits, setting.digits)
    chance = np.exp(log_first)
    total = np.asarray(sum(weights[n] * table for n, table in made.items()))
    centred = {n: t - (chance * t).sum(1, keepdims=True) for n, t in made.items()}
    spread = {n: float(np.sqrt((chance * c**2).sum(1).mean())) for n, c in centred.items()}
    made = {n: t for n, t in made.items() if spread[n] > 1e-6}
    radix = np.cumprod([1, *(setting.digits.max(0) + 1)[:0:-1]])[::-1]
    sample = drawn(setting.logits, SAMPLES, rng)
    outputs = sum(s * r for s, r in zip(sample, radix, strict=True))
    place = np.arange(PROMPTS)[:, None]
    values = {n: t[place, outputs] for n, t in made.items()}
    kept = {n: weights[n] for n in made}
    groups = Groups(total[place, outputs], values, kept, np.arange(PROMPTS), "none")
    slopes = {n: e.value for n, e in first_movers(groups).items() if e.defined}
    low, high = -8.0, 8.0
    for _ in range(20):
        beta = np.exp((low + high) / 2)
        after = np.stack([tilt(a, r, beta) for a, r in zip(log_first, total, strict=True)])
        distance = float((np.exp(after) * (after - log_first)).sum(1).mean())
        low, high = ((low + high) / 2, high) if distance > KL else (low, (low + high) / 2)
    growth = {
        n: float(((np.exp(after) - chance) * made[n]).sum(1).mean()) / spread[n] for n in slopes
    }
    rho = float(spearmanr(list(slopes.values()), list(growth.values())).statistic)
    return {"tilt": number, "kl": distance, "slopes": slopes, "growth": growth, "spearman": rho}


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


def _pooled(mixes: list[dict[str, Any]], which: str) -> str:
    """Spearman of predicted slopes and growth per square root of KL, all mixes together."""

    def rho(rows: list[dict[str, Any]]) -> float:
        slopes = [v for row in rows for v in row[f"{which}slopes"].values()]
        growth = [v / row["kl"] ** 0.5 for row in rows for v in row["growth"].values()]
        return float(spearmanr(slopes, growth).statistic)

    rng = np.random.default_rng(0)
    drawn_ = [[mixes[i] for i in rng.integers(0, len(mixes), len(mixes))] for _ in range(1000)]
    low, high = np.quantile([rho(rows) for rows in drawn_], [0.025, 0.975])
    return f"{rho(mixes):.3f} [{low:.3f}, {high:.3f}]"


def _orders(mixes: list[dict[str, Any]], which: str) -> None:
    """Print how well one predictor orders the components of some mixes."""
    rho = np.array([row[f"{which}spearman"] for row in mixes])
    draws = np.random.default_rng(0).choice(rho, (10_000, len(rho))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    first = np.mean([row[f"{which}first_is_first"] for row in mixes])
    parts = [
        f"{value} {np.mean([row[f'{which}spearman'] for row in mixes if row[key] == value]):.3f}"
        for key, values in (("world", ("dose", "clinic")), ("scale", SCALES))
        for value in values
    ]
    print(f"  {which or 'free '}slope: mean Spearman {rho.mean():.3f} [{low:.3f}, {high:.3f}],")
    print(f"    median {np.median(rho):.2f}, lowest {rho.min():.2f}; first is first {first:.0%};")
    print(f"    {', '.join(parts)}; all components together {_pooled(mixes, which)}")


def main() -> None:
    """Run what is not there yet, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=MIXES)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    done = list(read(given.cells))
    known = {(name, row[name]) for row in done for name in ("mix", "tilt", "clean") if name in row}
    unscaled = [n for n in range(given.mixes) if SCALES[n // 2 % 3] == "none"]
    for name, numbers, run in (
        ("mix", [*range(given.mixes), *range(FRESH, FRESH + given.mixes)], mixed),
        ("tilt", unscaled, tilted),
        ("clean", [*range(CLEAN), *range(FRESH, FRESH + CLEAN)], clean),
    ):
        for number in numbers:
            if (name, number) not in known:
                done.append(run(number))
                add(given.cells, done[-1])
    for title, old in (("chosen on", True), ("fresh", False)):
        mixes = [row for row in done if "mix" in row and (row["mix"] < FRESH) == old]
        print(f"{len(mixes)} mixes, {title}")
        for which in ("", "word_"):
            _orders(mixes, which)
        sound = [row for row in done if "clean" in row and (row["clean"] < FRESH) == old]
        wrong = [r for r in sound if any(s in ("high", "medium") for s, _ in r["findings"])]
        print(f"  {len(wrong)} of {len(sound)} clean mixes hold a false finding")
    exact = [row["spearman"] for row in done if "tilt" in row]
    print(f"exact tilting, {len(exact)} mixes without scaling: mean Spearman {np.mean(exact):.3f}")


if __name__ == "__main__":
    main()
