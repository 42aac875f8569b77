"""What every reward model offers, wherever its rewards come from."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Dataset, Prompt
from rmaudit.errors import DataError, RewardModelError, UsageError

Mode = Literal["plain", "alone", "left"]
"""How a text is scored: in a batch, in a batch of its own, or padded on the left (preflight)."""


Signal = Literal["logit", "score", "verdict", "preference"]
"""What a reward claims.

``logit``: the sigmoid of a margin is a preference probability. ``score``: order, or order and
size. ``verdict``: correct or not. ``preference``: P(this response is better than the other one).
"""

SCALARS: frozenset[Signal] = frozenset({"logit", "score", "verdict"})
"""The kinds of signal in which one response has one number."""
UNITS: frozenset[Signal] = frozenset({"logit", "score"})
"""Those of them in which the size of a difference means something."""
EVERY_SIGNAL: frozenset[Signal] = SCALARS | {"preference"}
SIGNAL_NAMES: Mapping[Signal, str] = {
    "logit": "logits",
    "score": "scores",
    "verdict": "0/1 verdicts",
    "preference": "preferences between two responses",
}
"""What a reward of each kind gives, in words."""

Row = Mapping[str, Any]
NO_ROW: Row = {}


@dataclass(frozen=True, slots=True)
class Text:
    """One item to be rewarded: a response to a prompt, with its row.

    `row` holds the columns of the data row that the reward reads (`RewardModel.reads`), no others.
    `other` is the response that it is compared with, for rewards of the kind "preference".
    """

    prompt: Prompt
    output: str
    row: Row = field(default_factory=dict, hash=False)
    other: str | None = None

    @property
    def response(self) -> str:
        """The same as `output`."""
        return self.output


# A NaN has 51 bits to spare. R marks a missing number (NA, payload 1954) apart from an undefined
# one in the same way, so that arrays, files and the store need no second column.
NOT_APPLICABLE: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_07A2))[0]
"""The reward of a text that a reward does not apply to (TRL's None)."""
FAILED: float = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0FA1))[0]
"""The reward of a text on which the reward itself failed; never stored, so tried again."""


def does_not_apply(rewards: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these rewards are `NOT_APPLICABLE`, of the same shape; no other NaN is."""
    return np.asarray(_bits(rewards) == _bits(np.array(NOT_APPLICABLE)))


def failed(rewards: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of these rewards are `FAILED`, of the same shape."""
    return np.asarray(_bits(rewards) == _bits(np.array(FAILED)))


def _bits(rewards: NDArray[np.float64]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(rewards, dtype=np.float64).view(np.uint64).reshape(rewards.shape)


@dataclass(frozen=True, slots=True)
class Rewarded:
    """Rewards of a batch: the total that an optimiser sees, and its named parts, (n,) each.

    A part that a text does not have is NaN there. A scalar reward has no parts. `failures` says
    why, by place in the batch, where the reward itself failed; the total is `FAILED` there.
    """

    total: NDArray[np.float64]
    components: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    failures: Mapping[int, str] = field(default_factory=dict)


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


class MissingColumnError(DataError):
    """A reward reads a column that the data lacks."""

    def __init__(self, column: str, reward: str) -> None:
        super().__init__(
            f"there is no column {column!r}, which the reward {reward} reads; add it to the data"
        )
        self.column, self.reward = column, reward


class RewardModel(ABC):
    """A reward of a response, R(prompt, output, row), higher is better, in the model's own unit."""

    name: str
    kind: str  # "transformers", "python", "recorded", "ensemble", ...
    signal: Signal = "logit"  # what the reward claims
    signal_is_declared: bool = True  # False: rewards of two values make it a verdict
    fingerprint: str  # changes whenever a reward might
    reads: tuple[str, ...] = ()  # columns of the data row that the reward needs
    judged_on: str = ""  # the scale of a judge of single responses: "1 to 10"
    refuses: Sequence[str] = ()  # classes of made responses that its verdict is said to refuse
    scores_new_text: bool = True  # False for `recorded`: only rewards that the data carries
    length_unit: Literal["tokens", "characters"] = "tokens"
    pads_left: bool = True  # False where padding on the left means nothing, or cannot be right
    shares_prefixes: bool = False  # texts of one prompt cost less in one batch; nothing is padded
    max_batch: int = 64  # texts per call, at most
    token_budget: int = 4096  # padded tokens per call, at most (one text may exceed it)

    @abstractmethod
    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Tokenise; truncation drops the oldest prompt tokens and never the output."""

    @abstractmethod
    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),). Non-finite values are returned as they are."""

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """Rewards of one batch with their components; by default those of `forward`, and none."""
        return Rewarded(np.asarray(self.forward(batch, pad_left=pad_left), dtype=np.float64))

    def recorded_components(self, data: Dataset, side: str) -> Mapping[str, NDArray[np.float64]]:
        """Parts of the rewards that the data carries, by name, (n,) each; by default none."""
        return {}

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """The members of an ensemble; the model itself otherwise."""
        return (self,)

    @property
    def loaded(self) -> RewardModel:
        """The model itself, opened if it is only described: see `rmaudit.rewards.described`."""
        return self

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        """The models that are scored in its place: an ensemble's members, a mix's rewards."""
        return self.members

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        """What the parts' rewards of the same texts make; a model without parts has its own."""
        return parts[0]

    def columns(self, available: Sequence[str]) -> tuple[str, ...]:
        """The columns that the reward takes of a data set; by default all that it `reads`.

        Parameters
        ----------
        available
            What the data has; an object's fields are there as "COLUMN.FIELD".

        Raises
        ------
        MissingColumnError
            If one that it needs is not there.
        """
        for name in self.reads:
            if name not in available:
                raise MissingColumnError(name, self.name)
        return self.reads

    def rewordings(self) -> tuple[RewardModel, ...]:
        """The same judge asked in other words, where its question is known; by default none."""
        return ()

    def quicker(self, batch: Sequence[Encoded], tokens: int) -> str | None:
        """How so many tokens would be scored far faster, found on some of them; by default None."""
        return None

    def describe(self) -> dict[str, Any]:
        """Facts for the report: dtype, device, maximum length, template, head, ..."""
        return {}


def one_number(model: RewardModel, wanted_by: str) -> RewardModel:
    """The model, if it gives one response one number.

    Raises
    ------
    UsageError
        If it compares two responses: an optimiser that asks for a reward has nothing to ask it.
    """
    if model.signal in SCALARS:
        return model
    raise UsageError(
        f"{model.name} compares two responses and gives none a reward, which {wanted_by} needs; "
        "take a reward model of one response"
    )


def leaves(*models: RewardModel) -> tuple[RewardModel, ...]:
    """The models that are scored for these: themselves, or their parts, as deep as they go."""
    scored: list[RewardModel] = []
    for model in models:
        parts = model.parts
        scored += (model,) if parts == (model,) else leaves(*parts)
    return tuple(scored)
