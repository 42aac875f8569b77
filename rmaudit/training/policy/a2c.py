"""Advantage actor-critic: PPO without its clipping, one update on fresh samples.

Mnih et al. 2016 (arXiv 1602.01783), synchronous. What PPO adds is that samples may be used several
times; this is the baseline that shows what that is worth. Value head, token rewards (Eq. 16 of
arXiv 2404.08555) and advantages are those of `rmaudit.training.policy.ppo`; its details 1, 3, 4, 5
and 6 hold here too. An entropy bonus keeps the policy from settling early.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.ppo import ValueHead, gae, token_rewards, whiten
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.rl import rl_steps
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
    mean = run.parallel.mean
    for step in rl_steps(run, reward, prompts, reference, config, measure):
        mask, now = step.rollout.mask, step.evaluation
        values = value_head(now.hidden)
        token_reward = token_rewards(step.score, step.log_ratio, step.beta, mask)
        advantages, returns = gae(token_reward, values.detach() * mask, mask, config.gae_lambda)
        whitened = whiten(advantages, mask, run.parallel)
        policy_loss = -mean((whitened * now.log_probs)[mask])
        value_loss = mean(0.5 * ((values - returns) ** 2)[mask])
        bonus = mean(now.entropy[mask])
        loss = policy_loss + config.value_weight * value_loss - config.entropy_weight * bonus
        step.log(loss=run.update(loss), value_loss=float(value_loss.detach()))
    return run.log_path
