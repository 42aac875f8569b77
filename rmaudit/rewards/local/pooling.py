"""The forward pass: padded tokens in, rewards read at the right token out.

Decoders carry their reward head, `score`, at the text's last token. transformers finds that token
by comparing with `config.pad_token_id`, which fails where the padding token is also the end of
sequence, or is not set. Here it is the last attended token, whatever its id. Other architectures
know their own pooling and are called as they are.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn


def is_decoder(model: nn.Module) -> bool:
    """Whether the reward is a linear `score` of the last token's hidden state."""
    score = getattr(model, "score", None)
    score = getattr(score, "original_module", score)  # as PEFT wraps a head that it trained
    config: Any = model.config
    return isinstance(score, nn.Linear) and not config.is_encoder_decoder


def pads_left(model: nn.Module) -> bool:
    """Whether the architecture can be told where a left-padded text starts."""
    config: Any = model.config
    if is_decoder(model):
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


def reward_heads(model: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    """Values of all reward heads, (n, n_heads), for texts padded on either side.

    Parameters
    ----------
    model
        A sequence-classification model of transformers.
    tokens, mask
        As `pad` makes them, on the model's device.
    """
    left = bool((mask[:, 0] == 0).any())
    inputs = {"input_ids": tokens, "attention_mask": mask}
    if is_decoder(model):
        base = getattr(model, model.base_model_prefix)
        inputs |= _positions(base, mask) if left else {}
        hidden: Tensor = base(**inputs)[0]  # (n, longest, width)
        places = torch.arange(mask.shape[1], device=mask.device)
        last = (places * mask).argmax(dim=1)  # (n,)
        rows = torch.arange(len(tokens), device=tokens.device)
        values: Tensor = model.score(hidden[rows, last])
        return values
    inputs |= _positions(model, mask) if left else {}
    if not _takes(model.forward, "attention_mask"):
        del inputs["attention_mask"]
    with _first_token_first(model, mask) if left else nullcontext():
        logits: Tensor = model(**inputs).logits
    return logits


def right_padded_heads(model: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    """`reward_heads` of texts padded on the right, without a branch on values: can be traced."""
    if is_decoder(model):
        base = getattr(model, model.base_model_prefix)
        hidden: Tensor = base(input_ids=tokens, attention_mask=mask, use_cache=False)[0]
        last = mask.sum(dim=1) - 1  # (n,)
        values: Tensor = model.score(hidden[torch.arange(tokens.shape[0]), last])
        return values
    masked = {"attention_mask": mask} if _takes(model.forward, "attention_mask") else {}
    logits: Tensor = model(input_ids=tokens, **masked).logits
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
