"""A mix: the weighted sum of several rewards, each of which is scored and stored on its own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import (
    Encoded,
    Rewarded,
    RewardModel,
    Signal,
    Text,
    does_not_apply,
)

Scale = Literal["none", "group", "component"]
"""How a trainer makes advantages of a group's rewards: see `rmaudit.audits.mix`."""


@dataclass(frozen=True, slots=True)
class Part:
    """One reward of a mix."""

    name: str
    model: RewardModel
    weight: float


class Mix(RewardModel):
    """The weighted sum of several rewards, with each as a component.

    Parameters
    ----------
    rewards
        The parts. One that does not apply to a text adds nothing there.
    scale
        How the trainer scales within a group of samples. The reward of a text alone is the weighted
        sum whatever the scale: scaling needs the group, and is done by the audit `mix`.
    name
        As the report shows it.

    Raises
    ------
    UsageError
        If there is no part, or one compares pairs.
    """

    kind = "mix"
    signal: Signal = "score"

    def __init__(
        self, rewards: Sequence[Part], scale: Scale = "none", *, name: str = "mix"
    ) -> None:
        if not rewards:
            raise UsageError(f"{name}: a mix needs at least one reward")
        for part in rewards:
            if part.model.signal == "preference":
                raise UsageError(
                    f"{name}: {part.name} is a reward of kind preference, which has no number for "
                    "one response; leave it out"
                )
        self.name, self.scale, self.rewards = name, scale, tuple(rewards)
        models = [part.model for part in rewards]
        facts = [(part.name, part.weight, part.model.fingerprint) for part in rewards]
        self.fingerprint = hashlib.sha256(repr((scale, facts)).encode()).hexdigest()
        self.scores_new_text = all(model.scores_new_text for model in models)
        self.pads_left = all(model.pads_left for model in models)
        self.length_unit = models[0].length_unit

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """The models of its rewards, in order."""
        return tuple(part.model for part in self.rewards)

    @property
    def weights(self) -> dict[str, float]:
        """By the name of the component."""
        return {part.name: part.weight for part in self.rewards}

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        """The weighted sum, and each reward by its name."""
        components = {
            part.name: reward.total for part, reward in zip(self.rewards, parts, strict=True)
        }
        total = np.zeros_like(parts[0].total)
        absent = np.ones(total.shape, dtype=np.bool_)
        for part in self.rewards:
            values = components[part.name]
            none = does_not_apply(values)
            absent &= none
            with np.errstate(invalid="ignore", over="ignore"):  # said as not finite
                total = total + part.weight * np.where(none, 0.0, values)
        return Rewarded(np.where(absent, parts[0].total, total), components)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Each text as every part reads it; lengths are the first part's."""
        by_part = [model.encode(texts) for model in self.parts]
        return [
            Encoded(each, each[0].tokens, each[0].output_tokens)
            for each in zip(*by_part, strict=True)
        ]

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """The weighted sum of one batch, with its components."""
        parts = [
            model.score_batch([each.payload[k] for each in batch], pad_left=pad_left)
            for k, model in enumerate(self.parts)
        ]
        failures = {
            place: f"{part.name}: {reason}"
            for part, rewarded in zip(self.rewards, parts, strict=True)
            for place, reason in rewarded.failures.items()
        }
        made = self.combine(parts)
        return Rewarded(made.total, made.components, failures)

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """The weighted sum of one batch, (len(batch),)."""
        rewarded = self.score_batch(batch, pad_left=pad_left)
        for reason in rewarded.failures.values():
            raise RewardModelError(reason)
        return rewarded.total

    def describe(self) -> dict[str, Any]:
        """The parts with their weights and kinds."""
        parts = [
            f"{part.weight:g} x {part.name} ({part.model.name}, {part.model.signal})"
            for part in self.rewards
        ]
        return {"scale": self.scale, "rewards": "; ".join(parts)}
