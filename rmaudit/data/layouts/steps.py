"""Shapes of what has parts: solutions in steps, conversation trees, samples of a training run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pandas as pd

from rmaudit.data.faults import Fault, wrong_type
from rmaudit.data.gathering import joined
from rmaudit.data.layouts.shapes import Row, given, lists, needed
from rmaudit.data.messages import ROLES, decoded, is_turn, messages
from rmaudit.data.paths import Spec, columns
from rmaudit.data.types import DataType
from rmaudit.data.values import boolean, is_null, number


@dataclass(frozen=True)
class Steps:
    """A solution in steps with labels: for each step, the solution up to it.

    `labels` has one each; `wrong` the wrong ones; `first_wrong` the place of the first wrong one
    (-1 for none), behind which nothing is labelled.
    """

    steps: str
    labels: str | None = None
    first_wrong: str | None = None
    wrong: str | None = None  # the wrong steps, counted from 1
    separator: str = "\n"
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "unpaired"

    @property
    def reads(self) -> set[str]:
        """Steps, labels, and what is renamed."""
        specs = (self.steps, self.labels, self.first_wrong, self.wrong, *self.columns.values())
        return set().union(*map(columns, specs))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One labelled prefix of the solution a step."""
        steps = needed(record, self.steps)
        if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
            raise Fault(self.steps, "not a list of steps")
        labels = self._labels(record, len(steps))
        return _prefixes(given(record, self.columns), steps, labels, self.separator)

    def _labels(self, record: Mapping[str, Any], size: int) -> list[bool | None]:
        if self.first_wrong is not None:
            first = number(needed(record, self.first_wrong), self.first_wrong)
            if not first.is_integer() or not -1 <= first < size:  # NaN is no integer
                raise Fault(self.first_wrong, "no step of this number", f"{first:g} of {size}")
            end = size if first < 0 else int(first) + 1
            return [place != first for place in range(end)]
        if self.wrong is not None:
            wrong = {number(place, self.wrong) for place in lists(record, self.wrong)}
            if unknown := wrong - set(range(1, size + 1)):
                detail = f"{unknown.pop():g} of {size}, counted from 1"
                raise Fault(self.wrong, "no step of this number", detail)
            return [place + 1 not in wrong for place in range(size)]
        if self.labels is None:
            raise ValueError("a layout of steps names `wrong` or `labels`")
        values = needed(record, self.labels)
        if not isinstance(values, list) or len(values) != size:
            raise Fault(self.labels, "wrong length", f"needs one label for each of {size} steps")
        return [self._label(value) for value in values]

    def _label(self, value: Any) -> bool | None:
        return None if is_null(value) else boolean(value, self.labels or "")


def _prefixes(
    shared: Row, steps: Sequence[str], labels: Sequence[bool | None], separator: str = "\n"
) -> list[Row]:
    """The solution up to each step that has a label."""
    return [
        {**shared, "output": separator.join(steps[: i + 1]), "label": label, "step": i}
        for i, label in enumerate(labels)
        if label is not None
    ]


_SIGNS = {"+": True, "-": False}
_FIRST = re.compile(r"\bStep 1\s*:")
TAG = "ки"
"""What Math-Shepherd puts behind each step."""


def _solution(column: str, parts: Sequence[str], signs: Sequence[str]) -> list[Row]:
    """The prefixes of a solution whose first part begins with the problem."""
    start = _FIRST.search(parts[0]) if parts else None
    if start is None:
        raise Fault(column, "no 'Step 1:'", "where the problem ends and the solution begins")
    steps = [parts[0][start.start() :].strip(), *(part.strip() for part in parts[1:])]
    prompt = {"prompt": parts[0][: start.start()].strip()}
    return _prefixes(prompt, steps, [_SIGNS[sign] for sign in signs])


