"""Advantage actor-critic: PPO without its clipping, one update on fresh samples.

Mnih et al. 2016 (arXiv 1602.01783), synchronous. What PPO adds is that samples may be used several
times; this is the baseline that shows what that is worth. Value head, token rewards (Eq. 16 of
arXiv 2404.08555) and advantages are those of `rmaudit.training.policy.ppo`; its details 1, 3, 4, 5
and 6 hold here too. An entropy bonus keeps the policy from settling early.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.ppo import ValueHead, gae, token_rewards, whiten
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.rl import RlStep, rl_steps
from rmaudit.training.policy.run import Measure, PolicyRun
from rmaudit.training.policy.settings import A2cConfig


def train_a2c(
    policy: CausalPolicy,
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    config: A2cConfig,
    out: Path,
    *,
    reference: CausalPolicy | None = None,
    measure: Measure | None = None,
) -> Path:
    """Maximise ``E[reward] - beta KL(policy || reference)``; see `train_ppo` for the parameters."""
    reference = reference or policy.frozen()
    value_head = ValueHead(policy)
    run = PolicyRun("a2c", policy, config, out, prompts, {"value": value_head})
    for step in rl_steps(run, reward, prompts, reference, config, measure):
        mask = step.rollout.mask
        with torch.no_grad():
            values = value_head(step.evaluation.hidden) * mask
        token_reward = token_rewards(step.score, step.log_ratio, step.beta, mask)
        advantages, returns = gae(token_reward, values, mask, config.gae_lambda)
        whitened = whiten(advantages, mask, run.parallel)
        value_losses: list[float] = []
        losses = _losses(step, value_head, whitened, returns, value_losses)
        step.log(loss=run.update(losses), value_loss=sum(value_losses))
    return run.log_path


def _losses(
    step: RlStep,
    value_head: ValueHead,
    whitened: Tensor,
    returns: Tensor,
    value_losses: list[float],
) -> Iterator[Tensor]:
    """Parts of the loss, means over the tokens of the whole step; the value's into the list."""
    config, run = cast(A2cConfig, step.run.config), step.run
    whole = run.parallel.combine(step.rollout.mask.sum().float(), "mean").clamp(min=1)
    for rows, now in step.parts():
        mask = step.rollout.mask[rows]
        policy_loss = -(whitened[rows] * now.log_probs)[mask].sum() / whole
        value_loss = (0.5 * (value_head(now.hidden) - returns[rows]) ** 2)[mask].sum() / whole
        bonus = now.entropy[mask].sum() / whole
        value_losses.append(float(value_loss.detach()))
        yield policy_loss + config.value_weight * value_loss - config.entropy_weight * bonus
