"""A finite world with a policy that is a real network and yet can be enumerated.

A small GPT-2 answers each context, one token per slot, and its logits are masked so that each
position holds a value of its slot. A context then has a known number of outputs and no others: the
probability of every one of them is known, and with it the exact KL and the exact expected reward
that the estimates of a training log are compared with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmaudit.errors import UsageError
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.reward import Rewards
from rmaudit.training.policy.run import Measure
from rmaudit.training.policy.settings import SftConfig
from rmaudit.training.policy.sft import train_sft
from rmaudit.typing import Float, Integers
from rmaudit.worlds.exact import tilt

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

_ROWS = 4_000  # prefixes in one forward pass of the enumeration, at most: bounds the memory


@dataclass(frozen=True, slots=True)
class Exact:
    """What a policy does, by summing over every output of every context (no sampling error)."""

    kl: float  # KL(policy || reference), nats per sequence, mean over contexts
    proxy: float  # expected proxy reward
    gold: float  # expected gold reward

    def to_dict(self) -> dict[str, float]:
        """With the keys of the training log."""
        return {"kl_exact": self.kl, "proxy_exact": self.proxy, "gold_exact": self.gold}


class TokenSetting(ABC):
    """Contexts of a finite world as prompts of tokens, and the policies that answer them.

    Parameters
    ----------
    prompts
        Token ids of each context; they lie below `n_words`.
    sizes
        Values of each slot.
    gold
        Gold reward of every output, (n_contexts, n_outputs).
    n_words
        Tokens of the prompts' vocabulary.
    """

    def __init__(
        self, prompts: Sequence[list[int]], sizes: Sequence[int], gold: Float, n_words: int
    ) -> None:
        self.prompts = list(prompts)
        self.sizes = tuple(sizes)
        self.gold: Float = gold
        # Each value of each slot is a token of its own, after those of the prompts.
        self.first_token = np.cumsum([n_words, *self.sizes[:-1]])  # (n_slots,)
        self.vocabulary = n_words + sum(self.sizes)

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """`n` contexts (positions in `prompts`) and an output of the initial policy for each."""

    @cached_property
    def allowed(self) -> torch.Tensor:
        """The grammar, (n_slots, vocabulary) bool: position s holds a value of slot s."""
        allowed = torch.zeros((len(self.sizes), self.vocabulary), dtype=torch.bool)
        for slot, (first, size) in enumerate(zip(self.first_token, self.sizes, strict=True)):
            allowed[slot, first : first + size] = True
        return allowed

    def fresh_policy(self, seed: int, *, layers: int = 2, width: int = 32) -> CausalPolicy:
        """A small GPT-2 with weights drawn from `seed`."""
        return CausalPolicy(
            _gpt2(self.vocabulary, len(self.prompts[0]) + len(self.sizes), layers, width, seed),
            pad_id=0,
            eos_id=None,
            max_new_tokens=len(self.sizes),
            allowed=self.allowed,
        )

    def pretrained_policy(self, seed: int, out: Path, *, steps: int = 200) -> CausalPolicy:
        """A policy that answers as the world's initial policy does, learnt from 20,000 replies.

        About 0.01 nats per sequence remain between the two in the clinic. The same call takes it
        up from `out`.
        """
        policy = self.fresh_policy(seed)
        positions, outputs = self.draw(20_000, np.random.default_rng(seed))
        train_sft(
            policy,
            [self.prompts[position] for position in positions],
            self.output_tokens(outputs),
            SftConfig(steps=steps, batch=256, learning_rate=3e-3, seed=seed),
            out,
        )
        return policy

    def output_tokens(self, outputs: Integers) -> list[list[int]]:
        """Outputs (indices) as tokens."""
        digits = np.stack(np.unravel_index(outputs, self.sizes), axis=1)
        rows: list[list[int]] = (digits + self.first_token).tolist()
        return rows

    def output_indices(self, tokens: Sequence[Sequence[int]]) -> Integers:
        """Tokens of outputs as indices, the inverse of `output_tokens`, (n,)."""
        digits = np.asarray(tokens, dtype=np.int64) - self.first_token
        return np.asarray(np.ravel_multi_index(tuple(digits.T), self.sizes), dtype=np.int64)

    @torch.inference_mode()
    def log_probs(self, policy: CausalPolicy) -> Float:
        """Log-probability of every output of every context, (n_contexts, n_outputs), nats.

        Prefixes that outputs share are computed once: a context costs one token for each of its
        prefixes instead of one for each slot of each output.
        """
        at_once = max(1, _ROWS // (int(np.prod(self.sizes)) // self.sizes[-1]))
        parts = [
            self._log_probs(policy, self.prompts[start : start + at_once])
            for start in range(0, len(self.prompts), at_once)
        ]
        return np.concatenate(parts)

    def _log_probs(self, policy: CausalPolicy, prompts: Sequence[Sequence[int]]) -> Float:
        inputs = torch.tensor(prompts, device=policy.device)
        total = torch.zeros(len(prompts), dtype=torch.float64, device=policy.device)
        cache: Any = None
        before: torch.Tensor | None = None  # the tokens of the slot before
        for first, size in zip(self.first_token.tolist(), self.sizes, strict=True):
            if before is not None:
                # Every prefix becomes one for each of them, side by side: the order of the world.
                cache.batch_repeat_interleave(len(before))
                inputs = before.repeat(len(inputs))[:, None]
            out = policy.model(input_ids=inputs, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits = out.logits[:, -1, first : first + size].double() / policy.temperature
            total = (total[:, None] + torch.log_softmax(logits, dim=1)).reshape(-1)
            before = torch.arange(first, first + size, device=policy.device)
        return total.reshape(len(prompts), -1).cpu().numpy()

    def exact(self, log_policy: Float, log_reference: Float, proxy: Float) -> Exact:
        """KL and expected rewards of enumerated policies; tables (n_contexts, n_outputs)."""
        probability = np.exp(log_policy)
        n = len(self.prompts)
        return Exact(
            kl=float((probability * (log_policy - log_reference)).sum()) / n,
            proxy=float((probability * proxy).sum()) / n,
            gold=float((probability * self.gold).sum()) / n,
        )

    def measure(self, log_reference: Float, proxy: Float) -> Measure:
        """The exact quantities of a policy, as a training run logs them."""
        return lambda policy: self.exact(self.log_probs(policy), log_reference, proxy).to_dict()

    def tilted(self, log_reference: Float, proxy: Float, beta: float) -> Float:
        """Log-probabilities of the exact optimum of ``E[proxy] - beta KL``, one row a context."""
        return np.stack([tilt(p, r, beta) for p, r in zip(log_reference, proxy, strict=True)])

    def tilted_at(self, log_reference: Float, proxy: Float, kl: float) -> tuple[float, Exact]:
        """The tilt whose KL is `kl` nats: its beta, and what it gets. No policy gets more there.

        Raises
        ------
        UsageError
            If no tilt goes that far: `kl` is not between 0 and the KL of always taking the best.
        """
        low, high = 1e-3, 1e4  # beta; KL falls as it grows
        reached = [
            self.exact(self.tilted(log_reference, proxy, b), log_reference, proxy).kl
            for b in (low, high)
        ]
        if not reached[1] <= kl <= reached[0]:
            raise UsageError(f"no tilt of this reward has a KL of {kl} nats")
        for _ in range(60):
            beta = float(np.sqrt(low * high))
            exact = self.exact(self.tilted(log_reference, proxy, beta), log_reference, proxy)
            low, high = (beta, high) if exact.kl > kl else (low, beta)
        return beta, exact


class TableReward:
    """A proxy reward by table, with the gold reward beside it: what a policy is trained against.

    Parameters
    ----------
    setting
        The contexts and outputs.
    proxy
        (n_contexts, n_outputs), or (n_members, n_contexts, n_outputs): then the proxy is their
        aggregate, and their standard deviation is the disagreement.
    aggregate, uncertainty_weight
        See `rmaudit.rewards.ensemble.aggregate_rewards`.

    Attributes
    ----------
    table : ndarray, (n_contexts, n_outputs)
        The proxy of every output.
    """

    def __init__(
        self,
        setting: TokenSetting,
        proxy: Float,
        *,
        aggregate: Aggregate = "mean",
        uncertainty_weight: float = 0.5,
    ) -> None:
        self.setting = setting
        self.members = proxy if proxy.ndim == 3 else proxy[None]
        flat = self.members.reshape(len(self.members), -1)
        table = aggregate_rewards(flat, aggregate, uncertainty_weight)
        self.table: Float = table.reshape(self.members.shape[1:])

    def __call__(self, prompts: Integers, outputs: Sequence[Sequence[int]]) -> Rewards:
        """Rewards of outputs (tokens) to prompts (positions in `setting.prompts`)."""
        indices = self.setting.output_indices(outputs)
        members = self.members[:, prompts, indices]  # (n_members, n)
        return Rewards(
            proxy=self.table[prompts, indices],
            gold=self.setting.gold[prompts, indices],
            disagreement=members.std(axis=0) if len(members) > 1 else None,
        )


def _gpt2(vocabulary: int, positions: int, layers: int, width: int, seed: int) -> GPT2LMHeadModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=max(1, width // 16),
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT2LMHeadModel(config)