@dataclass(frozen=True)
class Tagged:
    """Problem and solution in one text with a tag behind each step; again, a sign for each tag."""

    text: str
    signed: str
    tag: str = TAG
    kind: ClassVar[DataType] = "unpaired"

    @property
    def reads(self) -> set[str]:
        """Both texts."""
        return {self.text, self.signed}

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One labelled prefix of the solution a step."""
        text, signed = needed(record, self.text), needed(record, self.signed)
        for name, value in ((self.text, text), (self.signed, signed)):
            if not isinstance(value, str):
                raise wrong_type(name, "text", value)
        *parts, rest = text.split(self.tag)
        signs, end = [], 0
        for part in parts:
            end += len(part) + 1
            signs.append(signed[end - 1 : end])
            if signed[:end].endswith(part + signs[-1]) and signs[-1] in _SIGNS:
                continue
            raise Fault(self.signed, "not the same text", f"with + or - for each {self.tag}")
        if rest.strip():
            raise Fault(self.text, "a step without its tag", f"the text ends without {self.tag}")
        return _solution(self.text, parts, signs)


@dataclass(frozen=True)
class SignedTurns:
    """Steps as the user's turns, of which the first begins with the problem; answers + or -."""

    turns: str
    kind: ClassVar[DataType] = "unpaired"

    @property
    def reads(self) -> set[str]:
        """The conversation."""
        return {self.turns}

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One labelled prefix of the solution a step."""
        turns = messages(needed(record, self.turns), self.turns)
        steps, signs = turns[::2], [str(turn["content"]).strip() for turn in turns[1::2]]
        if len(steps) != len(signs) or not set(signs) <= _SIGNS.keys():
            raise Fault(self.turns, "not a step and + or - in turn")
        return _solution(self.turns, [str(turn["content"]) for turn in steps], signs)


def signed_turns(column: str, row: Mapping[str, Any]) -> bool:
    """Whether every answer in a conversation is + or -."""
    turns = row.get(column)
    turns = decoded(turns) if isinstance(turns, str) else turns
    if not isinstance(turns, list) or len(turns) < 2 or not all(map(is_turn, turns)):
        return False
    said = [turn.get("content", turn.get("value")) for turn in turns[1::2]]
    return all(isinstance(each, str) and each.strip() in _SIGNS for each in said)


@dataclass(frozen=True)
class Tree:
    """A conversation tree whose replies to one turn are ranked: one ranking a turn."""

    root: str = "prompt"
    kind: ClassVar[DataType] = "ranking"

    @property
    def reads(self) -> set[str]:
        """The tree."""
        return {self.root}

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One ranking for each turn that has two ranked replies or more."""
        rows: list[Row] = []
        open_: list[tuple[list[Row], Any]] = [([], needed(record, self.root))]
        while open_:
            before, node = open_.pop(0)
            if not isinstance(node, Mapping) or not isinstance(node.get("text"), str):
                raise Fault(self.root, "not a tree of messages", "each needs text, role, replies")
            turns = [*before, {"role": node.get("role", "prompter"), "content": node["text"]}]
            replies = [each for each in node.get("replies") or () if isinstance(each, Mapping)]
            ranked = [each for each in replies if not is_null(each.get("rank"))]
            if len(ranked) > 1 and all(each.get("role") == "assistant" for each in ranked):
                order = sorted(number(each["rank"], "rank") for each in ranked)
                rows.append({
                    "prompt": turns,
                    "outputs": [each["text"] for each in ranked],
                    "ranking": [1 + order.index(number(each["rank"], "rank")) for each in ranked],
                })  # fmt: skip
            open_ += [(turns, reply) for reply in replies]
        if not rows:
            raise Fault(self.root, "nothing to compare", "no turn has two ranked replies")
        return rows


