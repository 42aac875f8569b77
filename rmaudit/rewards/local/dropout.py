"""Members of an ensemble from one model: Monte Carlo dropout, ``dropout:PATH?members=5``.

Each member is the model with one fixed draw of its dropout masks (Gal & Ghahramani 2016, arXiv
1506.02142; the same mask at every token and for every text, as in their arXiv 1512.05287,
Section 4). A member is therefore a function of the text alone, as every reward model must be: its
rewards depend neither on the batch nor on the run, and can be stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.local.transformers_model import TransformersReward

MEMBERS = 5


class DropoutMember(RewardModel):
    """A transformers reward model with some hidden units switched off, always the same ones.

    Parameters
    ----------
    base
        The model; its members share its weights.
    draw
        Number of the draw: it decides which units.

    Raises
    ------
    RewardModelError
        If the model has no dropout layer with a rate above zero (most decoders have none).

    Notes
    -----
    Dropout of attention weights stays off: it has no units that are the same for all texts.
    """

    kind = "dropout"

    def __init__(self, base: TransformersReward, draw: int) -> None:
        self.base, self.draw = base, draw
        self.name = f"{base.name}, dropout {draw + 1}"
        facts = repr((base.fingerprint, "dropout", draw))
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        self.length_unit, self.pads_left = base.length_unit, base.pads_left
        self.max_batch, self.token_budget = base.max_batch, base.token_budget
        self._layers = [
            layer
            for layer in base.model.modules()
            if isinstance(layer, nn.Dropout) and 0 < layer.p < 1
        ]
        if not self._layers:
            raise RewardModelError(
                f"{base.name}: the model has no dropout, so there is nothing to draw members "
                "from; train several from different seeds (rmaudit train reward --seeds N)"
            )
        self._masks: dict[tuple[int, int], Tensor] = {}

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """As the model itself does."""
        return self.base.encode(texts)

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch under this member's masks, (len(batch),)."""
        with self._masked():
            return self.base.forward(batch, pad_left=pad_left)

    def describe(self) -> dict[str, Any]:
        """The model's facts, and how many layers drop units."""
        return {**self.base.describe(), "dropout_layers": len(self._layers)}

    @contextmanager
    def _masked(self) -> Iterator[None]:
        hooks = [
            layer.register_forward_hook(self._hook(place))
            for place, layer in enumerate(self._layers)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _hook(self, place: int) -> Any:
        def hook(layer: nn.Dropout, args: object, output: Tensor) -> Tensor:
            if output.ndim > 3:  # attention weights
                return output
            return output * self._mask(place, layer.p, output)

        return hook

    def _mask(self, place: int, rate: float, like: Tensor) -> Tensor:
        """Zeros, and ones scaled so that the mean is kept, (width,)."""
        width = like.shape[-1]
        if (place, width) not in self._masks:
            kept = np.random.default_rng([self.draw, place, width]).random(width) >= rate
            self._masks[place, width] = torch.as_tensor(
                kept / (1 - rate), dtype=like.dtype, device=like.device
            )
        return self._masks[place, width]


def dropout_ensemble(model: RewardModel, query: str) -> Ensemble:
    """Several draws of one model as an ensemble; the query is that of ``dropout:PATH?members=5``.

    Raises
    ------
    UsageError
        If the query is not understood, or the model is no single transformers model.
    RewardModelError
        If the model has no dropout.
    """
    name, _, value = query.partition("=")
    if query and (name != "members" or not value.isdecimal() or int(value) < 2):
        raise UsageError(f"dropout: {query!r}: say dropout:PATH?members=N with N of 2 or more")
    if not isinstance(model, TransformersReward):
        raise UsageError(
            f"dropout: {model.name} is of kind {model.kind}; it must be one transformers model"
        )
    draws = range(int(value) if query else MEMBERS)
    return Ensemble([DropoutMember(model, i) for i in draws], name=f"{model.name}, dropout")
