"""The implicit reward of a DPO policy: how much more likely it finds an output than before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint
from rmaudit.rewards.local.checkpoint_files import Permissions
from rmaudit.rewards.local.description import loaded
from rmaudit.rewards.local.encoding import TextEncoder, maximum_length
from rmaudit.rewards.local.language_model import log_likelihood
from rmaudit.rewards.local.placement import WHOLE, Placement
from rmaudit.rewards.local.recipe import USUAL, Asked, resolve
from rmaudit.rewards.local.screen import screen_of_texts
from rmaudit.rewards.local.transformers_model import (
    Dtype,
    padding_id,
    positions,
    torch_device,
    torch_dtype,
)
from rmaudit.rewards.local.trial import TRIAL_TEXTS

_log = logging.getLogger("rmaudit")


class ImplicitReward(RewardModel):
    r"""Reward of a policy trained by direct preference optimisation, and its reference.

    .. math:: R(x, y) = \beta\,[\log\pi(y \mid x) - \log\pi_{\mathrm{ref}}(y \mid x)]

    Parameters
    ----------
    policy, reference
        Causal language models of one tokenizer.
    name
        As the report shows it.
    beta
        The policy's own, above 0: the unit of the reward. Rankings do not depend on it.
    device, asked, max_length
        As in `load_reward_model`.

    Notes
    -----
    Summed over the tokens of the output and the end of sequence after it, not averaged. What a
    chat template writes behind the end of sequence is not counted: a policy stops there.
    The reward is defined up to a constant per prompt, so that only rewards of one prompt compare.

    References
    ----------
    Rafailov et al. 2023, arXiv 2305.18290, Section 4, Equation 5.
    """

    kind = "implicit"
    pads_left = False
    max_batch = 32
    token_budget = 2048  # logits of a large vocabulary: 150,000 x 4 bytes a token

    def __init__(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        name: str,
        *,
        beta: float = 0.1,
        device: str = "auto",
        asked: Asked = USUAL,
        max_length: int | None = None,
    ) -> None:
        if not beta > 0:
            raise UsageError(f"beta {beta}: it must be above 0, as it was in training")
        self.name, self.beta = name, float(beta)
        self.device, self.dtype = torch_device(device), policy.dtype
        self._models = [each.on(self.device) for each in (policy, reference)]
        self.model = self._models[0]
        self.tokenizer = policy.tokenizer
        _refuse_other_tokens(policy, reference, name)
        end = self.tokenizer.eos_token_id
        if end is None:
            raise RewardModelError(f"{name}: its tokenizer has no end-of-sequence token; set one")
        self._end: int = end
        limits = [maximum_length(self.tokenizer, positions(m), max_length) for m in self._models]
        limit = min((each for each in limits if each is not None), default=None)
        self.max_length = limit
        # Room for the end of sequence, which the encoder leaves to us.
        room = None if limit is None else limit - 1
        recipe = resolve(asked, self.tokenizer)
        self.encoder = TextEncoder(self.tokenizer, recipe=recipe, max_length=room)
        self._pad_id = padding_id(self.tokenizer)
        self.notices = recipe.notices
        for notice in self.notices:
            _log.warning("%s: %s", name, notice)
        facts = ("implicit", recipe.facts, self.beta, str(self.dtype), limit)
        self.fingerprint = policy.fingerprint((*facts, reference.fingerprint(())))

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids up to the end of sequence, and where the output starts."""
        return [self._ended(each) for each in self.encoder.encode(texts)]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); `pad_left` means nothing here."""
        sequences = [each.payload for each in batch]
        starts = [each.output_start for each in batch]
        policy, reference = (
            np.array(log_likelihood(model, sequences, starts, self._pad_id))
            for model in self._models
        )
        rewards: NDArray[np.float64] = self.beta * (policy - reference)
        return rewards

    def describe(self) -> dict[str, Any]:
        """Architecture, size, beta, number format, device, length and texts."""
        return {
            **loaded(self._models[0], self.dtype, self.device),
            "beta": self.beta,
            "max_length": self.encoder.max_length,
            "text": self.encoder.recipe.format or self.encoder.recipe.shown,
            "summed_over": "output tokens and the end of sequence",
            "comparable": "within a prompt only",
            **self.encoder.recipe.day,
        }

    def screen(self) -> list[tuple[str, str]]:
        """What `rmaudit doctor --model` shows, as (what, found)."""
        encoded, recipe = self.encode(TRIAL_TEXTS), self.encoder.recipe
        first, size = encoded[0], encoded[0].tokens - encoded[0].output_start
        rows = {
            "reward": f"{self.beta:g} times the gain in log-likelihood over the reference, summed "
            "over the response and the end of sequence",
            "text": f"{recipe.shown}, from {recipe.source}",
            "summed over": f"the last {size} of the example's {first.tokens} tokens",
            "batches": "padded right",
        }
        if recipe.date is not None:
            rows["date in the text"] = recipe.date.isoformat()
        alone = np.array([self._alone(each) for each in encoded])
        return screen_of_texts(self, rows, first.payload, self.forward(encoded), alone)

    @torch.inference_mode()
    def _alone(self, each: Encoded) -> float:
        """The reward by the models' own loss of the text alone."""
        tokens = torch.tensor([each.payload], device=self.device)
        labels = tokens.clone()
        labels[:, : max(each.output_start, 1)] = -100  # what transformers leaves out
        count = int((labels[:, 1:] != -100).sum())
        policy, reference = (
            -count * float(model(input_ids=tokens, labels=labels).loss) for model in self._models
        )
        return self.beta * (policy - reference)

    def _ended(self, encoded: Encoded) -> Encoded:
        stop = encoded.output_start + encoded.output_tokens
        ids = [*encoded.payload[:stop], self._end]
        return replace(encoded, payload=ids, tokens=len(ids))


def load_implicit(
    policy: Path,
    reference: Path,
    name: str,
    permissions: Permissions,
    *,
    dtype: Dtype = "auto",
    placement: Placement = WHOLE,
    **options: Any,
) -> ImplicitReward:
    """The implicit reward of two folders; options as `ImplicitReward` takes them.

    Raises
    ------
    UsageError
        If an option does not fit.
    RewardModelError
        If one of them is no causal language model, or their tokens differ.
    """
    torch_device(options.get("device", "auto"))  # before a long load
    device = torch_device(options.get("device", "auto"))
    number = torch_dtype(dtype, device, policy)
    both = [
        load_checkpoint(each, number, permissions, "CausalLM", device=device, placement=placement)
        for each in (policy, reference)
    ]
    return ImplicitReward(both[0], both[1], name, **options)


def _refuse_other_tokens(policy: Checkpoint, reference: Checkpoint, name: str) -> None:
    """Token ids go to both models: they must mean the same to both."""
    if reference.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise RewardModelError(
            f"{name}: policy and reference have different tokenizers; give the model that the "
            "policy was trained from as --reference-model"
        )
