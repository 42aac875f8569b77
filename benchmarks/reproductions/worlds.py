"""Results that the dose world holds exactly: Gao, Coste, Razin, Rafailov, noisy verifiers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from reproductions.cells import make, over_seeds, show
from rmaudit.overoptimization.dose_curves import (
    BETAS,
    UNCERTAINTY_WEIGHT,
    exact_curve,
    within_sd,
)
from rmaudit.overoptimization.fits import fit_form
from rmaudit.rewards.ensemble import aggregate_rewards
from rmaudit.training.policy.dpo import DpoConfig, train_dpo
from rmaudit.worlds.dose import DoseWorld
from rmaudit.worlds.dose.policy import DoseSetting
from rmaudit.worlds.dose.proxies import train_proxies
from rmaudit.worlds.dose.world import UTILITY
from rmaudit.worlds.exact import best_of_n

WORLD = DoseWorld()
SEEDS, OF_SIZES = range(5), range(15)


WIDTH = 32  # hidden units where the feedback differs


def gao() -> None:
    """Both forms of Gao et al., and their coefficients by feedback and by proxy size."""
    settings = [(200, WIDTH), (800, WIDTH), (3200, WIDTH), (800, 8), (800, 128)]
    keys = [
        {"pairs": p, "width": w, "seed": s}
        for p, w in settings
        for s in (OF_SIZES if w != WIDTH else SEEDS)
    ]
    cells = make("gao", keys, _gao_cell)
    rows = []
    for pairs, width in settings:
        mine = [c for c in cells if (c["pairs"], c["width"]) == (pairs, width)]
        names = ("alpha", "beta", "peak_kl", "gain", "loss")
        rows.append([str(pairs), str(width), *(over_seeds([c[n] for c in mine]) for n in names)])
    show(["pairs", "hidden units", "alpha", "beta", "KL of the peak", "gain", "lost"], rows)
    at = [c for c in cells if (c["pairs"], c["width"]) == (800, 32)]
    for method in ("bon", "tilted"):
        own, other = ([c[f"{method} {form}"] for c in at] for form in ("bon", "rl"))
        print(f"{method}: residual of d(a - b d) {over_seeds(own)}, of d(a - b log d) "
              f"{over_seeds(other)}, difference "
              f"{over_seeds(np.subtract(own, other))}")  # fmt: skip
    for name, low, high in (
        ("beta, 3200 less 200 pairs", (200, 32), (3200, 32)),
        ("beta, 128 less 8 units", (800, 8), (800, 128)),
        ("lost, 3200 less 200 pairs", (200, 32), (3200, 32)),
        ("lost, 128 less 8 units", (800, 8), (800, 128)),
        ("alpha, 3200 less 200 pairs", (200, 32), (3200, 32)),
        ("alpha, 128 less 8 units", (800, 8), (800, 128)),
    ):
        which = {"beta": "beta", "lost": "loss", "alpha": "alpha"}[name.partition(",")[0]]
        values = [
            [c[which] for c in cells if (c["pairs"], c["width"]) == setting]
            for setting in (low, high)
        ]
        print(f"{name}: {over_seeds(np.subtract(values[1], values[0]))}")


def _gao_cell(pairs: int, width: int, seed: int) -> dict[str, float]:
    feedback = WORLD.draw_pairs(pairs, np.random.default_rng(seed))
    table = train_proxies(WORLD, feedback, members=1, seed=seed, width=width).tables[0]
    unit, own = within_sd(WORLD, WORLD.gold), within_sd(WORLD, table)
    found: dict[str, float] = {}
    for method, strengths in (("bon", 2.0 ** np.arange(0, 19)), ("tilted", BETAS * own)):
        curve = exact_curve(WORLD, table, method, strengths)  # type: ignore[arg-type]
        gain = (curve.gold - curve.gold_start[:, None]).mean(axis=0) / unit
        d = np.sqrt(np.maximum(curve.kl_at, 0.0))
        for form in ("bon", "rl"):
            on = d > 0
            alpha, beta = fit_form(d[on][None], gain[on][None], np.ones(int(on.sum())), form)
            second = d * d if form == "bon" else d * np.log(np.where(on, d, 1.0))
            off = gain - float(alpha[0]) * d + float(beta[0]) * second
            found[f"{method} {form}"] = float(np.sqrt(np.mean(off[on] ** 2)))
            if method == form == "bon":
                found |= {"alpha": float(alpha[0]), "beta": float(beta[0])}
        if method == "bon":
            top = int(gain.argmax())
            found |= {
                "peak_kl": float(curve.kl_at[top]),
                "gain": float(gain[top]),
                "loss": float(gain[top] - gain[-1]),
            }
    return found


def coste() -> None:
    """What K members of an ensemble save of the fall: mean, WCO and UWO, 25% of labels flipped."""
    keys = [{"pairs": 800, "seed": seed} for seed in SEEDS]
    cells = make("coste", keys, _coste_cell)
    rows = []
    for how in ("mean", "wco", "uwo"):
        for k in MEMBERS:
            losses = np.array([c["found"][f"{how} {k}"]["loss"] for c in cells])
            one = np.array([c["found"]["mean 1"]["loss"] for c in cells])
            gains = [c["found"][f"{how} {k}"]["gain"] for c in cells]
            rows.append([how, str(k), over_seeds(gains), over_seeds(losses)])
            rows[-1].append(over_seeds(losses - one) if k > 1 else "")
    show(["aggregate", "members", "gain at the peak", "lost", "less than one model"], rows)


MEMBERS = (1, 2, 3, 4, 5, 8)
NS = 2.0 ** np.arange(0, 19, 2)


def _coste_cell(pairs: int, seed: int) -> dict[str, Any]:
    feedback = WORLD.draw_pairs(pairs, np.random.default_rng(seed), noise=0.25)
    made = train_proxies(WORLD, feedback, members=max(MEMBERS), seed=seed, average=False)
    chance = np.exp(WORLD.log_policy)
    tables = np.stack([(t - (t @ chance)[:, None]) / within_sd(WORLD, t) for t in made.tables])[
        :, ::3
    ]  # every third context: 16 of 48
    unit, found = within_sd(WORLD, WORLD.gold), {}
    for k in MEMBERS:
        flat = tables[:k].reshape(k, -1)
        for how in ("mean", "wco", "uwo"):
            joined = aggregate_rewards(flat, how, UNCERTAINTY_WEIGHT)  # type: ignore[arg-type]
            gain = _gold(joined.reshape(tables.shape[1:]), WORLD.gold[::3]) / unit
            top = int(gain.argmax())
            found[f"{how} {k}"] = {"gain": float(gain[top]), "loss": float(gain[top] - gain[-1])}
    return {"found": found}


def _gold(table: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Mean gold gain of best of n at `NS`."""
    rows = [
        np.exp(best_of_n(WORLD.log_policy, reward, NS)) @ truth
        for reward, truth in zip(table, gold, strict=True)
    ]
    return np.mean(rows, axis=0) - float((gold @ np.exp(WORLD.log_policy)).mean())


