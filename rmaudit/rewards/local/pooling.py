"""The forward pass: padded tokens in, values of the reward heads out.

Decoders carry their reward head, `score`, at one token of the text, so the head is applied to that
token alone. Which token it is differs. transformers reads the last one that is not
`config.pad_token_id`; where the end of sequence also pads, that is not the text's last token. Other
architectures know their own pooling and are called as they are. Which way a model's own forward
pass goes is found by a trial: see `rmaudit.rewards.local.trial`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rmaudit.errors import RewardModelError

# Names that classes give the values of their heads, the usual first.
_VALUES = ("logits", "score", "end_scores", "reward", "rewards", "scores")

Rule = Literal["pad", "last", "own"]
"""Where a head is read: at the last token that does not pad, the last one, by the model itself."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the reward heads of a model are read."""

    rule: Rule
    pad_id: int | None = None  # what the rule "pad" passes over; None: nothing


def default_reading(model: nn.Module) -> Reading:
    """The last token of a decoder; what trained heads of this project read."""
    return Reading("last" if is_decoder(model) else "own")


def is_decoder(model: nn.Module) -> bool:
    """Whether the reward is a linear `score` of the last token's hidden state."""
    score = getattr(model, "score", None)
    score = getattr(score, "original_module", score)  # as PEFT wraps a head that it trained
    config: Any = model.config
    return isinstance(score, nn.Linear) and not config.is_encoder_decoder


def pads_left(model: nn.Module, reading: Reading) -> bool:
    """Whether the architecture can be told where a left-padded text starts."""
    config: Any = model.config
    if reading.rule != "own":
        return True
    return not config.is_encoder_decoder and _takes(model.forward, "position_ids")


def position_offset(model: nn.Module) -> int:
    """Position embeddings that no token can have: RoBERTa's positions begin after its padding."""
    embeddings = _padded_positions(model)
    return 0 if embeddings is None else int(embeddings.padding_idx or 0) + 1


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int, *, left: bool = False
) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (n, longest) each, int64."""
    longest = max(1, *(len(ids) for ids in sequences))
    tokens = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for row, ids in enumerate(sequences):
        place = slice(longest - len(ids), None) if left else slice(len(ids))
        tokens[row, place] = torch.as_tensor(ids, dtype=torch.long)
        mask[row, place] = 1
    return tokens, mask


def reward_heads(
    model: Any,
    tokens: Tensor,
    mask: Tensor,
    reading: Reading | None = None,
    types: Tensor | None = None,
) -> Tensor:
    """Values of all reward heads, (n, n_heads), for texts padded on either side.

    Parameters
    ----------
    model
        A sequence-classification model.
    tokens, mask
        As `pad` makes them, on the model's device.
    reading
        Where the heads are read; None: see `default_reading`.
    types
        Token types, (n, longest), of models that are told of two segments.
    """
    reading = reading or default_reading(model)
    left = bool((mask[:, 0] == 0).any())
    inputs = {"input_ids": tokens, "attention_mask": mask}
    if types is not None:
        inputs["token_type_ids"] = types
    if reading.rule != "own":
        base = getattr(model, model.base_model_prefix)
        inputs |= _positions(base, mask) if left else {}
        hidden: Tensor = base(**inputs)[0]  # (n, longest, width)
        rows = torch.arange(len(tokens), device=tokens.device)
        values: Tensor = model.score(hidden[rows, places(tokens, mask, reading)])
        return values
    inputs |= _positions(model, mask) if left else {}
    with _first_token_first(model, mask) if left else nullcontext():
        return own_heads(model, inputs)


def places(tokens: Tensor, mask: Tensor, reading: Reading) -> Tensor:
    """The token that each text's head is read at, (n,); its first one where all of it pads."""
    kept = (
        mask
        if reading.rule == "last" or reading.pad_id is None
        else mask * (tokens != reading.pad_id)
    )
    last = (torch.arange(mask.shape[1], device=mask.device) * kept).argmax(dim=1)
    return torch.where(kept.any(dim=1), last, mask.argmax(dim=1))


def place(ids: Sequence[int], reading: Reading) -> int:
    """`places` of one text."""
    last = len(ids) - 1
    if reading.rule == "last" or reading.pad_id is None:
        return last
    return next((i for i in range(last, -1, -1) if ids[i] != reading.pad_id), 0)


def own_heads(model: Any, inputs: dict[str, Tensor]) -> Tensor:
    """What the model's own forward pass gives, (n, n_heads): see `named_heads`.

    Raises
    ------
    RewardModelError
        If it gives no values of texts: values of tokens, or no tensor.
    """
    return named_heads(model, inputs)[1]