@dataclass(frozen=True)
class Replies:
    """Messages that stand one per row and name their parent: one ranking of the replies to a turn.

    Parents stand before their replies. A row of the user's is context and nothing else.
    """

    message: str = "message_id"
    parent: str = "parent_id"
    tree: str = "message_tree_id"
    text: str = "text"
    role: str = "role"
    rank: str = "rank"  # 0 is best
    before: dict[str, list[Row]] = field(default_factory=dict)  # the turns up to a message
    kind: ClassVar[DataType] = "ranking"

    @property
    def reads(self) -> set[str]:
        """All that make the tree."""
        return {self.message, self.parent, self.tree, self.text, self.role, self.rank}

    def begin(self) -> Replies:
        """The same without any row read."""
        return replace(self, before={})

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """A reply of the assistant's with its rank; none for a turn of the user's."""
        text, role = needed(record, self.text), needed(record, self.role)
        name, parent = needed(record, self.message), record.get(self.parent)
        if not isinstance(text, str):
            raise wrong_type(self.text, "text", text)
        if not is_null(parent) and str(parent) not in self.before:
            raise Fault(self.parent, "no such message before it", str(parent))
        prompt = [] if is_null(parent) else self.before[str(parent)]
        self.before[str(name)] = [*prompt, {"role": role, "content": text}]
        if ROLES.get(role, role) != "assistant":
            return []
        if is_null(record.get(self.rank)):
            raise Fault(self.rank, "a reply without a rank")
        rank = 1 + int(number(record[self.rank], self.rank))
        group = record.get(self.tree)
        return [{"prompt": prompt, "outputs": [text], "ranking": [rank], "id": name,
                 "group": parent if is_null(group) else group, "reply_to": parent}]  # fmt: skip

    def gathered(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The replies to one turn in one row."""
        whole = joined(frame, list(map(str, frame["reply_to"])), ("outputs", "ranking"))
        orders = [sorted(ranks) for ranks in whole["ranking"]]
        whole["ranking"] = pd.Series(
            [
                [1 + order.index(rank) for rank in ranks]
                for order, ranks in zip(orders, whole["ranking"], strict=True)
            ],
            dtype=object,
        )
        return whole


@dataclass(frozen=True)
class Choices:
    """Steps of which several continuations were rated each: one labelled prefix a continuation.

    A continuation is right unless its rating is below 0; the one that was chosen goes on.
    """

    steps: str
    columns: Mapping[str, Spec] = field(default_factory=dict)
    kind: ClassVar[DataType] = "unpaired"

    @property
    def reads(self) -> set[str]:
        """The steps, and what is renamed."""
        return set().union(*map(columns, (self.steps, *self.columns.values())))

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One row for each rated continuation."""
        shared = given(record, self.columns)
        rows: list[Row] = []
        before: list[str] = []
        steps = needed(record, self.steps) or ()
        if not isinstance(steps, list | tuple) or not all(isinstance(s, Mapping) for s in steps):
            raise Fault(self.steps, "not a list of steps", "each needs completions")
        for place, step in enumerate(steps):
            options = step.get("completions") or []
            if not isinstance(options, list | tuple) or not all(
                isinstance(each, Mapping) and isinstance(each.get("text"), str) for each in options
            ):
                raise Fault(self.steps, "completions are no list of texts with ratings")
            for option in options:
                if not is_null(option.get("rating")):
                    output = "\n".join([*before, option["text"]])
                    label = number(option["rating"], self.steps) >= 0
                    rows.append({**shared, "output": output, "label": label, "step": place})
            chosen, human = step.get("chosen_completion"), step.get("human_completion")
            if isinstance(chosen, int) and 0 <= chosen < len(options):
                before.append(options[chosen]["text"])
            elif human:
                before.append(human["text"] if isinstance(human, Mapping) else str(human))
            else:
                break
        return rows


@dataclass(frozen=True)
class Rollout:
    """One sample a row whose reward is the one column of numbers that is not known by name."""

    prompt: str
    output: str
    known: tuple[str, ...]  # numbers that are no reward
    kind: ClassVar[DataType] = "samples"

    @property
    def reads(self) -> set[str]:
        """Prompt and output; the reward's name is the row's own."""
        return {self.prompt, self.output}

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """One sample with its reward; with several rewards, one must be named."""
        skip = {self.prompt, self.output, *self.known}
        rewards = [
            name
            for name, value in record.items()
            if name not in skip and isinstance(value, float | int) and not isinstance(value, bool)
        ]
        if len(rewards) > 1:
            names = ", ".join(rewards)
            raise Fault(rewards[0], "several rewards", f"{names}: say --columns rewards=NAME")
        row = {"prompt": needed(record, self.prompt), "output": needed(record, self.output)}
        return [{**row, "rewards": record[rewards[0]]} if rewards else row]
