"""Over-optimisation in the dose world: exact best of n, exact tilting, and RL on a small GPT-2.

Best of n and the tilted policy are computed by enumeration for any n and any beta, so their curves
have no sampling error; intervals are over contexts. RL (PPO, RLOO, A2C) starts from a policy that
answers as the initial policy does, and its KL and gold reward are logged exactly now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmaudit.errors import UsageError, nearest
from rmaudit.overoptimization.curves import Curve, Method
from rmaudit.overoptimization.logs import read_log
from rmaudit.overoptimization.result import Overopt
from rmaudit.overoptimization.rl_curve import rl_curve
from rmaudit.overoptimization.settings import NOISE, PAIRS
from rmaudit.overoptimization.study import Study, study
from rmaudit.rewards.ensemble import aggregate_rewards
from rmaudit.typing import Float
from rmaudit.worlds.dose.world import DoseWorld
from rmaudit.worlds.exact import best_of_n, kl_divergence, tilt

if TYPE_CHECKING:
    from rmaudit.worlds.dose.policy import DoseSetting
    from rmaudit.worlds.dose.proxies import Members, Proxies

Say = Callable[[str], None]
MEMBERS = 4
OCTAVES = 18  # best of n up to 2^18
BETAS: Float = np.exp2(np.arange(4, -5.1, -0.5))  # in within-context SDs of the proxy per nat
UNCERTAINTY_WEIGHT = 0.5  # of uwo, on members in SDs
SINGLE, WARM = "one model", "warm"
PROXIES = (SINGLE, "mean", "wco", "uwo", WARM)
METHODS = ("rloo", "ppo", "a2c")
RL_STEPS, RL_BATCH = 150, 256
# Slow enough that the log shows the way, and not the end alone; PPO takes several steps per batch.
RL_RATES = {"rloo": 5e-4, "ppo": 1e-4, "a2c": 5e-4}
RL_BETA = 0.02  # in within-context SDs of the proxy per nat


def from_dose(
    folder: str | Path,
    *,
    pairs: int = PAIRS,
    noise: float = NOISE,
    members: int = MEMBERS,
    differ: Members = "bootstrap",
    rl: Sequence[str] = METHODS,
    rl_steps: int = RL_STEPS,
    rl_contexts: int = 16,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    say: Say = lambda message: None,
) -> Overopt:
    """Train proxies in the dose world, optimise against them three ways, and read off the gold.

    Parameters
    ----------
    folder
        Where RL runs are kept; the same call resumes them.
    pairs, noise
        Feedback pairs, and the share of their labels that is flipped.
    members, differ
        Size of the ensemble, and how its members differ (`rmaudit.worlds.dose.proxies.Members`).
    rl, rl_steps, rl_contexts
        What is run against the single model, of "rloo", "ppo", "a2c"; rounds of sampling; contexts
        that the policy answers.
    seed
        Of feedback, members and policies.
    resamples, confidence
        Of the bootstrap over contexts.
    say
        Told what is being done.

    Raises
    ------
    UsageError
        If a method of RL is not known.
    """
    from rmaudit.worlds.dose.policy import DoseSetting
    from rmaudit.worlds.dose.proxies import train_proxies

    for method in rl:
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; {nearest(method, METHODS)}")
    folder = Path(folder)
    world = DoseWorld()
    say(f"{members} proxies on {pairs} pairs, {noise:.0%} of the labels flipped")
    feedback = world.draw_pairs(pairs, np.random.default_rng(seed), noise=noise)
    proxies = train_proxies(world, feedback, members=members, differ=differ, seed=seed)
    studies: list[Study] = []

    def keep(name: str, curve: Any) -> None:
        rng = np.random.default_rng([seed, 2, len(studies)])
        studies.append(study(name, curve, rng, resamples=resamples, confidence=confidence))

    say("best of n and tilting, by enumeration")
    tables = proxy_tables(world, proxies)
    for name, table in tables.items():
        keep(name, exact_curve(world, table, "bon", np.exp2(np.arange(OCTAVES + 1.0))))
        keep(name, exact_curve(world, table, "tilted", np.multiply(BETAS, within_sd(world, table))))
    for method in rl:
        say(f"{method.upper()} against {SINGLE}: {rl_steps} steps")
        setting = DoseSetting(world, n_contexts=rl_contexts, seed=seed)
        curve = _rl(setting, tables[SINGLE], method, rl_steps, folder, seed)
        keep(f"{SINGLE}, {method.upper()}", curve)
    return Overopt(tuple(studies), tuple(_notes(world, proxies, rl)), confidence)


def proxy_tables(world: DoseWorld, proxies: Proxies) -> dict[str, Float]:
    """What can be optimised, by name: the first member, aggregates of all, and WARM."""
    members = np.stack([_in_sds(world, table) for table in proxies.tables])
    flat = members.reshape(len(members), -1)
    tables = {SINGLE: members[0]}
    if len(members) > 1:
        for how in ("mean", "wco", "uwo"):
            joined = aggregate_rewards(flat, how, UNCERTAINTY_WEIGHT)
            tables[how] = joined.reshape(members.shape[1:])
    if proxies.averaged is not None:
        tables[WARM] = _in_sds(world, proxies.averaged)
    return tables


def within_sd(world: DoseWorld, table: Float) -> float:
    """Pooled within-context SD of a reward under the initial policy."""
    return float(np.sqrt(_variances(world, table).mean()))


def exact_curve(world: DoseWorld, table: Float, method: Method, strengths: Float) -> Curve:
    """Proxy and gold reward at each n (best of n) or beta (tilted), exact in every context.

    Parameters
    ----------
    world
        The dose world.
    table
        The proxy, (n_contexts, n_outputs).
    method, strengths
        "bon" with values of n, or "tilted" with values of beta in units of the proxy per nat.
    """
    shape = (world.n_contexts, len(strengths))
    kl, proxy, gold = np.empty(shape), np.empty(shape), np.empty(shape)
    start = world.log_policy
    for c in range(world.n_contexts):
        if method == "bon":
            moved = best_of_n(start, table[c], strengths)  # (n_points, n_outputs)
        else:
            moved = np.stack([tilt(start, table[c], float(beta)) for beta in strengths])
        chance = np.exp(moved)
        kl[c] = [kl_divergence(row, start) for row in moved]
        proxy[c], gold[c] = chance @ table[c], chance @ world.gold[c]
    chance = np.exp(start)
    ones = np.ones(world.n_contexts)
    return Curve(
        method,
        np.asarray(strengths, dtype=np.float64),
        kl,
        proxy,
        gold,
        table @ chance,
        world.gold @ chance,
        np.arange(world.n_contexts),
        np.stack([_variances(world, table), ones], axis=1),
        np.stack([_variances(world, world.gold), ones], axis=1),
        np.full(len(strengths), np.nan),
    )


def _variances(world: DoseWorld, table: Float) -> Float:
    """Variance of a reward under the initial policy in each context, (n_contexts,)."""
    chance = np.exp(world.log_policy)
    mean = table @ chance
    return np.asarray(((table - mean[:, None]) ** 2) @ chance)


def _in_sds(world: DoseWorld, table: Float) -> Float:
    mean = table @ np.exp(world.log_policy)
    return np.asarray((table - mean[:, None]) / within_sd(world, table))


def _rl(
    setting: DoseSetting, table: Float, method: str, steps: int, folder: Path, seed: int
) -> Any:
    """One run of RL as a curve; gains in SDs under the initial policy."""
    from rmaudit.training.policy.a2c import train_a2c
    from rmaudit.training.policy.model import CausalPolicy
    from rmaudit.training.policy.ppo import train_ppo
    from rmaudit.training.policy.rloo import train_rloo
    from rmaudit.training.policy.settings import CONFIGS
    from rmaudit.worlds.setting import TableReward

    train: Any = {"rloo": train_rloo, "ppo": train_ppo, "a2c": train_a2c}[method]
    world = setting.world
    policy = setting.pretrained_policy(seed, folder / "policy")
    reference = setting.log_probs(policy)
    own = table[setting.contexts]

    def measure(trained: CausalPolicy) -> dict[str, float]:
        return setting.exact(setting.log_probs(trained), reference, own).to_dict()

    log = train(
        policy,
        TableReward(setting, own),
        setting.prompts,
        CONFIGS[method](
            steps=steps,
            batch=RL_BATCH,
            beta=RL_BETA,
            seed=seed,
            learning_rate=RL_RATES[method],
            measure_every=max(1, steps // 15),
        ),
        folder / method,
        measure=measure,
    )
    run = read_log(log, name=f"{SINGLE}, {method.upper()}").run
    gold_sd = within_sd(world, world.gold)
    return rl_curve([run], gold_sd=gold_sd, proxy_sd=within_sd(world, table))


def _notes(world: DoseWorld, proxies: Proxies, rl: Sequence[str]) -> list[str]:
    notes = [
        "the dose world was designed with an interaction (too much in all hurts) that feedback "
        "from the initial policy hardly shows"
    ]
    if len(proxies.tables) > 1:
        notes.append(
            f"members' errors correlate by {proxies.error_correlation(world.gold):.2f}: "
            f"{len(proxies.tables)} members are worth {proxies.effective_number(world.gold):.1f}"
        )
    if rl:
        notes.append("RL: intervals are over steps of one run")
    return notes
