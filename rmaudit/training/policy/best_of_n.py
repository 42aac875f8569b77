"""Best of n: sample n outputs, keep the one that the reward prefers. Optimisation without training.

The policy that it amounts to has a KL from the sampled one of ``log n - (n - 1)/n`` nats without
ties, and of no more with them (Beirami et al. 2024, arXiv 2401.01879).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rmaudit.errors import UsageError
from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.reward import PolicyReward
from rmaudit.training.policy.run import rewards_of
from rmaudit.typing import Float, Integers


@dataclass(frozen=True, slots=True)
class Pool:
    """Samples of a policy: what curves of best of n and of tilting are computed from."""

    outputs: list[list[list[int]]]  # (n_prompts, n) of ids
    proxy: Float  # (n_prompts, n)
    gold: Float | None  # (n_prompts, n)

    def best(self) -> tuple[list[list[int]], Float, Float | None]:
        """The best output of each prompt by the proxy (the first of equals), proxy and gold."""
        winner = self.proxy.argmax(axis=1)  # (n_prompts,)
        rows = np.arange(len(winner))
        return (
            [self.outputs[row][column] for row, column in zip(rows, winner, strict=True)],
            self.proxy[rows, winner],
            None if self.gold is None else self.gold[rows, winner],
        )

    @property
    def kl(self) -> float:
        """KL of the best of all n from the policy, nats; an upper bound where proxies tie."""
        n = int(self.proxy.shape[1])
        return math.log(n) - (n - 1) / n


def sample_pool(
    policy: CausalPolicy,
    reward: PolicyReward,
    prompts: Sequence[Tokens],
    n: int,
    generator: torch.Generator,
    *,
    batch: int = 256,
) -> Pool:
    """`n` outputs of every prompt, with their rewards.

    Raises
    ------
    UsageError
        If n is not positive.
    RewardModelError
        If a proxy reward is not finite.
    """
    if n < 1:
        raise UsageError(f"n must be positive, not {n}")
    outputs: list[list[int]] = []
    proxy, gold = [], []
    for positions, copies in _pieces(len(prompts), n, batch):
        rollout, _ = policy.sample([prompts[i] for i in positions], generator, copies=copies)
        rewards = rewards_of(reward, positions.repeat(copies), rollout)
        outputs += rollout.outputs
        proxy.append(rewards.proxy)
        if rewards.gold is not None:
            gold.append(rewards.gold)
    shape = (len(prompts), n)
    return Pool(
        [outputs[row * n : (row + 1) * n] for row in range(len(prompts))],
        np.concatenate(proxy).reshape(shape),
        np.concatenate(gold).reshape(shape) if gold else None,
    )


def _pieces(prompts: int, n: int, batch: int) -> Iterator[tuple[Integers, int]]:
    """Positions of prompts, and how often to answer each at once: all of a prompt in a row."""
    together = max(batch // n, 1)
    for start in range(0, prompts, together):
        for done in range(0, n, batch):
            yield np.arange(start, min(start + together, prompts)), min(batch, n - done)
