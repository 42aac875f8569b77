"""Prefix sharing: texts that start alike go through a decoder with their start encoded once.

All texts of a batch are packed into one row without padding. Texts with a long common start form a
group: the start once, then a branch a text, whose positions go on from the start's end. A token
attends to its own branch and to the start, so every hidden state is the one that its text alone
would have had. The cost is that of the distinct tokens.

What is shared is the longest common start of the token ids, not of the characters: a tokenizer may
join the last characters of a prompt with the first of an output, a template may trim, and
truncation moves the start. The method is that of packed, tree-shaped attention (SpecInfer,
arXiv 2305.09781, Section 4.2; Hydragen, arXiv 2402.05099, for many outputs of one prompt).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmaudit.rewards.local.lengths import LengthRule
from rmaudit.rewards.local.pooling import Reading, is_decoder, place

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma", "mistral", "gpt2")
_ATTENTION = "rmaudit_prefix"
_LAST = Reading("last")
# A shorter common start (the beginning of sequence, a template's first words) saves less than the
# smaller calls of attention cost.
_SHORTEST_START = 16


@dataclass(frozen=True, slots=True)
class Branches:
    """Neighbouring branches that attend in one call: `mask`, (n, start + n), is added."""

    begin: int
    end: int
    mask: Tensor


@dataclass(frozen=True, slots=True)
class Group:
    """Texts with a common start; a text that shares nothing is a start without branches."""

    begin: int  # place of the start's first token in the row
    end: int
    branches: tuple[Branches, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as one row."""

    tokens: Tensor  # (1, n_tokens)
    positions: Tensor  # (1, n_tokens)
    read: Tensor  # (n_texts,) place of the token that each text's head is read at
    groups: tuple[Group, ...]


def why_not(model: Any, reading: Reading = _LAST) -> str | None:
    """Why the texts of a prompt cannot share its encoding; None where they can.

    Parameters
    ----------
    model
        A sequence-classification model of transformers.
    reading
        How its heads are read.
    """
    config = model.config
    if config.model_type not in ARCHITECTURES or not is_decoder(model):
        return f"not for {config.model_type}"
    if reading.rule == "own":
        return "its rewards are those of a forward pass of its own"
    sliding = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if sliding or getattr(config, "sliding_window", None) is not None:
        return "the model's attention has a sliding window"
    if LengthRule.of(model).depends:
        return "the model's position embeddings depend on the length of the text"
    return None


def common_start(a: Sequence[int], b: Sequence[int]) -> int:
    """How many token ids two texts have in common at their start; less than either's length.

    Each text keeps a token of its own, at which its reward is read.
    """
    n = min(len(a), len(b)) - 1
    if n <= 0:
        return 0
    differ = np.asarray(a[:n]) != np.asarray(b[:n])
    return int(differ.argmax()) if differ.any() else n


def starts(sequences: Sequence[list[int]]) -> list[tuple[list[int], int]]:
    """Which texts share how long a start, such that the fewest tokens remain.

    Parameters
    ----------
    sequences
        Token ids of each text.

    Returns
    -------
    list of (texts, length)
        Every text is in one group. Length 0: a text on its own.

    Notes
    -----
    In sorted order the common start of a run of texts is the smallest one among neighbours, and a
    run is best cut there or not at all: the exact optimum for starts of one level.
    """
    order = sorted(range(len(sequences)), key=lambda text: sequences[text])
    near = [common_start(sequences[a], sequences[b]) for a, b in pairwise(order)]
    near = [length if length >= _SHORTEST_START else 0 for length in near]
    return [(order[a : b + 1], length) for a, b, length in _cut(near, 0, len(order) - 1)[1]]


def _cut(near: Sequence[int], first: int, last: int) -> tuple[int, list[tuple[int, int, int]]]:
    """Tokens saved by the best groups of the texts first to last, and (first, last, start)."""
    if first == last:
        return 0, [(first, last, 0)]
    place = min(range(first, last), key=near.__getitem__)
    together = (last - first) * near[place]
    left, left_groups = _cut(near, first, place)
    right, right_groups = _cut(near, place + 1, last)
    if together > left + right:
        return together, [(first, last, near[place])]
    return left + right, left_groups + right_groups


