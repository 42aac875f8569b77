"""Rewards of any Hugging Face sequence-classification model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint
from rmaudit.rewards.local.checkpoint_files import Permissions, first_line
from rmaudit.rewards.local.description import describe, notices
from rmaudit.rewards.local.devices import torch_device as torch_device
from rmaudit.rewards.local.encoding import TextEncoder, maximum_length
from rmaudit.rewards.local.lengths import LengthRule
from rmaudit.rewards.local.own_score import OwnScoreReward, refuse_unused, scores_itself
from rmaudit.rewards.local.placement import WHOLE, Placement
from rmaudit.rewards.local.placement import Dtype as Dtype
from rmaudit.rewards.local.placement import torch_dtype as torch_dtype
from rmaudit.rewards.local.pooling import is_decoder, pad, pads_left, position_offset, reward_heads
from rmaudit.rewards.local.prefix import pack, shared_heads, why_not
from rmaudit.rewards.local.readout import readout
from rmaudit.rewards.local.recipe import USUAL, Asked, declared, resolve
from rmaudit.rewards.local.screen import screen
from rmaudit.rewards.local.trial import (
    PADDING_TOLERANCE,
    Batching,
    Pool,
    passing_over_nothing,
    try_reading,
)

_OF_SCORES = ("device", "asked", "token_budget")  # options of models that score themselves
_SHARING_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
_log = logging.getLogger("rmaudit")


class TransformersReward(RewardModel):
    """A sequence-classification model: one of its heads is the reward.

    Parameters
    ----------
    checkpoint
        Model and tokenizer.
    name
        As the report shows it.
    head
        Which head, from 0; may be left out where there is one.
    head_weights
        In its place, how much each head counts: numbers, or ``label=number``.
    device
        As in `load_reward_model`.
    asked, max_length
        How texts are made and where they are cut: see `TextEncoder`. The maximum length is never
        more than the model's or the tokenizer's own.
    pool
        "model": the token that the model's own forward pass reads; "last": a text's last token;
        None: "model", or what the folder declares.
    token_budget
        Padded tokens per batch, at most; None: what suits the kind of device.

    Notes
    -----
    A reward is what ``model(**inputs).logits`` gives for the text alone: see
    `rmaudit.rewards.local.trial`. Texts are padded on the right. Where a first trial shows that
    padding changes an architecture's rewards (XLNet, FNet), only texts of equal length share a
    batch. Decoders that can (see `rmaudit.rewards.local.prefix`) encode the common start of a
    batch's texts once, without padding; rewards differ from those of one text alone by rounding.

    Raises
    ------
    UsageError
        If the head, device or number format does not exist, or an option would have no effect.
    RewardModelError
        If the model fails on a first trial.
    """

    kind = "transformers"

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        *,
        head: int | None = None,
        head_weights: Sequence[str] = (),
        device: str = "auto",
        asked: Asked = USUAL,
        max_length: int | None = None,
        pool: Pool | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.name = name
        self.device = torch_device(device)
        self.dtype = checkpoint.dtype
        self.model = checkpoint.on(self.device)
        self._base = checkpoint.base
        self.device = next(self.model.parameters()).device
        self.tokenizer = checkpoint.tokenizer
        self._adapter = checkpoint.adapter
        told = declared(checkpoint.folders[0])
        recipe = resolve(asked, self.tokenizer, told, decoder=is_decoder(self.model))
        limit = maximum_length(self.tokenizer, positions(self.model), max_length)
        self.encoder = TextEncoder(self.tokenizer, recipe=recipe, max_length=limit)
        self._pad_id = padding_id(self.tokenizer)
        self._lengths = LengthRule.of(self.model)
        pool = pool or ("last" if told.pool == "last" and is_decoder(self.model) else None)
        with torch.inference_mode():
            self.trial = try_reading(self.model, self.encoder, self.dtype, pool, name)
        self.reading = self.trial.reading
        self.heads = int(self.trial.own.shape[1])
        self.readout = readout(self.model.config, self.heads, name, head=head, weights=head_weights)
        self.signal = self.readout.signal
        facts = (recipe.facts, self.readout.weights, str(self.dtype), limit, self.reading)
        self.fingerprint = checkpoint.fingerprint(facts)
        if self.device.type != "cpu":
            self.max_batch, self.token_budget = 256, 16384
        self.token_budget = token_budget or self.token_budget
        self._batching = self._try_batching()
        self.pads_left = self._batching == "padded" and self._left_is_harmless()
        self._unshared = (
            checkpoint.unshared or why_not(self.model, self.reading) or self._sharing_is_harmful()
        )
        self.shares_prefixes = self._unshared is None
        self.notices = notices(self)
        for notice in self.notices:
            _log.warning("%s: %s", name, notice)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids of each text; truncation drops the oldest prompt tokens."""
        return self.encoder.encode(texts)

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); padded on the right unless told otherwise."""
        if self.shares_prefixes and len(batch) > 1 and not pad_left:
            rewards = self._shared_rewards([each.payload for each in batch])
            for row in np.flatnonzero(~np.isfinite(rewards)).tolist():  # others may be sound
                rewards[row] = self._rewards([batch[row]])[0]
            return rewards
        rewards = np.empty(len(batch))
        for rows in self._calls(batch):
            rewards[rows] = self._rewards([batch[row] for row in rows], pad_left=pad_left)
        return rewards

    def head_values(self, tokens: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        """All heads as this model reads them, (n, n_heads); tokens and mask on its device."""
        if self.reading.rule == "own" and self.reading.pad_id == -1:
            with passing_over_nothing(self.model.config):
                return reward_heads(self.model, tokens, mask, self.reading, types)
        return reward_heads(self.model, tokens, mask, self.reading, types)

    def describe(self) -> dict[str, Any]:
        """Architecture, size, number format, device, length, texts, head, pooling and padding."""
        return describe(self)

    def quicker(self, batch: Sequence[Encoded], tokens: int) -> str | None:
        """See `RewardModel.quicker`: tried where the processor has bfloat16."""
        from rmaudit.rewards.local.quicker import quicker

        return quicker(self, batch, tokens)

    def screen(self) -> list[tuple[str, str]]:
        """What `rmaudit doctor --model` shows of it, as (what, found)."""
        return screen(self, self.signal)

    @property
    def padding(self) -> int:
        """The token that texts are padded with."""
        return self._pad_id

    @property
    def adapter(self) -> bool:
        """Whether the weights are an adapter on a base."""
        return self._adapter

    @property
    def batching(self) -> Batching:
        """Which texts share a call of the model."""
        return self._batching

    @property
    def unshared(self) -> str | None:
        """Why a prompt is encoded with each of its outputs; None where it is not."""
        return self._unshared

    def _calls(self, batch: Sequence[Encoded]) -> list[list[int]]:
        """Rows of a batch that go through the model together."""
        if self._batching == "alone":
            return [[row] for row in range(len(batch))]
        padded = self._batching == "padded"
        calls: dict[int, list[int]] = {}
        for row, each in enumerate(batch):
            free = padded and not self._lengths.decides(each.tokens)
            calls.setdefault(0 if free else each.tokens, []).append(row)
        return list(calls.values())

    @torch.inference_mode()
    def _rewards(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        if self._lengths.decides(batch[0].tokens):
            self._lengths.reset(self.model)
        tokens, mask = pad([each.payload for each in batch], self._pad_id, left=pad_left)
        types = self.token_types(batch, tokens.shape[1], left=pad_left)
        values = self.head_values(tokens.to(self.device), mask.to(self.device), types)
        rewards: NDArray[np.float64] = self.readout.of(values.float()).cpu().double().numpy()
        return rewards

    def token_types(
        self, batch: Sequence[Encoded], longest: int, *, left: bool = False
    ) -> Tensor | None:
        """Token types, (n, longest), where the model is told of two segments."""
        given = [self.encoder.types(each) for each in batch]
        if any(each is None for each in given):
            return None
        return pad([each or [] for each in given], 0, left=left)[0].to(self.device)

    @torch.inference_mode()
    def _shared_rewards(self, sequences: Sequence[list[int]]) -> NDArray[np.float64]:
        packed = pack(sequences, self.device, self.dtype, self.reading)
        values = shared_heads(self.model, packed)
        rewards: NDArray[np.float64] = self.readout.of(values.float()).cpu().double().numpy()
        return rewards

    def _sharing_is_harmful(self) -> str | None:
        """A first trial on texts of which some share a prompt: what speaks against it, if any."""
        batch = self.trial.encoded[:4]
        alone = self.readout.of(self.trial.used[:4]).double().cpu().numpy()
        try:
            shared = self._shared_rewards([each.payload for each in batch])
        except Exception as error:
            return f"a first trial failed: {first_line(error)}"
        tolerance = _SHARING_TOLERANCE[self.dtype] * (1 + np.abs(alone))
        harmless = (np.abs(alone - shared) <= tolerance) | ~np.isfinite(alone)
        return None if harmless.all() else "a first trial gave other rewards"

    def _try_batching(self) -> Batching:
        """Which texts may share a call without a change of their rewards."""
        if self.reading.rule == "own" and self.reading.pad_id == -1:
            return "alone"
        if self._harmless(self.trial.encoded):
            return "padded"
        twice = [self.trial.encoded[1], self.trial.encoded[1]]
        return "equal lengths" if self._harmless(twice) else "alone"

    def _left_is_harmless(self) -> bool:
        return pads_left(self.model, self.reading) and self._harmless(
            self.trial.encoded, pad_left=True
        )

    def _harmless(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> bool:
        rows = [self.trial.encoded.index(each) for each in batch]
        alone = self.readout.of(self.trial.used[rows]).double().cpu().numpy()
        batch = [each for each in batch if not self._lengths.decides(each.tokens)]
        alone = alone[: len(batch)]
        if not batch:
            return False
        try:
            together = self._rewards(batch, pad_left=pad_left)
        except Exception:  # some refuse texts of different shape, or more than one
            return False
        tolerance = PADDING_TOLERANCE[self.dtype] * (1 + np.abs(alone))
        near = np.abs(alone - together) <= tolerance
        return bool((near | ~np.isfinite(alone)).all())


def load_transformers(
    folder: Path,
    name: str,
    permissions: Permissions,
    *,
    dtype: Dtype = "auto",
    placement: Placement = WHOLE,
    **options: Any,
) -> RewardModel:
    """The reward model in a folder; options as `TransformersReward` takes them."""
    device = torch_device(options.get("device", "auto"))  # before a long load
    number = torch_dtype(dtype, device, folder)
    checkpoint = load_checkpoint(folder, number, permissions, device=device, placement=placement)
    asked: Asked = options.get("asked", USUAL)
    if scores_itself(checkpoint.model) and replace(asked, date=None) == USUAL:
        how = {key: options.pop(key) for key in _OF_SCORES if key in options}
        refuse_unused(name, **options)
        return OwnScoreReward(checkpoint, name, **how)
    return TransformersReward(checkpoint, name, **options)


def positions(model: Any) -> int | None:
    """How many tokens the model has positions for; None where it does not say."""
    config = model.config.get_text_config()
    positions = getattr(config, "max_position_embeddings", None)
    if not isinstance(positions, int) or positions <= 0:
        return None
    return positions - position_offset(model)


def padding_id(tokenizer: Any) -> int:
    """Padding is masked, so any token will do where there is none for it."""
    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    return next((id_ for id_ in ids if id_ is not None), 0)
