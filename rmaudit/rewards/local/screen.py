"""One screen on a reward model: what is read, where, of which text, and how others read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from rmaudit.errors import RmauditError
from rmaudit.rewards.base import Encoded, Signal
from rmaudit.rewards.local.description import Described, pooled
from rmaudit.rewards.local.encoding import TextEncoder
from rmaudit.rewards.local.pooling import own_heads
from rmaudit.rewards.local.recipe import Recipe
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT
from rmaudit.rewards.local.trial import TRIAL_TEXTS, one_batch

_SHOWN = 48  # token ids of the example; the first and the last of more
Rows = list[tuple[str, str]]


class Shown(Protocol):
    """What is known of a reward that is read off whole texts."""

    model: Any
    tokenizer: Any
    dtype: torch.dtype
    max_length: int | None
    signal: Signal


def screen(reward: Described, signal: str) -> Rows:
    """What `rmaudit doctor --model` shows, as (what, found)."""
    encoder = reward.encoder
    recipe, example = encoder.recipe, reward.trial.encoded[0]
    limit = encoder.max_length
    cut = "no limit is known" if limit is None else f"{limit:,} tokens; the oldest of the prompt go"
    batches = {"padded": "padded right", "alone": "one text at a time"}
    rows = [
        ("class", _class(reward.model, adapter=reward.adapter)),
        ("reward", f"{reward.readout.shown}{_called(reward)}, read at: {pooled(reward)}"),
        ("signal", signal),
        ("text", f"{recipe.shown}, from {recipe.source}"),
        ("first, last token", _ends(reward, example)),
        ("truncation", cut),
        ("number format", f"{str(reward.dtype).removeprefix('torch.')} on {reward.device}"),
        ("batches", batches.get(reward.batching, f"of {reward.batching}, not padded")),
        ("example", repr(reward.tokenizer.decode(example.payload))),
        ("token ids", _ids(example.payload)),
        ("forward pass", _own(reward)),
    ]
    if recipe.date is not None:
        rows.append(("date in the text", recipe.date.isoformat()))
    return rows + _readings(reward)


def screen_of_texts(
    reward: Shown,
    rows: Mapping[str, str],
    ids: Sequence[int],
    rewards: NDArray[np.float64],
    alone: NDArray[np.float64],
) -> Rows:
    """The same of a reward that is read off whole texts: of steps, of pairs, of a policy.

    Parameters
    ----------
    reward
        The model.
    rows
        What is its own: "reward", "text", ...
    ids
        Token ids of the example.
    rewards, alone
        Of the trial texts, (n,) each: as this model scores a batch of them, and as the model's own
        forward pass gives each text alone.
    """
    limit, device = reward.max_length, next(reward.model.parameters()).device
    cut = "no limit is known" if limit is None else f"{limit:,} tokens; the oldest of the prompt go"
    apart = float(np.nanmax(np.abs(rewards - alone), initial=0.0))
    first, last = reward.tokenizer.convert_ids_to_tokens([ids[0], ids[-1]])
    return [
        ("class", _class(reward.model)),
        ("signal", reward.signal),
        *rows.items(),
        ("first, last token", f"{first!r}, {last!r}"),
        ("truncation", cut),
        ("number format", f"{str(reward.dtype).removeprefix('torch.')} on {device}"),
        ("example", repr(reward.tokenizer.decode(ids))),
        ("token ids", _ids(ids)),
        ("forward pass", f"{len(alone)} texts alone: {apart:.2g} from model(**inputs) at most"),
    ]


def _called(reward: Described) -> str:
    """What the class calls its values, where it is not the usual."""
    return "" if reward.trial.called == "logits" else f" ({reward.trial.called} of its output)"


def _class(model: Any, *, adapter: bool = False) -> str:
    kind = type(model)
    own = "" if kind.__module__.startswith("transformers.") else ", code of its own"
    size = sum(parameter.numel() for parameter in model.parameters())
    return f"{kind.__name__}{own}{', an adapter on a base' if adapter else ''}, {size:,} parameters"


def _ends(reward: Described, example: Encoded) -> str:
    first, last = reward.tokenizer.convert_ids_to_tokens([example.payload[0], example.payload[-1]])
    recipe = reward.encoder.recipe
    return f"{first!r}, {last!r} (--bos {recipe.bos}, --eos {recipe.eos})"


def _ids(payload: Sequence[int]) -> str:
    if len(payload) <= _SHOWN:
        return " ".join(map(str, payload))
    half = _SHOWN // 2
    shown = " ".join(map(str, payload[:half])), " ".join(map(str, payload[-half:]))
    return f"{shown[0]} ... {shown[1]} ({len(payload)} in all)"


def _own(reward: Described) -> str:
    trial = reward.trial
    said = f"{len(trial.encoded)} texts alone: {trial.apart:.2g} from model(**inputs) at most"
    if trial.other is not None:
        said += f"; the other reading: {float((trial.used - trial.other).abs().max()):.3g}"
    return said


def _readings(reward: Described) -> Rows:
    """How far rewards are from those of texts made as others make them."""
    usual = reward.tokenizer.chat_template
    usual = reward.tokenizer.get_chat_template() if usual else None
    day = reward.encoder.recipe.date
    plain = Recipe(usual, None if usual else DEFAULT_FORMAT, date=day)
    ways = {
        "as transformers": plain,
        "as TRL trains": plain if usual else replace(plain, format="{prompt}{output}", eos="add"),
        "as a cross-encoder": Recipe(None, None, pair=True),
    }
    return [(f"read {name}", _against(reward, recipe)) for name, recipe in ways.items()]


def _against(reward: Described, recipe: Recipe) -> str:
    try:
        encoder = TextEncoder(reward.tokenizer, recipe=recipe, max_length=reward.encoder.max_length)
        encoded = encoder.encode(TRIAL_TEXTS)
        types = [encoder.types(each) for each in encoded]
    except (RmauditError, TypeError) as error:
        return f"not possible: {error}"
    same = [
        a.payload == b.payload and t == reward.encoder.types(b)
        for a, b, t in zip(encoded, reward.trial.encoded, types, strict=True)
    ]
    if all(same):
        return "the same tokens"
    try:
        with torch.inference_mode():
            inputs = [one_batch(reward.model, encoder, [each]) for each in encoded]
            values = torch.cat([own_heads(reward.model, each) for each in inputs]).float()
    except Exception as error:  # whatever a model objects to in texts that are not its own
        return f"other tokens, on which the model fails ({type(error).__name__})"
    apart = float(reward.readout.of(values - reward.trial.used).abs().max())
    return f"other tokens: rewards differ by up to {apart:.3g} on {len(same)} texts"
