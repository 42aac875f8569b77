"""What the reward model sees: the pooled hidden state that its reward head reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmaudit.errors import UsageError
from rmaudit.rewards.base import RewardModel, Text
from rmaudit.rewards.batching import length_batches
from rmaudit.rewards.local.transformers_model import TransformersReward


def hidden_states(model: RewardModel, texts: Sequence[Text]) -> NDArray[np.float32]:
    """The last layer before the reward, pooled as the model pools it, (n_texts, width).

    Parameters
    ----------
    model
        A transformers reward model, or an ensemble, whose first member is asked.
    texts
        Any number; texts of one length share a batch, so no padding touches the states.

    Raises
    ------
    UsageError
        If the model is of another kind, or its head does not read one state a text.
    """
    member = model.members[0].loaded
    if not isinstance(member, TransformersReward):
        raise UsageError(
            f"{model.name}: only a transformers model has hidden states; use --embedder tfidf"
        )
    encoded = member.encode(texts)
    states: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)] * len(texts)
    read: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read.append(inputs[0])

    handle = _head(member).register_forward_pre_hook(keep)
    try:
        tokens = [each.tokens for each in encoded]
        budget, most = member.token_budget, member.max_batch
        for rows in length_batches(tokens, budget, most, equal=True):
            read.clear()
            member.forward([encoded[row] for row in rows])
            state = torch.cat(read)
            if state.shape[0] != len(rows) or state.ndim != 2:
                raise UsageError(
                    f"{member.name}: its head does not read one hidden state a text; "
                    "use --embedder tfidf"
                )
            for row, values in zip(rows, state.float().cpu().numpy(), strict=True):
                states[row] = values
    finally:
        handle.remove()
    return np.stack(states) if states else np.zeros((0, 1), dtype=np.float32)


def _head(member: TransformersReward) -> nn.Module:
    """The linear map whose values are the rewards: the last one with as many outputs as heads."""
    heads = [
        module
        for module in member.model.modules()
        if isinstance(module, nn.Linear) and module.out_features == member.heads
    ]
    if not heads:
        raise UsageError(
            f"{member.name}: its reward head is not a linear map; use --embedder tfidf"
        )
    return heads[-1]