def named_heads(model: Any, inputs: dict[str, Tensor]) -> tuple[str, Tensor]:
    """The values of a model's own forward pass, (n, n_heads), and what its class calls them.

    Notes
    -----
    Classes give ``logits``; some give what they make of several values under another name beside
    them (``score`` of gated objectives and quantiles, ``end_scores`` of values of tokens). A value
    that is one number per text is taken before several; without any of these names, the first.
    """
    names = inspect.signature(model.forward).parameters
    if not any(each.kind is each.VAR_KEYWORD for each in names.values()):
        inputs = {name: value for name, value in inputs.items() if name in names}
    output = model(**inputs)
    n, length = inputs["input_ids"].shape
    found = _tensors(output)
    if not found:
        raise RewardModelError(f"{type(model).__name__}: its forward pass gives no tensor")
    scalars = [name for name, values in found.items() if values.numel() == n]
    rows = [name for name, values in found.items() if values.ndim == 2 and len(values) == n]
    name = (scalars or rows or list(found))[0]
    values = found[name]
    if values.numel() == n:
        return name, values.reshape(n, 1)
    if values.ndim == 2 and len(values) == n:
        return name, values
    raise RewardModelError(_no_heads(type(model).__name__, values.shape, n, length))


def _tensors(output: Any) -> dict[str, Tensor]:
    """What may be rewards in an output, by name, the likeliest first."""
    if isinstance(output, Tensor):
        return {"output": output}
    fields = output if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    named = {name: fields[name] for name in _VALUES if isinstance(fields.get(name), Tensor)}
    if named:
        return named
    every = list(output.items() if isinstance(output, Mapping) else enumerate(output))
    name, first = every[0] if every else ("", None)
    return {f"output[{name!r}]": first} if isinstance(first, Tensor) else {}


def _no_heads(name: str, shape: Sequence[int], n: int, length: int) -> str:
    said = f"{name}: its forward pass gives values of shape {tuple(shape)} for {n} texts of "
    said += f"{length} tokens, not one row of heads a text; "
    if len(shape) > 1 and shape[1] == length:
        return said + "a model that scores steps is read with --model prm:PATH"
    return said + (
        "a class that gives several numbers per text has to name the one that is the reward "
        "`score`, or is wrapped in a function: --model python:module:callable"
    )


def of_tokens(name: str, shapes: Sequence[Sequence[int]], lengths: Sequence[int]) -> str | None:
    """Why the values of several texts, (1, k) each, are none of heads: one for each token."""
    widths = [shape[1] for shape in shapes]
    if len(set(widths)) == 1:
        return None
    place = next((i for i, width in enumerate(widths) if width == lengths[i]), 0)
    return _no_heads(name, shapes[place], 1, lengths[place])


def right_padded_heads(
    model: Any, tokens: Tensor, mask: Tensor, reading: Reading, types: Tensor | None = None
) -> Tensor:
    """`reward_heads` of texts padded on the right, without a branch on values: can be traced."""
    told = {} if types is None else {"token_type_ids": types}
    if reading.rule != "own":
        base = getattr(model, model.base_model_prefix)
        hidden: Tensor = base(input_ids=tokens, attention_mask=mask, use_cache=False, **told)[0]
        last = places(tokens, mask, reading)
        values: Tensor = model.score(hidden[torch.arange(tokens.shape[0]), last])
        return values
    masked = {"attention_mask": mask} if _takes(model.forward, "attention_mask") else {}
    logits: Tensor = model(input_ids=tokens, **masked, **told).logits
    return logits


def _positions(module: nn.Module, mask: Tensor) -> dict[str, Tensor]:
    """Positions that count from each text's first token, where the model takes any."""
    if not _takes(module.forward, "position_ids") or _padded_positions(module) is not None:
        return {}  # RoBERTa's kind finds its padding itself
    return {"position_ids": (mask.cumsum(dim=1) - 1).clamp(min=0)}


def _padded_positions(model: nn.Module) -> nn.Embedding | None:
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return module if module.padding_idx is not None else None
    return None


def _takes(function: Callable[..., Any], name: str) -> bool:
    return name in inspect.signature(function).parameters


@contextmanager
def _first_token_first(model: Any, mask: Tensor) -> Iterator[None]:
    """Move each left-padded text's hidden states to the front before they are pooled.

    Encoders pool position 0, where left padding has put a padding token. Those that take the mean
    find their tokens by the mask and are left alone.
    """
    if getattr(model.config, "classifier_pooling", "cls") not in ("cls", "bos"):
        yield
        return
    base = getattr(model, model.base_model_prefix)
    last = getattr(base, "encoder", None) or getattr(base, "transformer", None) or base
    n, longest = mask.shape
    places = torch.arange(longest, device=mask.device).expand(n, longest)
    moved = (places + (longest - mask.sum(dim=1, keepdim=True))) % longest  # (n, longest)

    def move(hidden: Tensor) -> Tensor:
        return hidden.gather(1, moved.unsqueeze(-1).expand_as(hidden))

    def hook(module: nn.Module, args: object, output: Any) -> Any:
        if isinstance(output, Tensor):
            return move(output)
        output["last_hidden_state"] = move(output["last_hidden_state"])
        if output.get("hidden_states"):  # DeBERTa reads the last of these instead
            *earlier, final = output["hidden_states"]
            output["hidden_states"] = (*earlier, move(final))
        return output

    handle = last.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
