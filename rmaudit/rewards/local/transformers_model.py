"""Rewards of any Hugging Face sequence-classification model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint
from rmaudit.rewards.local.checkpoint_files import Permissions, fingerprint, first_line
from rmaudit.rewards.local.encoding import TextEncoder, maximum_length
from rmaudit.rewards.local.pooling import is_decoder, pad, pads_left, position_offset, reward_heads
from rmaudit.rewards.local.prefix import pack, shared_heads, why_not
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT

Dtype = Literal["auto", "float32", "bfloat16"]
_DTYPES = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
# How far padding may move a reward before texts are batched without it: relative to 1 + |reward|.
_PADDING_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1}
_SHARING_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}


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
    device, dtype
        As in `load_reward_model`.
    format, max_length
        How texts are made and where they are cut: see `TextEncoder`. The maximum length is never
        more than the model's or the tokenizer's own.
    token_budget
        Padded tokens a batch, at most; None: what suits the kind of device.

    Notes
    -----
    Texts are padded on the right. Where a first trial shows that padding changes an
    architecture's rewards (XLNet, FNet), only texts of equal length share a batch. Decoders that
    can (see `rmaudit.rewards.local.prefix`) encode the common start of a batch's texts once,
    without padding; rewards differ from those of one text alone by rounding only.

    Raises
    ------
    UsageError
        If the head, device or number format does not exist.
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
        device: str = "auto",
        dtype: Dtype = "auto",
        format: str = DEFAULT_FORMAT,
        max_length: int | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.name = name
        self.head = _head(checkpoint.model.config, head, name)
        self.device = torch_device(device)
        self.dtype = torch_dtype(dtype)
        self.model = checkpoint.model.to(self.device)
        self.tokenizer = checkpoint.tokenizer
        self._adapter = checkpoint.adapter
        limit = maximum_length(self.tokenizer, positions(self.model), max_length)
        self.encoder = TextEncoder(self.tokenizer, format=format, max_length=limit)
        facts = (self.encoder.recipe, self.head, str(self.dtype), limit)
        self.fingerprint = fingerprint(checkpoint.folders, facts)
        self._pad_id = padding_id(self.tokenizer)
        if self.model.config.pad_token_id is None:  # some models refuse batches without one
            self.model.config.pad_token_id = self._pad_id
        if self.device.type != "cpu":
            self.max_batch, self.token_budget = 256, 16384
        self.token_budget = token_budget or self.token_budget
        self._pads = self._padding_is_harmless()
        self.pads_left = self._pads and pads_left(self.model)
        self._unshared = why_not(self.model) or self._sharing_is_harmful()
        self.shares_prefixes = self._unshared is None

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids of each text; truncation drops the oldest prompt tokens."""
        return self.encoder.encode(texts)

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); padded on the right unless told otherwise."""
        if self.shares_prefixes and len(batch) > 1 and not pad_left:
            rewards = self._shared_rewards([each.payload for each in batch])
            for row in np.flatnonzero(~np.isfinite(rewards)).tolist():  # others may be sound
                rewards[row] = self._rewards([batch[row].payload])[0]
            return rewards
        if self._pads:
            return self._rewards([each.payload for each in batch], pad_left=pad_left)
        rewards = np.empty(len(batch))
        lengths = np.array([len(each.payload) for each in batch])
        for length in np.unique(lengths):
            rows = np.flatnonzero(lengths == length)
            rewards[rows] = self._rewards([batch[row].payload for row in rows.tolist()])
        return rewards

    def describe(self) -> dict[str, Any]:
        """Architecture, size, number format, device, length, texts, head, pooling and padding."""
        config = self.model.config
        probe = self.encode([Text("prompt", "output")])[0].payload
        decoder = is_decoder(self.model)
        return {
            "architecture": type(self.model).__name__,
            "adapter": self._adapter,
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "max_length": self.encoder.max_length,
            "text": "chat template" if self.tokenizer.chat_template else self.encoder.recipe,
            "head": f"{self.head} of {config.num_labels}",
            "pooled": "last token" if decoder else "the architecture's own",
            "last_token": self.tokenizer.convert_ids_to_tokens(probe[-1]),
            "ends_in_padding_token": decoder and probe[-1] == config.pad_token_id,
            "padding": "right" if self._pads else "none: it would change this model's rewards",
            "prompt_encoded": "once for all its outputs"
            if self.shares_prefixes
            else f"with each output ({self._unshared})",
        }

    @torch.inference_mode()
    def _rewards(
        self, sequences: Sequence[Sequence[int]], *, pad_left: bool = False
    ) -> NDArray[np.float64]:
        tokens, mask = pad(sequences, self._pad_id, left=pad_left)
        values = reward_heads(self.model, tokens.to(self.device), mask.to(self.device))
        rewards: NDArray[np.float64] = values[:, self.head].float().cpu().double().numpy()
        return rewards

    @torch.inference_mode()
    def _shared_rewards(self, sequences: Sequence[list[int]]) -> NDArray[np.float64]:
        values = shared_heads(self.model, pack(sequences, self.device, self.dtype))
        rewards: NDArray[np.float64] = values[:, self.head].float().cpu().double().numpy()
        return rewards

    def _sharing_is_harmful(self) -> str | None:
        """A first trial on three texts, two of one prompt: what speaks against sharing, if any."""
        prompt = "a prompt of some words that both of its outputs share"
        texts = [Text(prompt, "b"), Text("another", "a"), Text(prompt, "a longer output")]
        sequences = [each.payload for each in self.encode(texts)]
        alone = np.array([self._rewards([ids])[0] for ids in sequences])
        try:
            shared = self._shared_rewards(sequences)
        except Exception as error:
            return f"a first trial failed: {first_line(error)}"
        tolerance = _SHARING_TOLERANCE[self.dtype] * (1 + np.abs(alone))
        harmless = (np.abs(alone - shared) <= tolerance) | ~np.isfinite(alone)
        return None if harmless.all() else "a first trial gave other rewards"

    def _padding_is_harmless(self) -> bool:
        texts = [Text("a", "b"), Text("a longer prompt", "with a somewhat longer output")]
        short, long = (each.payload for each in self.encode(texts))
        try:
            alone = self._rewards([short])[0]
        except Exception as error:
            raise RewardModelError(
                f"{self.name}: the model fails on a first text: {first_line(error)}"
            ) from error
        try:
            padded = self._rewards([short, long])[0]
        except Exception:  # some refuse texts of different shape in a batch
            return False
        tolerance = _PADDING_TOLERANCE[self.dtype] * (1 + abs(alone))
        return bool(abs(alone - padded) <= tolerance or not np.isfinite(alone))


def load_transformers(
    folder: Path,
    name: str,
    permissions: Permissions,
    *,
    dtype: Dtype = "auto",
    **options: Any,
) -> TransformersReward:
    """The reward model in a folder; options as `TransformersReward` takes them."""
    torch_device(options.get("device", "auto"))  # before a long load
    checkpoint = load_checkpoint(folder, torch_dtype(dtype), permissions)
    return TransformersReward(checkpoint, name, dtype=dtype, **options)


def torch_dtype(name: str) -> torch.dtype:
    """The number format of a name; "auto" is float32, which is exact, on every device.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    if name not in _DTYPES:
        raise UsageError(f"dtype {name!r}: it must be one of {', '.join(_DTYPES)}")
    return _DTYPES[name]


def torch_device(name: str) -> torch.device:
    """The device of a name; "auto" is an accelerator where there is one.

    Raises
    ------
    UsageError
        If this machine has no such device.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in present.items() if there), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r}: say auto, cpu, cuda, cuda:N or mps") from error
    there = device.type == "cpu" or present.get(device.type, False)
    if not there or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device {name!r} is not on this machine; say --device cpu")
    return device


def _head(config: Any, head: int | None, name: str) -> int:
    heads = int(config.num_labels)
    if head is None and heads == 1:
        return 0
    names = [str(config.id2label.get(i, i)) for i in range(heads)]
    labels = ", ".join(f"{i} = {name}" for i, name in enumerate(names))
    called_reward = [i for i, name in enumerate(names) if name.split(" (")[0] == "reward"]
    if head is None and len(called_reward) == 1:
        return called_reward[0]
    if head is None:
        raise UsageError(
            f"{name}: the model has {heads} heads ({labels}); say which one is the reward with "
            "--head N (head=N)"
        )
    if not 0 <= head < heads:
        raise UsageError(f"{name}: there is no head {head}; the model has {heads} ({labels})")
    return head


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
