"""What rewards read off language models share: limits, padding, and logits where they are due."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rmaudit.rewards.local.pooling import pad


def logits_of(model: Any, sequences: Sequence[Sequence[int]], pad_id: int) -> Iterator[Tensor]:
    """Logits of each sequence, (length, n_outputs), float32.

    Padded on the right, which a causal model cannot see, and masked for those that could.
    """
    device = next(model.parameters()).device
    tokens, mask = pad(sequences, pad_id)
    logits = model(input_ids=tokens.to(device), attention_mask=mask.to(device)).logits
    for row, ids in enumerate(sequences):
        yield logits[row, : len(ids)].float()


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
