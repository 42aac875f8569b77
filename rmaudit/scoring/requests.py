"""Requests and scores: what audits want scored, as columns, and what comes back, aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Dataset, Prompt
from rmaudit.rewards.base import Mode, Row

_LARGEST = 1e140  # its square and a sum of many such squares are finite
Key = tuple[str, str, str, Mode]
"""(data, audit, side, mode): what names a column."""


@dataclass(frozen=True)
class Request:
    """A column of texts to score. `prompts`, `outputs` and `ids` have one length.

    `side` names the column: "chosen", "rejected", "output_0", ... for the data itself (then
    `audit` is empty), and a name of the audit's own choosing for the texts it makes. A response
    belongs to a row of the data, edited or not: to that of its id, unless `row_ids` says another.
    """

    side: str
    ids: Sequence[str]
    prompts: Sequence[Prompt]
    outputs: Sequence[str]
    audit: str = ""
    mode: Mode = "plain"
    data: str = "eval"  # which input the ids belong to: eval, feedback, deployment, samples
    row_ids: Sequence[str] | None = None  # of the data rows, where `ids` are others
    others: Sequence[str] | None = None  # what each response is compared with, in pairs
    # What the model reads of each response's row; filled in by the engine.
    rows: Sequence[Row] | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> Key:
        """What names the column of this request."""
        return (self.data, self.audit, self.side, self.mode)

    @cached_property
    def characters(self) -> NDArray[np.int64]:
        """Of each output, (n,)."""
        return np.fromiter(map(len, self.outputs), np.int64, len(self.outputs))


@dataclass(frozen=True, slots=True)
class Column:
    """What came back for a request, (n,) each."""

    reward: NDArray[np.float64]
    tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]
    output_truncated: NDArray[np.bool_]
    double_bos: NDArray[np.bool_]
    components: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cost:
    """What scoring cost. `texts` counts each text once; `texts_scored` is less what was stored.

    With several members both are summed over the members, for each has to score each text.
    `tokens` went through the models in this pass, in the model's unit of length.
    """

    texts: int = 0
    texts_scored: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.texts + other.texts,
            self.texts_scored + other.texts_scored,
            self.tokens + other.tokens,
            self.seconds + other.seconds,
        )


@dataclass(frozen=True, slots=True)
class AuditCost:
    """One audit's part of a pass, summed over the models that score.

    Parameters
    ----------
    audit
        Its name; "" for the data's own texts, which every audit needs.
    texts
        Distinct texts that none before it (the data, then audits in page order) asks for.
    to_score
        Those of them that the store does not hold.
    tokens
        Estimated, of the texts to score and of searches, in the model's unit of length.
    searches
        Most texts that its searches may ask for afterwards.
    """

    audit: str
    texts: int
    to_score: int
    tokens: int
    searches: int = 0

    @property
    def most(self) -> int:
        """Texts to score, searches included."""
        return self.to_score + self.searches


@dataclass(frozen=True)
class Scores:
    """All rewards of one pass; `members` holds the ensemble's columns, one mapping a member."""

    requests: Sequence[Request]
    by_request: Mapping[Key, Column]  # (data, audit, side, mode)
    members: Sequence[Mapping[Key, Column]] = ()
    cost: Cost = field(default_factory=Cost)
    length_unit: str = "tokens"
    member_names: Sequence[str] = ()  # one per member, in the order of `members`
    gold: Mapping[Key, Column] = field(default_factory=dict)  # the samples, by the gold model
    failures: Sequence[str] = ()  # a line per text on which the reward itself failed

    def column(
        self, side: str, *, audit: str = "", mode: Mode = "plain", data: str = "eval"
    ) -> Column:
        """The column of a request; `KeyError` if nobody asked for it."""
        return self.by_request[(data, audit, side, mode)]

    def reward(
        self, side: str, *, audit: str = "", mode: Mode = "plain", data: str = "eval"
    ) -> NDArray[np.float64]:
        """Rewards of a request, (n,), aligned with its ids."""
        return self.column(side, audit=audit, mode=mode, data=data).reward

    def member_rewards(
        self, side: str, *, audit: str = "", data: str = "eval"
    ) -> NDArray[np.float64]:
        """Rewards of each ensemble member, (n_members, n)."""
        key: Key = (data, audit, side, "plain")
        return np.stack([columns[key].reward for columns in self.members])


def measurable(scores: Scores) -> Scores:
    """Scores in which rewards too large to be squared are infinite, and so told and left out.

    Margins of finite rewards such as 1.7e308 overflow; nothing can be measured on them.
    """

    def column(each: Column) -> Column:
        large = np.abs(each.reward) > _LARGEST
        if not (large & np.isfinite(each.reward)).any():
            return each
        infinite = np.copysign(np.inf, each.reward)
        return replace(each, reward=np.where(large, infinite, each.reward))

    def columns(given: Mapping[Key, Column]) -> dict[Key, Column]:
        return {key: column(each) for key, each in given.items()}

    return replace(
        scores,
        by_request=columns(scores.by_request),
        members=tuple(columns(member) for member in scores.members),
        gold=columns(scores.gold),
    )


def data_requests(data: Dataset, name: str) -> list[Request]:
    """One request a side: chosen and rejected, or output, or output_0 ... output_{k-1}.

    Rankings and samples may have rows of different length: row `i` takes part in column
    `output_j` only if it has a `j`-th output.
    """
    ids = data.ids
    sides = data.outputs()
    requests = [
        Request(
            side.name,
            ids if len(side.rows) == len(ids) else [ids[row] for row in side.rows.tolist()],
            side.prompts,
            side.texts,
            data=name,
        )
        for side in sides
    ]
    if data.type == "preference":
        chosen, rejected = (side.texts for side in sides)
        others = (rejected, chosen)
        requests = [replace(r, others=o) for r, o in zip(requests, others, strict=True)]
    return requests
