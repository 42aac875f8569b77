"""Over-optimisation where the truth is known: reward models of the clinic, optimised three ways.

One call draws narrow feedback, trains an ensemble on it, and optimises against it: best of n and
tilting on samples of pi_pre, PPO with a small GPT-2. The gold reward is R*. All of it is kept in a
folder and resumes from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rmaudit.data import load
from rmaudit.overoptimization.curves import Curve, Pool, best_of_n_curve, tilted_curve
from rmaudit.overoptimization.logs import read_log
from rmaudit.overoptimization.result import Overopt
from rmaudit.overoptimization.rl_curve import RlCurve, rl_curve
from rmaudit.overoptimization.settings import PAIRS
from rmaudit.overoptimization.study import Study, study
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic.world import ClinicWorld

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmaudit.rewards.base import RewardModel
    from rmaudit.training.policy.model import CausalPolicy
    from rmaudit.training.policy.reward import Rewards
    from rmaudit.worlds.clinic.policy import ClinicSetting

Say = Callable[[str], None]
MEMBERS = 3
POOL = (200, 128)  # prompts, samples of each
UNCERTAINTY_WEIGHT = 0.5  # of uwo
PPO_STEPS, PPO_BATCH = 100, 256
PPO_RATE = 2e-4  # of learning: slow enough that the log shows the way, and not the end alone
PPO_BETA = 0.02  # in within-prompt SDs of the proxy per nat
SINGLE = "one model"
PROXIES = (SINGLE, "mean", "wco", "uwo")


def from_clinic(
    folder: str | Path,
    *,
    pairs: int = PAIRS,
    members: int = MEMBERS,
    pool: tuple[int, int] = POOL,
    ppo: Sequence[str] = ("mean",),
    ppo_beta: float = PPO_BETA,
    ppo_steps: int = PPO_STEPS,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    say: Say = lambda message: None,
) -> Overopt:
    """Train, optimise and measure in the clinic world.

    Parameters
    ----------
    folder
        Where everything is kept; the same call resumes.
    pairs, members
        Feedback pairs, and reward models trained on them.
    pool
        Prompts, and samples of pi_pre for each, of best of n and of tilting.
    ppo
        What PPO is run against, of "one model", "mean", "wco", "uwo".
    ppo_beta, ppo_steps
        KL weight in within-prompt SDs of the proxy per nat; rounds of sampling and learning.
    seed
        Of the feedback, the models, the samples and the policy.
    resamples, confidence
        Of the bootstrap.
    say
        Told what is being done.

    Returns
    -------
    Overopt
        Curves of best of n and tilting for one model and the aggregates of all, and of PPO.
    """
    folder = Path(folder)
    world = ClinicWorld(seed)
    model = _trained(world, folder, pairs, members, seed, say)
    rewards = TextRewards(world, model)
    studies: list[Study] = []

    def keep(name: str, curve: Curve | RlCurve) -> None:
        rng = np.random.default_rng([seed, 2, len(studies)])
        studies.append(study(name, curve, rng, resamples=resamples, confidence=confidence))

    say(f"best of n and tilting: {pool[0]} prompts, {pool[1]} samples each")
    sds: dict[str, tuple[float, float]] = {}  # of gold and proxy, by proxy
    for name, drawn in _pools(world, rewards, pool, np.random.default_rng([seed, 1])).items():
        for curve in (best_of_n_curve(drawn), tilted_curve(drawn)):
            keep(name, curve)
            sds[name] = (curve.sd("gold"), curve.sd("proxy"))
    notes = []
    for name in ppo:
        say(f"PPO against {name}: {ppo_steps} steps")
        log = _ppo(world, rewards, name, ppo_beta * sds[name][1], ppo_steps, folder, seed)
        run = read_log(log, name=name).run
        keep(name, rl_curve([run], gold_sd=sds[name][0], proxy_sd=sds[name][1]))
        notes.append(f"PPO, {name}: intervals are over steps of one run")
    return Overopt(tuple(studies), tuple(notes), confidence)


def _pools(
    world: ClinicWorld, rewards: TextRewards, size: tuple[int, int], rng: np.random.Generator
) -> dict[str, Pool]:
    """Samples of pi_pre with the rewards of each proxy and the gold reward, by proxy."""
    samples = world.draw_samples(*size, rng)
    contexts = samples["context"].to_numpy()
    outputs = np.array(samples["output_indices"].tolist())
    members = rewards.members(np.repeat(contexts, size[1]), outputs.ravel())
    gold = world.true_reward(contexts[:, None], outputs)
    clusters = np.arange(len(contexts))
    return {
        name: Pool.of(aggregated(members, name).reshape(outputs.shape), gold, clusters)
        for name in PROXIES
    }


def aggregated(members: Float, name: str) -> Float:
    """The reward of a proxy by name from those of the members, (K, n) to (n,)."""
    if name == SINGLE:
        return np.asarray(members[0], dtype=np.float64)
    how: Aggregate = name  # type: ignore[assignment]
    return aggregate_rewards(members, how, UNCERTAINTY_WEIGHT)


class TextRewards:
    """Rewards of the members for outputs of the clinic, each text scored once."""

    def __init__(self, world: ClinicWorld, model: RewardModel) -> None:
        self.world, self.model = world, model
        self._known: dict[tuple[int, int], tuple[float, ...]] = {}

    def members(self, contexts: Integers, outputs: Integers) -> Float:
        """Rewards of (context, output) indices, (K, n)."""
        from rmaudit.rewards.base import Text
        from rmaudit.training.policy.reward import score

        pairs = list(zip(contexts.tolist(), outputs.tolist(), strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._known]
        if new:
            prompts = self.world.contexts["prompt"]
            texts = [Text(str(prompts.iloc[c]), self.world.output_text(c, o)) for c, o in new]
            scored = np.stack([score(member, texts) for member in self.model.members], axis=1)
            self._known |= dict(zip(new, map(tuple, scored.tolist()), strict=True))
        return np.array([self._known[pair] for pair in pairs]).T


class ClinicTextReward:
    """What PPO is run against: an aggregate of the members' rewards, with R* beside it."""

    def __init__(self, setting: ClinicSetting, rewards: TextRewards, name: str) -> None:
        self.setting, self.rewards, self.name = setting, rewards, name

    def __call__(self, prompts: Integers, outputs: Sequence[Sequence[int]]) -> Rewards:
        """See `rmaudit.training.policy.reward.PolicyReward`."""
        from rmaudit.training.policy.reward import Rewards

        indices = self.setting.output_indices(outputs)
        members = self.rewards.members(self.setting.contexts[prompts], indices)
        return Rewards(
            proxy=aggregated(members, self.name),
            gold=self.setting.gold[prompts, indices],
            disagreement=members.std(axis=0) if len(members) > 1 else None,
        )


