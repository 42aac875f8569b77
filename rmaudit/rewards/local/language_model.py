"""What rewards read off language models share: limits, padding, and logits where they are due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rmaudit.rewards.local.lengths import LengthRule
from rmaudit.rewards.local.pooling import pad


def logits_of(model: Any, sequences: Sequence[Sequence[int]], pad_id: int) -> Iterator[Tensor]:
    """Logits of each sequence, (length, n_outputs), float32.

    Padded on the right, which a causal model cannot see, and masked for those that could. Where
    position embeddings depend on the length, long sequences share a call with those of their own
    length only.
    """
    device, rule = next(model.parameters()).device, LengthRule.of(model)
    calls: dict[int, list[int]] = {}
    for row, ids in enumerate(sequences):
        calls.setdefault(len(ids) if rule.decides(len(ids)) else 0, []).append(row)
    logits: dict[int, Tensor] = {}
    for length, rows in calls.items():
        if length:
            rule.reset(model)
        tokens, mask = pad([sequences[row] for row in rows], pad_id)
        made = model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
        logits |= {row: made[place] for place, row in enumerate(rows)}
    for row, ids in enumerate(sequences):
        yield logits[row][: len(ids)].float()


def logits_alone(model: Any, ids: Sequence[int]) -> Tensor:
    """What the model's own forward pass gives one sequence, (length, n_outputs), float32."""
    tokens = torch.tensor([list(ids)], device=next(model.parameters()).device)
    LengthRule.of(model).reset(model)
    logits: Tensor = model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
    return logits[0].float()


@torch.inference_mode()
def log_likelihood(
    model: Any, sequences: Sequence[Sequence[int]], starts: Sequence[int], pad_id: int
) -> list[float]:
    """Log-probability of each sequence's tokens from `starts` on, given those before, in nats.

    The first token of all has nothing before it and is not counted.
    """
    totals = []
    for ids, start, logits in zip(
        sequences, starts, logits_of(model, sequences, pad_id), strict=True
    ):
        first = max(start, 1)
        targets = torch.as_tensor(ids[first:], dtype=torch.long, device=logits.device)
        predicted = torch.log_softmax(logits[first - 1 : len(ids) - 1], dim=-1)  # (n, vocabulary)
        chosen = predicted.gather(1, targets[:, None])  # (n, 1)
        totals.append(float(chosen.double().sum()))
    return totals
