"""What the first rows of a table show: which columns there are, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmaudit.data.messages import ROLES, decoded, holds_turns, is_turn
from rmaudit.data.rows import GROUP, SHARED
from rmaudit.data.values import is_null

SAMPLE = 64  # values of a column that are looked at


@dataclass(frozen=True)
class Profile:
    """The columns of a table, with the first values of each that are not null."""

    values: Mapping[str, Sequence[Any]]
    rows: Sequence[Mapping[str, Any]]  # the first ones

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Profile:
        """Of some rows; every column of any of them is there."""
        values: dict[str, list[Any]] = {}
        first: list[Mapping[str, Any]] = []
        for row in rows:
            if len(first) < SAMPLE:
                first.append(row)
            for name, value in row.items():
                known = values.setdefault(str(name), [])
                if len(known) < SAMPLE and not is_null(value) and value not in ("", [], {}):
                    known.append(value)
        return cls(values, first)

    @property
    def names(self) -> set[str]:
        """All columns."""
        return set(self.values)

    def filled(self, name: str) -> bool:
        """Whether a column is there and not empty throughout."""
        return bool(self.values.get(name))

    @property
    def shared(self) -> set[str]:
        """Columns that rows of any type may have, with lists of who the annotators are."""
        groups = {
            name
            for name, values in self.values.items()
            if name.startswith(GROUP) and values and isinstance(values[0], list | tuple)
        }
        return {*SHARED} & self.names | (groups if self.filled("annotator_votes") else set())

    def text(self, name: str) -> bool:
        """Whether most values are text, no conversation written as text."""
        values = self.values.get(name, ())
        texts = [value for value in values if isinstance(value, str)]
        return 2 * len(texts) > len(values) and not self.turns(name)

    def turns(self, name: str) -> bool:
        """Whether most values are conversations, or text that one is written in."""
        values = self.values.get(name, ())
        return 2 * sum(map(holds_turns, values)) > len(values)

    def answered(self, name: str) -> bool:
        """Whether most values are conversations that end with the assistant's turn."""
        values = [decoded(v) if isinstance(v, str) else v for v in self.values.get(name, ())]
        ends = [v[-1] for v in values if isinstance(v, list) and v and all(map(is_turn, v))]
        roles = [turn.get("role", turn.get("from")) for turn in ends]
        said = sum(ROLES.get(role, role) == "assistant" for role in roles)
        return bool(2 * said > len(self.values.get(name, ())))

    def lists(self, name: str) -> bool:
        """Whether most values are lists of responses: of text or of conversations, not of turns."""
        values = [decoded(v) if isinstance(v, str) else v for v in self.values.get(name, ())]
        return 2 * sum(map(_is_list, values)) > len(values)

    def numbers(self, name: str) -> bool:
        """Whether all values are numbers (not flags)."""
        values = self.values.get(name, ())
        return bool(values) and all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in values
        )

    def flags(self, name: str) -> bool:
        """Whether all values are true or false, 1 or 0."""
        values = {str(value).strip().lower() for value in self.values.get(name, ())}
        return bool(values) and values <= {"true", "false", "1", "0", "1.0", "0.0"}

    def sentences(self, name: str) -> bool:
        """Whether a column holds texts of several words that differ from row to row."""
        values = self.values.get(name, ())
        texts = [value for value in values if isinstance(value, str)]
        if not texts or 2 * len(texts) <= len(values):
            return False
        spaced = sum(" " in text.strip() for text in texts)
        return 2 * spaced > len(texts) and len(set(texts)) > max(1, len(texts) // 5)

    def written(self, name: str) -> bool:
        """Whether conversations or lists stand in cells of text, and have to be decoded."""
        values = [value for value in self.values.get(name, ()) if isinstance(value, str)]
        return 2 * sum(map(holds_turns, values)) > len(self.values.get(name, ()))


def _is_list(value: Any) -> bool:
    if not isinstance(value, list) or not value or any(map(is_turn, value)):
        return False
    return all(isinstance(item, str) or holds_turns(item) for item in value)