def _trained(
    world: ClinicWorld, folder: Path, pairs: int, members: int, seed: int, say: Say
) -> RewardModel:
    """The ensemble, trained on narrow feedback; what is there is used again."""
    from rmaudit.rewards import load_reward_model
    from rmaudit.training.reward.train import train_reward_model
    from rmaudit.training.tiny import DEMO_TRAINING, tiny_base

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"feedback-{pairs}.jsonl"
    frame = world.draw_feedback(pairs, np.random.default_rng(seed))
    frame.to_json(path, orient="records", lines=True)
    feedback = load(path)
    texts = [*map(str, frame["prompt"]), *frame["chosen"], *frame["rejected"]]
    base = tiny_base(folder / f"base-{pairs}", texts)
    say(f"{members} reward models on {pairs} pairs")
    out = folder / f"models-{pairs}"
    config = DEMO_TRAINING.but(seed=seed, members=members)
    train_reward_model(base, feedback, out, config=config)
    return load_reward_model(out)


def _ppo(
    world: ClinicWorld,
    rewards: TextRewards,
    name: str,
    beta: float,
    steps: int,
    folder: Path,
    seed: int,
) -> Path:
    """The log of a run from the pretrained policy, with its exact KL and gold now and then.

    `beta` is in units of the proxy called `name` per nat.
    """
    from rmaudit.training.policy.ppo import train_ppo
    from rmaudit.training.policy.settings import PpoConfig
    from rmaudit.worlds.clinic.policy import ClinicSetting

    setting = ClinicSetting(world, seed=seed)
    policy = setting.pretrained_policy(seed, folder / "policy")
    log_reference = setting.log_probs(policy)

    def measure(trained: CausalPolicy) -> dict[str, float]:
        exact = setting.exact(setting.log_probs(trained), log_reference, setting.gold)
        return {"kl_exact": exact.kl, "gold_exact": exact.gold}

    config = PpoConfig(
        steps=steps, batch=PPO_BATCH, beta=beta, seed=seed, learning_rate=PPO_RATE, measure_every=5
    )
    against = ClinicTextReward(setting, rewards, name)
    out = folder / f"ppo-{name.replace(' ', '-')}-{steps}-{beta:.6g}"
    return train_ppo(policy, against, setting.prompts, config, out, measure=measure)
