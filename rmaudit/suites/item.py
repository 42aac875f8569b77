"""One row of a published benchmark: what is scored, and what is the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rmaudit.data.types import Prompt

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One published row (or the rows of one problem): what is scored, and what is the truth.

    `cluster` names what is resampled together; it is equal in every file that holds the item.
    `responses` are empty where the file is one of results without texts; then there is one of
    `rewards` (NaN where missing) for each response all the same.
    """

    id: str
    cluster: str
    subset: str
    prompt: Prompt = ""
    responses: tuple[str, ...] = ()
    pairs: tuple[Pair, ...] = ()  # places of a better and a worse response
    rewards: tuple[float, ...] | None = None  # that the file records
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the rule needs beside rewards
    row: Mapping[str, Any] = field(default_factory=dict)  # as published: rewards may read columns

    @property
    def size(self) -> int:
        """How many responses it has."""
        return len(self.responses) or len(self.rewards or ())