def razin() -> None:
    """An accurate reward of low variance under the initial policy, and a worse one of high.

    Exact policy gradient of a softmax policy over all replies of a context. Both rewards reach
    from -1 to 1. The accurate one is a rising function of the gold reward, so that no pair is
    ranked wrongly, and almost constant but for the best replies: ``2 u^500 - 1``, u the share of
    the initial policy's replies that are no better. The other is ``2 u - 1`` of a reward with wrong
    weights of the slots and no penalty for too much in all.
    """
    gold, start = WORLD.gold[::3], np.tile(WORLD.log_policy, (16, 1))
    rng = np.random.default_rng(0)
    flat = 2 * _quantile(gold) ** 500 - 1
    wrong = WORLD.weights[::3] * np.exp(0.7 * rng.standard_normal((16, WORLD.weights.shape[1])))
    noisy = 2 * _quantile(wrong @ UTILITY[WORLD.doses].T) - 1
    unit = within_sd(WORLD, WORLD.gold)
    rows, steps = [], {}
    # Ranks of the flat reward are those of its quantiles, where its values are too near for floats.
    for name, reward, ranks in (
        ("accurate, flat", flat, _quantile(gold)), ("less accurate, spread", noisy, noisy)
    ):  # fmt: skip
        chance = np.exp(start)
        mean = (chance * reward).sum(axis=1, keepdims=True)
        sd = np.sqrt((chance * (reward - mean) ** 2).sum(axis=1))
        logits, reached = start.copy(), np.full(16, np.nan)
        first = (chance * gold).sum(axis=1)
        for step in range(1, 5001):
            policy = softmax(logits, axis=1)
            mean = (policy * reward).sum(axis=1, keepdims=True)
            logits += RATE * policy * (reward - mean)
            if step % 10 == 0:
                gain = ((policy * gold).sum(axis=1) - first) / unit
                reached[np.isnan(reached) & (gain >= TARGET)] = step
                if np.isfinite(reached).all():
                    break
        steps[name] = np.where(np.isnan(reached), 5000.0, reached)
        right = _accuracy(ranks, gold, rng)
        rows.append([name, f"{right:.3f}", over_seeds(sd), over_seeds(steps[name])])
    show(["teacher", "accuracy", "SD under the initial policy", f"steps to {TARGET} SD"], rows)
    ratio = np.log(steps["accurate, flat"] / steps["less accurate, spread"])
    print(f"log ratio of steps: {over_seeds(ratio)} over 16 contexts")


RATE, TARGET = 5.0, 0.3


def _quantile(table: np.ndarray) -> np.ndarray:
    """Share of the initial policy's replies whose reward is no higher, in each context."""
    chance, out = np.exp(WORLD.log_policy), np.empty_like(table)
    for row, values in zip(out, table, strict=True):
        order = np.argsort(values, kind="stable")
        row[order] = np.cumsum(chance[order])
    return out