def pack(
    sequences: Sequence[list[int]],
    device: torch.device,
    dtype: torch.dtype,
    reading: Reading = _LAST,
) -> Packed:
    """Texts as one row, starts shared.

    Parameters
    ----------
    sequences
        Token ids of each text, none empty.
    device, dtype
        Of the model.
    reading
        Which token of a text its head is read at.
    """
    tokens: list[int] = []
    positions: list[int] = []
    read = [0] * len(sequences)
    groups = []
    for texts, length in starts(sequences):
        begin = len(tokens)
        length = length or len(sequences[texts[0]])
        tokens += sequences[texts[0]][:length]
        positions += range(length)
        ends = [len(tokens)]
        for text in texts if len(texts) > 1 else ():
            tokens += sequences[text][length:]
            positions += range(length, len(sequences[text]))
            ends.append(len(tokens))
        branches_begin = ends[:-1] or [begin + length]
        for text, branch in zip(texts, branches_begin, strict=True):
            at = place(sequences[text], reading)
            read[text] = begin + at if at < length else branch + at - length
        groups.append(Group(begin, ends[0], _branches(ends, length, device, dtype)))
    return Packed(
        torch.tensor([tokens], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(read, device=device),
        tuple(groups),
    )


def _branches(
    ends: Sequence[int], length: int, device: torch.device, dtype: torch.dtype
) -> tuple[Branches, ...]:
    """Branches by calls of attention, from their ends in the row (the first is the start's).

    Branches in one call cost the products between them, calls of one branch a copy of the start:
    so a call takes up to half as many tokens as the start has.
    """
    calls = []
    first = 0
    while first < len(ends) - 1:
        past = first + 1
        while past < len(ends) - 1 and ends[past + 1] - ends[first] <= length // 2:
            past += 1
        sizes = np.diff(ends[first : past + 1])
        branch = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)).to(device)
        own = (branch[:, None] == branch[None, :]).tril()  # (n, n)
        mask = torch.zeros((len(own), length + len(own)), dtype=dtype, device=device)
        mask[:, length:].masked_fill_(~own, float("-inf"))
        calls.append(Branches(ends[first], ends[past], mask))
        first = past
    return tuple(calls)


def shared_heads(model: Any, packed: Packed) -> Tensor:
    """Values of all reward heads, (n_texts, n_heads), of a packed batch."""
    base = getattr(model, model.base_model_prefix)
    with _attending(base.config):
        hidden: Tensor = base(
            input_ids=packed.tokens,
            position_ids=packed.positions,
            use_cache=False,
            groups=packed.groups,
        )[0]
    values: Tensor = model.score(hidden[0, packed.read])
    return values


@contextmanager
def _attending(config: Any) -> Iterator[None]:
    """The model attends by `_attention`; transformers then makes no mask of its own."""
    from transformers import AttentionInterface

    AttentionInterface.register(_ATTENTION, _attention)
    before = config._attn_implementation
    config._attn_implementation = _ATTENTION
    try:
        yield
    finally:
        config._attn_implementation = before


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    groups: Sequence[Group],
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attention of one packed row; called by transformers, (1, heads, n_tokens, width) each."""

    def attend(queries: slice, keys: Tensor, values: Tensor, mask: Tensor | None) -> None:
        out[:, :, queries] = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, queries],
            keys,
            values,
            attn_mask=mask,
            is_causal=mask is None,
            scale=scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )

    out = torch.empty_like(query)
    for group in groups:
        start = slice(group.begin, group.end)
        attend(start, key[:, :, start], value[:, :, start], None)
        for call in group.branches:
            own = slice(call.begin, call.end)
            if call.begin == group.end:  # they lie behind the start already
                both = slice(group.begin, call.end)
                attend(own, key[:, :, both], value[:, :, both], call.mask)
            else:
                keys = torch.cat([key[:, :, start], key[:, :, own]], dim=2)
                values = torch.cat([value[:, :, start], value[:, :, own]], dim=2)
                attend(own, keys, values, call.mask)
    return out.transpose(1, 2), None
