"""Proximal policy optimisation with a KL penalty: the RL step of RLHF.

Schulman et al. 2017 (arXiv 1707.06347), with the penalty of Eq. 16 of arXiv 2404.08555. In the
order in which they stand below, the details that decide whether it works:

1. Dropout is off everywhere (see `CausalPolicy`).
2. Old log-probabilities come from the same kind of forward pass that training uses, not from
   sampling with a cache: the first ratio is then exactly 1.
3. The KL penalty is paid token by token, ``-beta (log pi - log pi_ref)``; the reward model's score
   arrives at the last token, the end token where there is one. The score is neither whitened nor
   clipped: that would change what beta means.
4. An output that did not end within its length gets `unfinished_penalty` less.
5. An episode ends with the output: beyond the last token there is no value to bootstrap from.
6. GAE (arXiv 1506.02438) with gamma = 1: a sentence is not worth less for coming later.
7. Advantages are whitened over all tokens of the step, of all processes, before minibatches are
   cut.
8. The value's change is clipped like the policy's, in SDs of the step's rewards, for a reward has
   no unit; the larger of the two errors counts.
9. The value head is a linear layer, zero at first, on the policy's own last hidden state.
10. Adaptive beta: the proportional controller of Ziegler et al. 2019 (arXiv 1909.08593).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rmaudit.training.parallel import Parallel
from rmaudit.training.policy.model import CausalPolicy, Rollout, Tokens
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.rl import rl_steps
from rmaudit.training.policy.run import Measure, PolicyRun
from rmaudit.training.policy.settings import PpoConfig


@dataclass(frozen=True, slots=True)
class Experience:
    """The samples of a step and what is learnt from them; each (n, T), zero at padding."""

    rollout: Rollout
    log_probs: Tensor
    values: Tensor
    advantages: Tensor  # whitened
    returns: Tensor

    def take(self, rows: Tensor) -> Experience:
        """Some of the samples."""
        parts = (self.log_probs, self.values, self.advantages, self.returns)
        return Experience(self.rollout.take(rows), *(part[rows] for part in parts))


def train_ppo(
    policy: CausalPolicy,
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    config: PpoConfig,
    out: Path,
    *,
    reference: CausalPolicy | None = None,
    measure: Measure | None = None,
) -> Path:
    """Maximise ``E[reward] - beta KL(policy || reference)``; the policy is changed in place.

    Parameters
    ----------
    policy
        What is trained.
    reward
        The proxy, with whatever else it knows.
    prompts
        As ids.
    config
        Settings.
    out
        The folder of the run: log, checkpoint, at the end the model. The same call, with the same
        first weights, resumes it.
    reference
        pi_pre; by default the policy as it is given.
    measure
        Called on the policy every `config.measure_every` steps; what it returns is logged.

    Returns
    -------
    The log, see `rmaudit.training.policy.log`; its own keys are beta, loss, value_loss, clipped
    (share of ratios that were clipped).
    """
    reference = reference or policy.frozen()
    value_head = ValueHead(policy)
    run = PolicyRun("ppo", policy, config, out, prompts, {"value": value_head})
    run.numbers.setdefault("beta", config.beta)
    steps = rl_steps(run, reward, prompts, reference, config, measure, graph=False)
    for step in steps:
        rollout, old = step.rollout, step.evaluation
        with torch.no_grad():
            values = value_head(old.hidden) * rollout.mask
        token_reward = token_rewards(step.score, step.log_ratio, step.beta, rollout.mask)
        advantages, returns = gae(token_reward, values, rollout.mask, config.gae_lambda)
        advantages = whiten(advantages, rollout.mask, run.parallel)
        samples = Experience(rollout, old.log_probs, values, advantages, returns)
        losses = _learn(run, value_head, samples, config, step.rng, _spread(step.score, run))
        logged = step.log(**losses)
        run.numbers["beta"] = adapted_beta(step.beta, logged["kl_k1"], config)
    return run.log_path


class ValueHead(nn.Module):
    """Expected reward still to come, from the state that the next token is chosen from."""

    def __init__(self, policy: CausalPolicy) -> None:
        super().__init__()
        self.linear = nn.Linear(policy.model.config.hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Values, (n, T), of states, (n, T, width)."""
        values: Tensor = self.linear(hidden.float())[..., 0]
        return values


