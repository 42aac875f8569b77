"""What every policy run writes, a JSON object a step, and the KL estimates in it.

Keys of a record (a key whose value is not known is left out)::

    step             optimiser steps taken by the policy that is described; 0 is the first policy
    kl_k1, kl_k3     KL(policy || reference) in nats per sequence, mean over the step's samples
    kl_k1_se         standard error of kl_k1
    kl_exact         the same by enumeration (worlds only), with proxy_exact and gold_exact
    proxy, gold      mean reward of the step's samples, raw units
    length           tokens per output
    entropy          nats per token
    disagreement     SD of the proxy among an ensemble's members, mean over samples
    outside_support  share of samples outside the reward model's support, 0 to 1
    samples          how many samples the means are over

and what belongs to one method: beta, loss, value_loss, clipped, ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmaudit.training.policy.model import CausalPolicy, Evaluation, Rollout, Tokens
from rmaudit.training.policy.reward import PolicyReward, Rewards


def sequence_log_ratio(policy: Tensor, reference: Tensor) -> Tensor:
    """Log pi(o|c) - log pi_ref(o|c) of whole outputs, (n,), nats; from tokens', (n, T)."""
    return (policy.double() - reference.double()).sum(dim=1)


def kl_k1(log_ratio: Tensor) -> Tensor:
    """Per sample: log pi/pi_ref. Unbiased for KL(pi || pi_ref) under pi; may be negative."""
    return log_ratio


def kl_k3(log_ratio: Tensor) -> Tensor:
    """Per sample: ``exp(-l) - 1 + l`` with l = log pi/pi_ref. Unbiased too, and never negative.

    Less noisy than k1 near the reference; far from it, it rests on rare samples that the reference
    finds much likelier, and is noisier (Schulman 2020, "Approximating KL divergence").
    """
    return torch.expm1(-log_ratio) + log_ratio


def describe(
    rollout: Rollout, evaluation: Evaluation, reference: Tensor, rewards: Rewards
) -> dict[str, float]:
    """The shared keys of a record, of samples of one policy.

    Parameters
    ----------
    rollout, evaluation
        Samples, and the sampling policy's own evaluation of them.
    reference
        The reference's log-probabilities of the same tokens, (n, T).
    rewards
        Of the samples.
    """
    ratio = sequence_log_ratio(evaluation.log_probs.detach(), reference)  # (n,)
    k1, k3 = kl_k1(ratio), kl_k3(ratio)
    n_tokens = rollout.mask.sum()
    record = {
        "kl_k1": float(k1.mean()),
        "kl_k3": float(k3.mean()),
        "kl_k1_se": float(k1.std() / len(rollout) ** 0.5) if len(rollout) > 1 else None,
        "proxy": _mean(rewards.proxy),
        "gold": _mean(rewards.gold),
        "length": float(n_tokens) / len(rollout),
        "entropy": float(evaluation.entropy.detach().sum() / n_tokens),
        "disagreement": _mean(rewards.disagreement),
        "outside_support": _mean(rewards.outside),
        "samples": len(rollout),
    }
    return {key: value for key, value in record.items() if value is not None}


def sampled(
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    reference: CausalPolicy,
    seed: int,
    *,
    each: int = 1,
) -> Callable[[CausalPolicy], dict[str, float]]:
    """What to measure of a policy whose training draws no samples: `each` samples of every prompt.

    Parameters
    ----------
    reward, prompts, reference
        As for `train_ppo`.
    seed
        Of the samples, the same for every policy measured: their differences are less noisy.
    """

    def measure(policy: CausalPolicy) -> dict[str, float]:
        generator = torch.Generator(policy.device).manual_seed(seed)
        rollout, _ = policy.sample(list(prompts) * each, generator)
        with torch.inference_mode():
            evaluation, base = policy.evaluate(rollout), reference.log_probs(rollout)
        rewards = reward(np.tile(np.arange(len(prompts)), each), rollout.outputs)
        return describe(rollout, evaluation, base, rewards)

    return measure


def _mean(values: Any) -> float | None:
    return None if values is None else float(np.mean(values))
