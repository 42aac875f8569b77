"""The trial at load: does what scores here give what the model's own forward pass gives?

A few texts of several lengths, unpadded, one at a time through ``model(**inputs)``, are the
reference. The quick ways of scoring (the head at one token, padding, batches) are taken where they
give the same, and the model's own forward pass is called where they do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.rewards.local.checkpoint_files import first_line
from rmaudit.rewards.local.encoding import TextEncoder
from rmaudit.rewards.local.pooling import (
    Reading,
    Rule,
    is_decoder,
    named_heads,
    of_tokens,
    own_heads,
    pad,
    place,
    reward_heads,
)

Batching = Literal["padded", "equal lengths", "alone"]
Pool = Literal["model", "last"]

_PROMPT = "How do I bake bread at home without an oven?"
TRIAL_TEXTS = (
    Text("hi", "yes"),
    Text(_PROMPT, "Mix flour and water, then wait."),
    Text(_PROMPT, "Use a pan with a lid on a low flame, and turn the loaf once."),
    Text("Say what you see.", "A cat sat on a mat. " * 12),
    Text("Count.", "one two three four five six seven eight nine ten " * 14),
)
# How far the same inputs may be apart by rounding, relative to 1 + |reward|: the head is applied to
# one token instead of all, so only the last bits differ.
_SAME = {torch.float32: 1e-4, torch.bfloat16: 0.03, torch.float16: 5e-3}
# How far padding may move a reward before texts are batched without it.
PADDING_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


@dataclass(frozen=True)
class Trial:
    """What the trial found.

    Attributes
    ----------
    reading
        How the model's heads are read here.
    own
        What the model's own forward pass gave the trial's texts, (n_texts, n_heads).
    used
        What this reading gave them.
    other
        What the reading that was not taken would have given; None where a text has one reading.
    called
        Which values of the model's output are the heads.
    """

    encoded: tuple[Encoded, ...]
    reading: Reading
    own: Tensor
    used: Tensor
    other: Tensor | None = None
    called: str = "logits"

    @property
    def apart(self) -> float:
        """Largest difference between the reward used and the model's own."""
        return float((self.used - self.own).abs().max())


def try_reading(
    model: Any, encoder: TextEncoder, dtype: torch.dtype, pool: Pool | None, name: str
) -> Trial:
    """Find how a model reads its heads, and how they are read here.

    Parameters
    ----------
    model, encoder, dtype
        The model on its device, what makes its texts, its number format.
    pool
        "model": as its own forward pass does; "last": at the text's last token, whatever it is.
    name
        As messages call the model.

    Raises
    ------
    RewardModelError
        If the model fails on a text.
    UsageError
        If "last" is asked of a model that does not pool one token.
    """
    encoded = tuple(encoder.encode(TRIAL_TEXTS))
    pad_id = padding_read(model.config)
    batches = [
        one_batch(model, encoder, [each]) for each in (*encoded, _padded(encoded[0], pad_id))
    ]
    called, own = _own(model, batches, name)
    quick: dict[Rule, Tensor | None] = {}
    rules: tuple[Rule, Rule] = ("pad", "last")
    for rule in rules:
        reading = Reading(rule, pad_id)
        quick[rule] = _quick(model, batches, reading) if is_decoder(model) else None
    found = next(
        (Reading(rule, pad_id) for rule, v in quick.items() if _same(v, own, dtype)),
        Reading("own"),
    )
    texts = len(encoded)  # the last row was to tell the rules apart
    quick = {rule: None if v is None else v[:texts] for rule, v in quick.items()}
    own, used = own[:texts], quick.get(found.rule)
    trial = Trial(encoded, found, own, own if used is None else used, called=called)
    if found.rule == "own":
        return _own_trial(trial, model, batches[:texts], pool, name, dtype)
    if not any(place(e.payload, Reading("pad", pad_id)) < e.tokens - 1 for e in encoded):
        kept: Rule = "last" if pool == "last" else found.rule  # no text tells the two apart
        return replace(trial, reading=Reading(kept, pad_id))
    wanted: Rule = "last" if pool == "last" else found.rule
    other: Rule = "pad" if wanted == "last" else "last"
    values, others = quick[wanted], quick[other]
    assert values is not None  # nosec B101: is_decoder held
    return replace(trial, reading=Reading(wanted, pad_id), used=values, other=others)


