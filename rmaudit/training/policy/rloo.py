"""REINFORCE leave-one-out: the policy gradient with the other samples of a prompt as its baseline.

Ahmadian et al. 2024 (arXiv 2402.14740). No value head, no clipping; the details that matter:

1. The whole output is one action: its reward is ``score - beta log pi/pi_ref`` of the sequence.
2. The baseline of a sample is the mean reward of the other samples of its prompt. It does not
   depend on the sample, so the gradient stays unbiased.
3. One update a step, on fresh samples: the gradient is that of the policy that drew them.
4. The penalty is part of the reward and no gradient flows through it; under the policy's own
   samples that is the gradient of the KL.
5. Advantages are not whitened: beta keeps its meaning, Adam takes care of the scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.rl import rl_steps
from rmaudit.training.policy.run import Measure, PolicyRun
from rmaudit.training.policy.settings import RlooConfig


def train_rloo(
    policy: CausalPolicy,
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    config: RlooConfig,
    out: Path,
    *,
    reference: CausalPolicy | None = None,
    measure: Measure | None = None,
) -> Path:
    """Maximise ``E[reward] - beta KL(policy || reference)``; see `train_ppo` for the parameters."""
    reference = reference or policy.frozen()
    run = PolicyRun("rloo", policy, config, out, prompts)
    steps = rl_steps(run, reward, prompts, reference, config, measure, samples=config.samples)
    for step in steps:
        ratio = step.log_ratio.double().sum(dim=1).float()  # of whole outputs, (n,)
        advantages = leave_one_out(step.score - step.beta * ratio, config.samples)
        losses = (
            -(advantages[rows] * now.log_probs.sum(dim=1)).sum() / len(advantages)
            for rows, now in step.parts()
        )
        step.log(loss=run.update(losses))
    return run.log_path


def leave_one_out(reward: Tensor, samples: int) -> Tensor:
    """Reward less the mean of the other samples of the prompt, (n,); `samples` side by side."""
    groups = reward.reshape(-1, samples)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (samples - 1)
    return (groups - others).reshape(-1)