def adapted_beta(beta: float, kl: float, config: PpoConfig) -> float:
    """A little more where the KL is above its target, a little less below; unchanged without one.

    The relative error is clipped at 0.2, so that one noisy estimate cannot throw beta far.
    """
    if config.target_kl is None:
        return beta
    error = min(max(kl / config.target_kl - 1, -0.2), 0.2)
    return beta * (1 + config.beta_rate * error)


def token_rewards(score: Tensor, log_ratio: Tensor, beta: float, mask: Tensor) -> Tensor:
    """Eq. 16: the penalty at every token, the score at the last, (n, T)."""
    token_reward = -beta * log_ratio * mask
    return token_reward.scatter_add(1, (mask.sum(dim=1) - 1)[:, None], score[:, None])


def gae(
    token_reward: Tensor, values: Tensor, mask: Tensor, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantages and returns, each (n, T), with gamma = 1.

    ``A_t = d_t + lambda A_{t+1}`` with ``d_t = r_t + V_{t+1} - V_t``; beyond the last token V and A
    are 0.
    """
    advantages = torch.zeros_like(token_reward)
    following = next_value = torch.zeros(len(token_reward), device=token_reward.device)
    for t in reversed(range(token_reward.shape[1])):
        delta = token_reward[:, t] + next_value - values[:, t]
        following = (delta + gae_lambda * following) * mask[:, t]
        next_value = values[:, t] * mask[:, t]
        advantages[:, t] = following
    return advantages, (advantages + values) * mask


def whiten(advantages: Tensor, mask: Tensor, parallel: Parallel | None = None) -> Tensor:
    """Mean 0 and variance 1 over all tokens, of all processes."""
    parallel = parallel or Parallel()
    mean = parallel.combine(parallel.mean(advantages[mask]), "mean")
    centred = advantages - mean
    variance = parallel.combine(parallel.mean(centred[mask] ** 2), "mean")
    return centred / (variance.sqrt() + 1e-8) * mask


def clipped_policy_loss(ratio: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """The pessimistic one of the ratio and the clipped ratio, per token; to be minimised."""
    return torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip))


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """The larger squared error of the value and the value clipped near the old one, per token."""
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (near - returns) ** 2)


def _spread(score: Tensor, run: PolicyRun) -> float:
    """SD of a step's rewards over all processes; 1 where they are all the same."""
    mean = run.parallel.combine(score.mean(), "mean")
    square = run.parallel.combine(((score - mean) ** 2).mean(), "mean")
    return float(square.sqrt()) or 1.0


def _learn(
    run: PolicyRun,
    value_head: ValueHead,
    samples: Experience,
    config: PpoConfig,
    rng: np.random.Generator,
    score_sd: float,
) -> dict[str, float]:
    """Several passes over the samples in minibatches; means of the losses over all tokens."""
    policy = run.policy
    totals = {"loss": 0.0, "value_loss": 0.0, "clipped": 0.0}
    count = 0
    near = config.value_clip * score_sd

    def losses(part: Experience) -> Iterator[Tensor]:
        whole = run.parallel.combine(part.rollout.mask.sum().float(), "mean").clamp(min=1)
        for cut in run.cuts(len(part.rollout)):
            few = part.take(torch.arange(len(part.rollout))[cut].to(policy.device))
            mask = few.rollout.mask
            now = policy.evaluate(few.rollout)
            ratio = (now.log_probs - few.log_probs).exp()  # (n, T)
            policy_loss = clipped_policy_loss(ratio, few.advantages, config.clip)[mask].sum()
            values = value_head(now.hidden)
            errors = clipped_value_loss(values, few.values, few.returns, near)
            value_loss = errors[mask].sum()
            clipped = (ratio.detach() - 1).abs() > config.clip
            totals["value_loss"] += float(value_loss.detach() / whole)
            totals["clipped"] += float(clipped[mask].float().sum() / whole)
            yield (policy_loss + config.value_weight * value_loss) / whole

    for _ in range(config.epochs):
        order = torch.as_tensor(rng.permutation(len(samples.rollout)))
        for rows in torch.split(order, run.share(config.minibatch)):
            totals["loss"] += run.update(losses(samples.take(rows.to(policy.device))))
            count += 1
    return {name: total / count for name, total in totals.items()}
