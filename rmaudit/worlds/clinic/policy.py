"""The clinic with a policy that is a real network and yet can be enumerated.

A small GPT-2 answers 50 contexts, one token a slot, and its logits are masked so that each position
holds a value of its slot. A context then has 6,144 outputs and no others: the probability of every
one of them is known, and with it the exact KL and the exact expected reward that the estimates of
a training log can be held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmaudit.errors import UsageError
from rmaudit.rewards.base import RewardModel, Text
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.reward import Rewards, score
from rmaudit.training.policy.run import Measure
from rmaudit.training.policy.sft import SftConfig, train_sft
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.world import ClinicWorld
from rmaudit.worlds.exact import tilt

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel


N_CONTEXTS = 50
_SIZES = tuple(len(slot.values) for slot in values.SLOTS)  # values of each slot
_ROWS = 4_000  # prefixes a forward pass of the enumeration, at most: bounds the memory


@dataclass(frozen=True, slots=True)
class Exact:
    """What a policy does, by summing over every output of every context (no sampling error)."""

    kl: float  # KL(policy || reference), nats a sequence, mean over contexts
    proxy: float  # expected proxy reward
    gold: float  # expected R*

    def to_dict(self) -> dict[str, float]:
        """With the keys of the training log."""
        return {"kl_exact": self.kl, "proxy_exact": self.proxy, "gold_exact": self.gold}


class ClinicSetting:
    """50 contexts of the clinic as prompts of tokens, and the policies that answer them.

    Attributes
    ----------
    contexts : ndarray, (n_contexts,)
        Indices into the world's contexts, drawn from deployment without replacement by `seed`.
    prompts : list of list of int
        Four tokens each: family, situation, phrasing, tone.
    gold : ndarray, (n_contexts, n_outputs)
        R* of every output.
    """

    def __init__(self, world: ClinicWorld, *, n_contexts: int = N_CONTEXTS, seed: int = 0) -> None:
        if not 1 <= n_contexts <= world.n_contexts:
            raise UsageError(f"the clinic has {world.n_contexts} contexts, not {n_contexts}")
        self.world = world
        rng = np.random.default_rng(seed)
        self.contexts: Integers = np.sort(
            rng.choice(world.n_contexts, n_contexts, replace=False, p=world.deployment_distribution)
        )
        words: dict[Any, int] = {}  # in order of appearance in the world, so the same for any draw
        frame = world.contexts
        named = zip(
            frame["family"], frame["situation"], frame["phrasing"], frame["tone"], strict=True
        )
        every = [
            [
                words.setdefault(word, len(words))
                for word in (family, (family, situation), (family, "phrasing", phrasing), tone)
            ]
            for family, situation, phrasing, tone in named
        ]
        self.prompts = [every[context] for context in self.contexts]
        # Each value of each slot is a token of its own, after those of the prompts.
        self.first_token = np.cumsum([len(words), *_SIZES[:-1]])  # (n_slots,)
        self.vocabulary = len(words) + sum(_SIZES)
        self.gold: Float = np.stack([world.true_reward_table(int(c)) for c in self.contexts])

    @cached_property
    def allowed(self) -> torch.Tensor:
        """The grammar, (n_slots, vocabulary) bool: position s holds a value of slot s."""
        allowed = torch.zeros((len(_SIZES), self.vocabulary), dtype=torch.bool)
        for slot, (first, size) in enumerate(zip(self.first_token, _SIZES, strict=True)):
            allowed[slot, first : first + size] = True
        return allowed

    def fresh_policy(self, seed: int, *, layers: int = 2, width: int = 32) -> CausalPolicy:
        """A small GPT-2 with weights drawn from `seed`."""
        return CausalPolicy(
            _gpt2(self.vocabulary, len(self.prompts[0]) + len(_SIZES), layers, width, seed),
            pad_id=0,
            eos_id=None,
            max_new_tokens=len(_SIZES),
            allowed=self.allowed,
        )

    def pretrained_policy(self, seed: int, out: Path, *, steps: int = 200) -> CausalPolicy:
        """A policy that answers as the world's pi_pre does, learnt from 20,000 of its replies.

        About 0.01 nats a sequence remain between the two. The same call takes it up from `out`.
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

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """`n` contexts (positions in `contexts`) and an output of the world's pi_pre for each."""
        positions = rng.integers(len(self.contexts), size=n)
        outputs = np.empty(n, dtype=np.int64)
        for position in np.unique(positions):
            here = positions == position
            probability = np.exp(self.world.log_policy(int(self.contexts[position])))
            outputs[here] = rng.choice(self.world.n_outputs, int(here.sum()), p=probability)
        return positions, outputs

    def output_tokens(self, outputs: Integers) -> list[list[int]]:
        """Outputs (indices) as tokens."""
        digits = np.stack(np.unravel_index(outputs, _SIZES), axis=1)
        rows: list[list[int]] = (digits + self.first_token).tolist()
        return rows

    def output_indices(self, tokens: Sequence[Sequence[int]]) -> Integers:
        """Tokens of outputs as indices, the inverse of `output_tokens`, (n,)."""
        digits = np.asarray(tokens, dtype=np.int64) - self.first_token
        return np.asarray(np.ravel_multi_index(tuple(digits.T), _SIZES), dtype=np.int64)

    @torch.inference_mode()
    def log_probs(self, policy: CausalPolicy) -> Float:
        """Log-probability of every output of every context, (n_contexts, n_outputs), nats.

        Prefixes that outputs share are computed once: a context costs one token for each of its
        prefixes (6,141) instead of twelve for each of its outputs.
        """
        at_once = max(1, _ROWS // (int(np.prod(_SIZES)) // _SIZES[-1]))
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
        for first, size in zip(self.first_token.tolist(), _SIZES, strict=True):
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
        n = len(self.contexts)
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
            found = self.exact(self.tilted(log_reference, proxy, beta), log_reference, proxy)
            low, high = (beta, high) if found.kl > kl else (low, beta)
        return beta, found

    # -- proxy rewards ---------------------------------------------------------------------------

    def additive_proxy(self) -> Float:
        """What narrow feedback teaches, written down: (n_contexts, n_outputs), in log-odds.

        Every context is paid like a booking, and annotators' shared tastes on top. No weights, no
        chance: for tests and for what must be the same on every machine.
        """
        features = self.world.features
        booking = values.KINDS.index("booking")
        row = np.zeros(self.world.n_outputs)
        for slot in values.SLOTS:
            by_value = [
                values.TRUE_REWARD.get((slot.name, value), (0.0,) * len(values.KINDS))[booking]
                + values.TASTE.get((slot.name, value), 0.0)
                for value in slot.values
            ]
            row += np.array(by_value)[features[slot.name].to_numpy()]
        return np.tile(row, (len(self.contexts), 1))

    def score_all(self, model: RewardModel, *, cache: Path | None = None) -> Float:
        """A reward model's score of every text, (n_members, n_contexts, n_outputs).

        Parameters
        ----------
        model
            A reward model or an ensemble; each member is scored.
        cache
            A .npz file that keeps the scores, by the model's fingerprint; 307,200 texts take a
            small model minutes.
        """
        if cache is not None and cache.is_file():
            stored = np.load(cache)
            same = str(stored["fingerprint"]) == model.fingerprint
            if same and np.array_equal(stored["contexts"], self.contexts):
                return np.asarray(stored["scores"])
        scores = np.stack([self._score(member) for member in model.members])
        if cache is not None:
            np.savez(
                cache,
                scores=scores,
                contexts=self.contexts,
                fingerprint=np.array(model.fingerprint),
            )
        return scores

    def _score(self, model: RewardModel) -> Float:
        rows = []
        for context in self.contexts:
            prompt = str(self.world.contexts["prompt"].iloc[context])
            texts = [
                Text(prompt, self.world.output_text(int(context), output))
                for output in range(self.world.n_outputs)
            ]
            rows.append(score(model, texts))
        return np.stack(rows)


class ClinicReward:
    """A proxy reward by table, with R* as gold beside it: what a policy is trained against.

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
        setting: ClinicSetting,
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
