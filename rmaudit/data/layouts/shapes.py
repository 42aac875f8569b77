"""What rows can be made of: the few shapes that published layouts are declared with.

Each shape turns one row of a source into rows of a data type (`Dataset`), which are then checked
as any other. A shape reads columns by path (`rmaudit.data.paths`) and knows no layout by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

import pandas as pd

from rmaudit.data.faults import Fault
from rmaudit.data.messages import decoded
from rmaudit.data.names import TIE
from rmaudit.data.paths import MISSING, Spec, columns, get
from rmaudit.data.types import DataType
from rmaudit.data.values import boolean, is_null, number

Row = dict[str, Any]


class Shape(Protocol):
    """How a source's row becomes rows of one data type."""

    @property
    def kind(self) -> DataType:
        """The type of the rows."""

    @property
    def reads(self) -> set[str]:
        """The columns that are used."""

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """The rows of one source row; `Fault` where it holds none."""


@runtime_checkable
class Gathering(Shape, Protocol):
    """A shape of which a row needs earlier rows: as context, or to be compared with."""

    def begin(self) -> Gathering:
        """The same without any row read; `rows` then gives none for a row that is only context."""

    def gathered(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table with what belongs together in one row."""


def needed(record: Mapping[str, Any], spec: Spec) -> Any:
    """The value of a spec; `Fault` where the row has none."""
    value = get(record, spec)
    if value is MISSING:
        raise Fault(spec if isinstance(spec, str) else spec[0], "missing column")
    return value


def given(record: Mapping[str, Any], specs: Mapping[str, Spec]) -> Row:
    """The values that a row has, by our names."""
    values = {name: get(record, spec) for name, spec in specs.items()}
    return {name: value for name, value in values.items() if value is not MISSING}


def lists(record: Mapping[str, Any], spec: Spec | None) -> list[Any]:
    """The lists under one path or several, one after the other; a single value is a list of it."""
    found: list[Any] = []
    for path in () if spec is None else (spec,) if isinstance(spec, str) else spec:
        value = get(record, path)
        if value is not MISSING and not is_null(value):
            found += value if isinstance(value, list) else [value]
    return found


def word(value: Any) -> str:
    """A verdict as it is compared: lower case, whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():  # no infinity is
        value = int(value)
    return str(value).strip().lower()


@dataclass(frozen=True)
class Fields:
    """One row each, its columns renamed: ``{"prompt": "history", ...}``."""

    kind: DataType
    columns: Mapping[str, Spec]
    joined: tuple[str, ...] = ()  # our names whose lists of texts become one text, a line each

    @property
    def reads(self) -> set[str]:
        """The columns that are renamed."""
        return set().union(*map(columns, self.columns.values()))

    @property
    def renames(self) -> bool:
        """Whether anything has another name than ours."""
        return bool(self.joined) or any(name != spec for name, spec in self.columns.items())

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """The row under its new names."""
        row = given(record, self.columns)
        for name in self.joined:
            if isinstance(row.get(name), list) and all(isinstance(t, str) for t in row[name]):
                row[name] = "\n".join(row[name])
        return [row]


@dataclass(frozen=True)
class Vote:
    """Two responses and who prefers which.

    One of: `verdict`, whose values `says` explains ("a", "b"; what is in `TIE` prefers neither), or
    which is the name that a column of `called` has for the author of one of them;
    `flags`, one column each for a, b and perhaps a tie, of which one is true; `scores`, of which
    the higher wins; `strength`, whose sign prefers `positive`; `votes` alone, of which the majority
    decides.
    """

    a: Spec
    b: Spec
    verdict: str | None = None
    says: Mapping[str, str] = field(default_factory=dict)
    called: tuple[str, str] | None = None  # columns with the model of each response
    flags: tuple[str, ...] | None = None
    scores: tuple[str, str] | None = None
    strength: str | None = None
    positive: str = "b"
    votes: Spec | None = None  # of several paths, the lists are put together
    voters: Spec | None = None
    turns: str | None = None  # how many turns of both conversations were judged
    asked: str | None = None  # the user's turns, where a response is a list of the answers to them
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "preference"

    @property
    def reads(self) -> set[str]:
        """The responses, the verdict, and what is renamed."""
        specs = (self.a, self.b, self.verdict, self.strength, self.votes, self.voters, self.turns)
        pairs = (*(self.flags or ()), *(self.scores or ()), *(self.called or ()), self.asked)
        return set().union(*map(columns, (*specs, *pairs, *self.columns.values())))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One pair, the preferred response first."""
        side, more = self._side(record)
        a, b = (self._judged(record, needed(record, each)) for each in (self.a, self.b))
        if side == "b":
            a, b = b, a
        row = {**given(record, self.columns), "chosen": a, "rejected": b, **more}
        return [{**row, "tie": side == "tie"}]

    def _judged(self, record: Mapping[str, Any], response: Any) -> Any:
        """The turns of a conversation that were judged: a question and an answer each."""
        if self.asked is not None:
            return _conversation(needed(record, self.asked), response, self.asked)
        turns = get(record, self.turns)
        if isinstance(turns, int) and turns > 0 and isinstance(response, list):
            return response[: 2 * turns]
        return response

    def _side(self, record: Mapping[str, Any]) -> tuple[str, Row]:
        """Which response is preferred, and what else the votes say."""
        more: Row = {}
        side = ""
        if self.verdict is not None:
            side = self._named(record, self.verdict)
        if self.flags is not None:
            side = self._flagged(record, self.flags)
        if self.strength is not None:
            strength = number(needed(record, self.strength), self.strength)
            if strength != strength:
                raise Fault(self.strength, "no preference given")
            other = "a" if self.positive == "b" else "b"
            side = side or (self.positive if strength > 0 else other if strength < 0 else "tie")
            more["strength"] = abs(strength)
        if self.scores is not None:
            one, other_ = (number(needed(record, path), path) for path in self.scores)
            if one != one or other_ != other_:
                raise Fault(self.scores[0], "no score given")
            side = side or ("a" if one > other_ else "b" if other_ > one else "tie")
            more["strength"] = abs(one - other_)
        if self.votes is not None:
            votes = self._votes(record)
            ahead = votes.count("a") - votes.count("b")
            side = side or ("a" if ahead > 0 else "b" if ahead < 0 else "tie")
            better = "b" if side == "b" else "a"
            more["annotator_votes"] = [
                vote if vote == "tie" else "chosen" if vote == better else "rejected"
                for vote in votes
            ]
            names = lists(record, self.voters)
            if len(names) == len(votes) and not any(map(is_null, names)):
                more["annotators"] = names
        return side, more

    def _named(self, record: Mapping[str, Any], verdict: str) -> str:
        """The side that the verdict prefers, in its own words or by the model of a response."""
        value = needed(record, verdict)
        models = [word(get(record, column)) for column in self.called or ()]
        if word(value) not in models or is_null(value):
            return self.said(value, verdict)
        sides = {side for side, model in zip("ab", models, strict=True) if model == word(value)}
        sides |= {self.says[word(value)]} if word(value) in self.says else set()
        if len(sides) > 1:
            raise Fault(verdict, "not one winner", f"{word(value)[:60]!r} is either response's")
        return sides.pop()

    @staticmethod
    def _flagged(record: Mapping[str, Any], flags: tuple[str, ...]) -> str:
        given = [get(record, name) for name in flags]
        true = [place for place, value in enumerate(given) if value not in (MISSING, None, "")
                and boolean(value, flags[place])]  # fmt: skip
        if len(true) != 1:
            raise Fault(flags[0], "not one winner", f"{len(true)} of {', '.join(flags)} are true")
        return ("a", "b", "tie")[true[0]]

    def _votes(self, record: Mapping[str, Any]) -> list[str]:
        values = [value for value in lists(record, self.votes) if not is_null(value)]
        name = self.votes if isinstance(self.votes, str) else (self.votes or ("",))[0]
        if not values:
            raise Fault(name, "no votes")
        return [self.said(value, name) for value in values]

    def said(self, value: Any, column: str) -> str:
        """The side that a verdict prefers; `Fault` if it is not one of the known words."""
        if isinstance(value, list) and value and all(map(_has_rank, value)):
            best = [each for each in value if each["rank"] == min(e["rank"] for e in value)]
            return self.said(best[0].get("value"), column) if len(best) == 1 else "tie"
        if is_null(value):
            raise Fault(column, "no preference given")
        said = word(value)
        if said in self.says:
            return self.says[said]
        if said in TIE:
            return "tie"
        raise Fault(column, "not a verdict", f"{said[:60]!r}; known: {', '.join(self.says)}")


def _has_rank(value: Any) -> bool:
    """Whether a value is one item of an order: ``{"rank": 1, "value": "response1"}``."""
    return isinstance(value, Mapping) and isinstance(value.get("rank"), int)


def _conversation(asked: Any, answers: Any, name: str) -> list[Row]:
    """Turns in their order from the user's turns and the answers to them; one text is one turn."""
    sides = [decoded(each) if isinstance(each, str) else each for each in (asked, answers)]
    user, assistant = (side if isinstance(side, list) else [side] for side in sides)
    if len(user) != len(assistant):
        detail = f"{len(assistant)} answers to {len(user)} turns"
        raise Fault(name, "wrong length", detail)
    return [
        {"role": role, "content": text}
        for pair in zip(user, assistant, strict=True)
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]


@dataclass(frozen=True)
class Ranked:
    """Several responses to one prompt, with a rank (the lowest wins) or a score (the highest)."""

    outputs: Spec  # a list, or one column each
    rank: str | None = None
    score: str | None = None
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "ranking"

    @property
    def reads(self) -> set[str]:
        """The responses, their ranks or scores, and what is renamed."""
        specs = (self.outputs, self.rank, self.score, *self.columns.values())
        return set().union(*map(columns, specs))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One ranking; responses without a score are left out of it."""
        outputs = (
            needed(record, self.outputs)
            if isinstance(self.outputs, str)
            else [needed(record, name) for name in self.outputs]
        )
        row = given(record, self.columns)
        if self.rank is not None:
            return [{**row, "outputs": outputs, "ranking": needed(record, self.rank)}]
        if self.score is None:
            raise ValueError("a layout of ranked responses names `rank` or `score`")
        values = needed(record, self.score)
        if not isinstance(values, list) or not isinstance(outputs, list):
            raise Fault(self.score, "no scores")
        scores = [number(float(v) if isinstance(v, bool) else v, self.score) for v in values]
        if len(scores) != len(outputs):
            raise Fault(self.score, "wrong length", f"{len(scores)} for {len(outputs)} outputs")
        known = [i for i, score in enumerate(scores) if score == score]
        if len(known) < 2:
            raise Fault(self.score, "nothing to compare", "fewer than two outputs have a score")
        ranks = [1 + sum(scores[other] > scores[i] for other in known) for i in known]
        if len(known) < len(scores):
            row["outputs_without_score"] = len(scores) - len(known)
        return [{**row, "outputs": [outputs[i] for i in known], "ranking": ranks}]


@dataclass(frozen=True)
class Sets:
    """Some right responses and some wrong ones: a ranking of two levels, equals tied."""

    better: str = "chosen"
    worse: str = "rejected"
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "ranking"

    @property
    def reads(self) -> set[str]:
        """Both lists, and what is renamed."""
        return set().union(*map(columns, (self.better, self.worse, *self.columns.values())))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One ranking, the right responses first."""
        better, worse = (_several(needed(record, each)) for each in (self.better, self.worse))
        if not better or not worse:
            raise Fault(self.better, "not two lists of responses")
        row = given(record, self.columns)
        if isinstance(row.get("rewards"), list):
            row["rewards"] = [number(value, "rewards") for value in row["rewards"]]
        ranks = [1] * len(better) + [1 + len(better)] * len(worse)
        return [{**row, "outputs": [*better, *worse], "ranking": ranks}]


@dataclass(frozen=True)
class Pick:
    """Several responses and the place of the best: a ranking of two levels, the others tied."""

    outputs: str
    place: str
    first: int  # the place of the first response: 0 or 1
    kind: ClassVar[DataType] = "ranking"

    @property
    def reads(self) -> set[str]:
        """The responses and the place."""
        return columns(self.outputs) | columns(self.place)

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One ranking, the responses in their own order."""
        outputs = lists(record, self.outputs)
        value = number(needed(record, self.place), self.place)
        if value != value:
            raise Fault(self.place, "no preference given")
        best = value - self.first
        if best not in range(len(outputs)):
            detail = f"place {value:g} of {len(outputs)}, counted from {self.first}"
            raise Fault(self.place, "not a verdict", detail)
        ranks = [1 if place == best else 2 for place in range(len(outputs))]
        return [{"outputs": outputs, "ranking": ranks}]


def _several(value: Any) -> list[Any]:
    """A list of responses; a single one (text, a turn, a conversation) as a list of it."""
    if isinstance(value, list) and not (value and all(isinstance(t, Mapping) for t in value)):
        return value
    return [] if is_null(value) else [value]


@dataclass(frozen=True)
class Styles:
    """As many right as wrong responses, each list in the same styles: every pair of styles.

    Rows of one item have its ``group``; ``style`` is that of the chosen response,
    ``style_rejected`` that of the other.
    """

    names: tuple[str, ...]
    better: str = "chosen"
    worse: str = "rejected"
    rewards: tuple[str, str] | None = None
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "preference"

    @property
    def reads(self) -> set[str]:
        """Both lists, their rewards, and what is renamed."""
        specs = (self.better, self.worse, *(self.rewards or ()), *self.columns.values())
        return set().union(*map(columns, specs))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One pair for each style of the chosen and each of the rejected response."""
        sides = [needed(record, self.better), needed(record, self.worse)]
        for name, side in zip((self.better, self.worse), sides, strict=True):
            if not isinstance(side, list) or len(side) != len(self.names):
                raise Fault(name, "wrong length", f"needs {len(self.names)} styles")
        rewards = [get(record, path) for path in self.rewards or ()]
        shared = given(record, self.columns)
        rows = []
        for i, style in enumerate(self.names):
            for j, other in enumerate(self.names):
                row = {"chosen": sides[0][i], "rejected": sides[1][j]}
                if rewards and all(isinstance(each, list) for each in rewards):
                    row |= {"chosen_reward": rewards[0][i], "rejected_reward": rewards[1][j]}
                rows.append({**shared, **row, "style": style, "style_rejected": other})
        return rows