def _own(model: Any, batches: Sequence[dict[str, Tensor]], name: str) -> tuple[str, Tensor]:
    """What the model's own forward pass gives texts, and what its class calls it."""
    try:
        given = [named_heads(model, inputs) for inputs in batches]
        again = named_heads(model, batches[0])[1]
    except RewardModelError:
        raise
    except Exception as error:
        raise RewardModelError(
            f"{name}: the model fails on a first text: {first_line(error)}"
        ) from error
    lengths = [each["input_ids"].shape[1] for each in batches]
    fault = of_tokens(type(model).__name__, [values.shape for _, values in given], lengths)
    if fault is not None:
        raise RewardModelError(fault)
    if not _same(again.float(), given[0][1].float(), given[0][1].dtype):
        raise RewardModelError(
            f"{name}: {type(model).__name__} gives one text another reward each time "
            f"({float(given[0][1][0, 0]):.6g}, then {float(again[0, 0]):.6g}): its forward pass is "
            "random, so no number of it could be repeated"
        )
    return given[0][0], torch.cat([values for _, values in given]).float()


def _own_trial(
    trial: Trial,
    model: Any,
    batches: Sequence[dict[str, Tensor]],
    pool: Pool | None,
    name: str,
    dtype: torch.dtype,
) -> Trial:
    """A model that is called as it is: does it pass over padding tokens, and shall it?"""
    last = None
    if any(padding_read(model.config) in each.payload for each in trial.encoded):
        with passing_over_nothing(model.config), suppress(Exception):
            last = torch.cat([own_heads(model, inputs) for inputs in batches]).float()
    if last is None or _same(last, trial.own, dtype):
        if pool == "last":
            raise UsageError(
                f"{name}: {type(model).__name__} pools a text in its own way: leave out --pool last"
            )
        return trial
    if pool == "last":
        return replace(trial, reading=Reading("own", -1), used=last, other=trial.own)
    return replace(trial, other=last)


@contextmanager
def passing_over_nothing(config: Any) -> Iterator[None]:
    """A forward pass that looks for `pad_token_id` in its texts finds none."""
    text = config.get_text_config()
    before = getattr(text, "pad_token_id", None)
    text.pad_token_id = -1
    try:
        yield
    finally:
        text.pad_token_id = before


def padding_read(config: Any) -> int | None:
    """The token that transformers' pooling passes over."""
    return getattr(config.get_text_config(), "pad_token_id", None)


def _padded(encoded: Encoded, pad_id: int | None) -> Encoded:
    """A text with one padding token more behind it: the rules read it at different tokens."""
    ids = [*encoded.payload, *([] if pad_id is None else [pad_id])]
    return replace(encoded, payload=ids, tokens=len(ids))


def one_batch(model: Any, encoder: TextEncoder, batch: Sequence[Encoded]) -> dict[str, Tensor]:
    """Texts of one length as a model's inputs, on its device."""
    device = next(model.parameters()).device
    tokens, mask = pad([each.payload for each in batch], 0)
    inputs = {"input_ids": tokens.to(device), "attention_mask": mask.to(device)}
    types = [encoder.types(each) for each in batch]
    if all(each is not None for each in types):
        inputs["token_type_ids"] = torch.tensor(types, device=device)
    return inputs


def _quick(model: Any, batches: Sequence[dict[str, Tensor]], reading: Reading) -> Tensor | None:
    """The head at one token; None where the model has no such way."""
    try:
        values = [
            reward_heads(model, b["input_ids"], b["attention_mask"], reading) for b in batches
        ]
    except Exception:  # a class of its own, of whatever form
        return None
    return torch.cat(values).float()


def _same(values: Tensor | None, own: Tensor, dtype: torch.dtype) -> bool:
    if values is None or values.shape != own.shape:
        return False
    known = torch.isfinite(own)
    near = (values - own).abs() <= _SAME.get(dtype, 1e-4) * (1 + own.abs())
    return bool((near | ~known).all())
