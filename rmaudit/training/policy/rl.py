"""What a step of PPO, A2C and RLOO shares: samples, their rewards, the reference, the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmaudit.training.policy.log import describe
from rmaudit.training.policy.model import CausalPolicy, Evaluation, Rollout, Tokens
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.run import Measure, PolicyRun, choose_prompts, rewards_of, scores
from rmaudit.typing import Integers


@dataclass(frozen=True, slots=True)
class RlStep:
    """Samples of the policy as it stands, to learn from.

    Attributes
    ----------
    step, rng
        Which step, and its chance for minibatches.
    rollout, evaluation
        The samples, and what the policy says of them.
    log_ratio
        Log pi - log pi_ref of each token, (n, T), nats, without a graph.
    score
        Rewards as training sees them, (n,): see `scores`.
    beta
        KL penalty, units of reward per nat.
    """

    run: PolicyRun
    step: int
    rng: np.random.Generator
    rollout: Rollout
    evaluation: Evaluation
    log_ratio: Tensor
    score: Tensor
    beta: float
    record: dict[str, float]

    def parts(self) -> Iterator[tuple[slice, Evaluation]]:
        """Rows of the samples with what the policy says of them, with a graph: a pass at a time."""
        if self.evaluation.log_probs.requires_grad:
            yield slice(None), self.evaluation
            return
        policy = self.run.policy
        for cut in self.run.cuts(len(self.rollout)):
            rows = torch.arange(len(self.rollout), device=policy.device)[cut]
            yield cut, policy.evaluate(self.rollout.take(rows))

    def log(self, **losses: float) -> dict[str, float]:
        """Write the step's record with what learning gave; the record over all processes."""
        return self.run.log(self.step, **self.record, beta=self.beta, **losses)


def rl_steps(
    run: PolicyRun,
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    reference: CausalPolicy,
    config: Any,
    measure: Measure | None,
    *,
    samples: int = 1,
    graph: bool = True,
) -> Iterator[RlStep]:
    """Steps to learn from, each on fresh samples; the last policy is described and not trained.

    Parameters
    ----------
    run
        Its `numbers` may hold a beta that adapts; else it is that of the settings.
    reward, prompts, reference, measure
        See `train_ppo`.
    config
        Settings, with `unfinished_penalty`.
    samples
        Of each prompt of a step, side by side.
    graph
        Whether the evaluation may carry a graph: samples that are used once, and all at once, need
        no second pass.
    """
    policy = run.policy
    graph = graph and run.config.micro_batch is None
    for step in run.steps():
        rng, beta = run.rng(step), run.numbers.get("beta", config.beta)
        different = choose_prompts(len(prompts), run.share(config.batch // samples), rng)
        chosen: Integers = np.repeat(different, samples)
        rollout, _ = policy.sample([prompts[i] for i in chosen], run.generator(step))
        with torch.no_grad():
            reference_log_probs = reference.log_probs(rollout)
        with torch.set_grad_enabled(graph and step < config.steps):
            evaluation = policy.evaluate(rollout)
        rewards = rewards_of(reward, chosen, rollout)
        record = describe(rollout, evaluation, reference_log_probs, rewards)
        if measure is not None and run.is_measured(step):
            record |= measure(policy)
        if step == config.steps:
            run.log(step, **record, beta=beta)
            continue
        log_ratio = evaluation.log_probs.detach() - reference_log_probs
        score = scores(rewards, rollout, policy, config.unfinished_penalty)
        yield RlStep(run, step, rng, rollout, evaluation, log_ratio, score, beta, record)
