"""What every reward model offers, wherever its rewards come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Prompt
from rmaudit.errors import RewardModelError

Mode = Literal["plain", "alone", "left"]
"""How a text is scored: in a batch, in a batch of its own, or padded on the left (preflight)."""


@dataclass(frozen=True, slots=True)
class Text:
    """One (prompt, output) to be rewarded."""

    prompt: Prompt
    output: str


@dataclass(frozen=True, slots=True)
class Encoded:
    """A text made ready for the forward pass."""

    payload: Any  # token ids for transformers; the `Text` itself where no tokenizer is known
    tokens: int  # length: tokens of the model's tokenizer, characters where there is none
    output_tokens: int  # length of the output alone, in the same unit
    output_start: int = 0  # place of the output's first token among the token ids
    truncated: bool = False  # the oldest prompt tokens were dropped
    output_truncated: bool = False  # must never happen; counted by preflight
    double_bos: bool = False  # the text starts with more than one beginning-of-sequence token


class IncompleteError(RewardModelError):
    """A batch of which some texts failed: what the others were given is handed over and kept.

    Parameters
    ----------
    reason
        What went wrong, in one line.
    rewards, done
        Rewards of the batch and which of them are there, (len(batch),) each.
    place
        The text of the batch that failed.
    """

    def __init__(
        self, reason: str, rewards: NDArray[np.float64], done: NDArray[np.bool_], place: int
    ) -> None:
        super().__init__(reason)
        self.rewards, self.done, self.place = rewards, done, place


class RewardModel(ABC):
    """A scalar reward R(prompt, output). Higher is better; the unit is the model's own."""

    name: str
    kind: str  # "transformers", "python", "recorded", "ensemble", ...
    fingerprint: str  # changes whenever a reward might
    scores_new_text: bool = True  # False for `recorded`: only rewards that the data carries
    length_unit: Literal["tokens", "characters"] = "tokens"
    pads_left: bool = True  # False where padding on the left means nothing, or cannot be right
    shares_prefixes: bool = False  # texts of one prompt cost less in one batch; nothing is padded
    max_batch: int = 64  # texts a call, at most
    token_budget: int = 4096  # padded tokens a call, at most (one text may exceed it)

    @abstractmethod
    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Tokenise; truncation drops the oldest prompt tokens and never the output."""

    @abstractmethod
    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),). Non-finite values are returned as they are."""

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """The members of an ensemble; the model itself otherwise."""
        return (self,)

    def describe(self) -> dict[str, Any]:
        """Facts for the report: dtype, device, maximum length, template, head, ..."""
        return {}