def _accuracy(reward: np.ndarray, gold: np.ndarray, rng: np.random.Generator) -> float:
    """Share of pairs of the initial policy's replies that a reward ranks as gold does."""
    first, second = rng.choice(reward.shape[1], (2, 20000), p=np.exp(WORLD.log_policy))
    context = rng.integers(len(gold), size=20000)
    margins = [table[context, first] - table[context, second] for table in (reward, gold)]
    there = margins[1] != 0
    return float(np.mean((margins[0] * margins[1])[there] > 0))


def rafailov() -> None:
    """DPO along its checkpoints: KL and gold reward, exact, while the loss goes on falling."""
    settings = [(0.05, seed) for seed in range(5)] + [(0.5, seed) for seed in range(3)]
    keys = [{"pairs": 800, "noise": 0.25, "beta": b, "seed": s} for b, s in settings]
    cells = make("rafailov", keys, _dpo_cell)
    rows = []
    for beta in (0.05, 0.5):
        mine = [c for c in cells if c["beta"] == beta]
        found = [_turn(c["kl"], c["gold"]) for c in mine]
        shown = [over_seeds([f[k] for f in found]) for k in ("peak", "gain", "loss", "end")]
        fell = over_seeds([c["dpo_loss"][0] - c["dpo_loss"][-1] for c in mine])
        rows.append([f"{beta:g}", str(len(mine)), *shown, fell])
    head = ["beta", "seeds", "KL of the peak", "gain", "lost after it", "KL at the end"]
    show([*head, "fall of the loss (nats)"], rows)


def _turn(kl: list[float], gold: list[float]) -> dict[str, float]:
    gain = np.asarray(gold) - gold[0]
    top = int(gain.argmax())
    return {"peak": kl[top], "gain": gain[top], "loss": gain[top] - gain[-1], "end": kl[-1]}


def _dpo_cell(pairs: int, noise: float, beta: float, seed: int) -> dict[str, Any]:
    setting = DoseSetting(WORLD, seed=seed)
    rng = np.random.default_rng(seed)
    place, first = setting.draw(pairs, rng)
    _, second = setting.draw(pairs, rng)
    margin = setting.gold[place, first] - setting.gold[place, second]
    wins = (rng.random(pairs) < 1 / (1 + np.exp(-margin))) ^ (rng.random(pairs) < noise)
    chosen, rejected = np.where(wins, first, second), np.where(wins, second, first)
    with tempfile.TemporaryDirectory() as folder:
        policy = setting.pretrained_policy(seed, Path(folder) / "policy")
        reference = setting.log_probs(policy)
        config = DpoConfig(
            steps=150, batch=64, learning_rate=1e-3, beta=beta, seed=seed, measure_every=10
        )
        log = train_dpo(
            policy,
            [setting.prompts[p] for p in place],
            setting.output_tokens(chosen),
            setting.output_tokens(rejected),
            config,
            Path(folder) / "dpo",
            measure=setting.measure(reference, setting.gold),
        )
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    rows = [row for row in lines if "gold_exact" in row]
    losses = [row["loss"] for row in lines if "loss" in row]
    unit = within_sd(WORLD, WORLD.gold)
    return {
        "kl": [row["kl_exact"] for row in rows],
        "gold": [row["gold_exact"] / unit for row in rows],
        "dpo_loss": [float(np.mean(losses[:10])), float(np.mean(losses[-10:]))],
    }


def verifier() -> None:
    """A verifier that errs scales the policy gradient by 1 - FPR - FNR, and flips it below zero."""
    gold = WORLD.gold[::3]
    correct = (gold > np.quantile(gold, 0.9, axis=1, keepdims=True)).astype(float)
    chance = np.exp(WORLD.log_policy)
    rows = []
    for fpr, fnr in ((0.0, 0.0), (0.1, 0.2), (0.3, 0.3), (0.5, 0.5), (0.6, 0.6)):
        seen = correct * (1 - fnr) + (1 - correct) * fpr  # chance that a reply is accepted
        gradients = [chance * (r - (r @ chance)[:, None]) for r in (seen, correct)]
        ratio = (gradients[0] * gradients[1]).sum(axis=1) / (gradients[1] ** 2).sum(axis=1)
        expected = 1 - fpr - fnr
        rows.append([f"{fpr:g}", f"{fnr:g}", f"{expected:.2f}", f"{ratio.mean():.4f}",
                     f"{np.abs(ratio - expected).max():.0e}"])  # fmt: skip
    head = ["FPR", "FNR", "1 - FPR - FNR", "gradient, noisy over clean", "largest difference"]
    show(head, rows)


def dose_cells() -> list[dict[str, Any]]:
    """What `benchmarks/dose.py` has kept."""
    path = Path(__file__).resolve().parents[1] / "cells" / "dose.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]
