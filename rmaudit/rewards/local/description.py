"""What a transformers reward model says of itself: facts for the report, and what to know first."""

from __future__ import annotations

import itertools
from typing import Any, Protocol

import torch

from rmaudit.rewards.base import Encoded
from rmaudit.rewards.local.encoding import TextEncoder
from rmaudit.rewards.local.pooling import Reading
from rmaudit.rewards.local.readout import Readout
from rmaudit.rewards.local.trial import Batching, Trial

_BATCHES = {
    "padded": "right",
    "equal lengths": "none: it would change this model's rewards",
    "alone": "none: each text goes through the model alone",
}


class Described(Protocol):
    """What is known of a transformers reward model once it is loaded."""

    model: Any
    tokenizer: Any
    encoder: TextEncoder
    reading: Reading
    trial: Trial
    readout: Readout
    device: torch.device
    dtype: torch.dtype
    shares_prefixes: bool
    notices: tuple[str, ...]

    @property
    def adapter(self) -> bool:
        """Whether the weights are an adapter on a base."""

    @property
    def batching(self) -> Batching:
        """Which texts share a call of the model."""

    @property
    def unshared(self) -> str | None:
        """Why a prompt is encoded with each of its outputs."""


def loaded(model: Any, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
    """Architecture, size, number format and device of a model in memory."""
    return {
        "architecture": type(model).__name__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(dtype).removeprefix("torch."),
        "device": str(device),
    }


def describe(reward: Described) -> dict[str, Any]:
    """Architecture, size, number format, device, length, texts, head, pooling and padding."""
    recipe, trial = reward.encoder.recipe, reward.trial
    tokens = trial.encoded[0].payload
    facts = {
        **loaded(reward.model, reward.dtype, reward.device),
        "adapter": reward.adapter,
        "max_length": reward.encoder.max_length,
        "text": recipe.format if recipe.format is not None else recipe.shown,
        "text_from": recipe.source,
        "head": reward.readout.shown.removeprefix("head "),
        "read_from": trial.called,
        "pooled": pooled(reward),
        "last_token": reward.tokenizer.convert_ids_to_tokens(tokens[-1]),
        "ends_in_padding_token": _ends_in_padding(reward, trial.encoded[0]),
        "differs_from_forward": trial.apart,
        "padding": _BATCHES[reward.batching],
        "prompt_encoded": "once for all its outputs"
        if reward.shares_prefixes
        else f"with each output ({reward.unshared})",
    }
    facts |= recipe.day
    if trial.other is not None:
        facts["two_readings"] = _two_readings(reward)
    return facts


def pooled(reward: Described) -> str:
    """Which token's value is the reward."""
    reading = reward.reading
    if reading.rule == "own":
        return "as the model's own forward pass does" if reading.pad_id != -1 else "last token"
    if reading.rule == "last" or reading.pad_id is None or reward.trial.other is None:
        return "last token"
    return "last token that is not the padding token, as transformers does"


def notices(reward: Described) -> tuple[str, ...]:
    """What the user should know before trusting a reward, a sentence each."""
    recipe = reward.encoder.recipe
    said = [] if reward.readout.notice is None else [reward.readout.notice]
    if reward.trial.other is not None:
        said.append(_two_readings(reward))
    if recipe.pair:
        said.append(
            f"texts are encoded as pairs, prompt and response ({recipe.source}); "
            "--format makes one text of them"
        )
    return (*said, *recipe.notices)


def _ends_in_padding(reward: Described, encoded: Encoded) -> bool:
    return reward.trial.other is not None and encoded.payload[-1] in (
        reward.tokenizer.pad_token_id,
        reward.reading.pad_id,
    )


def _two_readings(reward: Described) -> str:
    """Texts end in the padding token: what the two readings give, and which one is taken."""
    trial, readout = reward.trial, reward.readout
    assert trial.other is not None  # nosec B101: asked before
    used, other = (readout.of(values).double().cpu() for values in (trial.used, trial.other))
    apart = (used - other).abs()
    pairs = list(itertools.combinations(range(len(used)), 2))
    turned = sum(bool((used[a] - used[b]) * (other[a] - other[b]) < 0) for a, b in pairs)
    last = "last token" in pooled(reward) and "not the padding" not in pooled(reward)
    taken = "a text's last token" if last else "the last token that does not pad"
    token = reward.tokenizer.convert_ids_to_tokens(trial.encoded[0].payload[-1])
    return (
        f"texts end in {token}, which is also the padding token; transformers' forward pass, and "
        "with it TRL's RewardTrainer, reads the last token before it. On "
        f"{len(used)} trial texts the rewards of the two readings differ by up to "
        f"{float(apart.max()):.3g} (mean {float(apart.mean()):.3g}; the rewards' SD is "
        f"{float(used.std()):.3g}), and {turned} of {len(pairs)} pairs of texts are ordered "
        f"otherwise. Read here: {taken}; --pool model or --pool last decides"
    )
