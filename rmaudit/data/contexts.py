"""The prompt of a row from the columns that hold a context: system, turns, question, input, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmaudit.data import names
from rmaudit.data.faults import Fault, wrong_type
from rmaudit.data.messages import decoded, holds_turns, is_turn, messages, prompt, with_system
from rmaudit.data.profile import Profile
from rmaudit.data.types import Message, Prompt
from rmaudit.data.values import is_null

_WEAK = ("text", "user", "task", "request", "title", "article", "post", "full_text", "document")
"""Names that hold a context only where their values read like one."""


@dataclass(frozen=True)
class Assembly:
    """Which columns make the prompt, and in which order."""

    parts: tuple[str, ...] = ()  # texts, joined by a line end
    turns: str | None = None
    history: str | None = None
    system: str | None = None
    tools: str | None = None

    def __bool__(self) -> bool:
        return bool(self.reads)

    @property
    def reads(self) -> set[str]:
        """The columns that are used."""
        single = (self.turns, self.history, self.system, self.tools)
        return {*self.parts, *(name for name in single if name is not None)}

    @property
    def described(self) -> str:
        """The columns in the order in which they stand in the prompt."""
        order = (self.tools, self.system, self.history, self.turns, *self.parts)
        return " + ".join(name for name in order if name is not None)

    def prompt(self, record: Mapping[str, Any]) -> Prompt:
        """The prompt of a row; `Fault` where a column holds no context, or the row has none."""
        given: Prompt = ""
        main = (*self.parts, *(() if self.turns is None else (self.turns,)))
        if main and not any(name in record for name in main):
            raise Fault(main[0], "missing column")
        if self.turns is not None:
            given = prompt(_decoded(record.get(self.turns)), self.turns)
        else:
            values = [_decoded(record.get(name)) for name in self.parts]
            if len(values) == 1:
                given = _single(values[0], self.parts[0])
            else:
                given = "\n".join(
                    _text(value, name)
                    for value, name in zip(values, self.parts, strict=True)
                    if not is_null(value) and value != ""
                )
        earlier = record.get(self.history) if self.history else None
        before = _history(decoded(earlier) if isinstance(earlier, str) else earlier)
        if before:
            now: list[Message] = (
                [{"role": "user", "content": given}] if isinstance(given, str) else given
            )
            given = [*before, *now]
        system = record.get(self.system) if self.system else None
        tools = record.get(self.tools) if self.tools else None
        return with_system(given, system, tools)


def _decoded(value: Any) -> Any:
    """A conversation that is written as text; text that is none stays as it is."""
    return decoded(value) if isinstance(value, str) and holds_turns(value) else value


def _single(value: Any, name: str) -> Prompt:
    if isinstance(value, bool) or not isinstance(value, int | float) or is_null(value):
        return prompt(value, name)
    return str(value)


def _text(value: Any, name: str) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    raise wrong_type(name, "text", value)


def _history(value: Any) -> list[Message]:
    """Earlier turns: messages, or pairs of what was asked and answered."""
    if is_null(value) or value == "":
        return []
    if not isinstance(value, list):
        raise wrong_type("history", "a list of turns", value)
    if value and all(map(is_turn, value)):
        return messages(value, "history")
    turns: list[Message] = []
    for pair in value:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(t, str) for t in pair)
        ):
            raise wrong_type("history", "pairs of question and answer", pair)
        turns.append({"role": "user", "content": pair[0]})
        turns.append({"role": "assistant", "content": pair[1]})
    return turns


def assembly(profile: Profile, free: Mapping[str, str], has_prompt: bool) -> Assembly:
    """What makes the prompt of a table.

    Parameters
    ----------
    profile
        The table's first rows.
    free
        The columns not used otherwise: the name they are compared by, and their own.
    has_prompt
        Whether there is a column ``prompt``: then only what stands before a prompt joins it.
    """

    def first(candidates: tuple[str, ...], fits: Any) -> str | None:
        fitting = (free[n] for n in candidates if n in free and profile.filled(free[n]))
        return next((name for name in fitting if fits(name)), None)

    system, tools = first(names.SYSTEM, profile.text), first(names.TOOLS, lambda name: True)
    history = first(("history",), lambda name: not profile.text(name))
    if has_prompt:
        if not (system or tools or history):
            return Assembly()
        return Assembly((free.get("prompt", "prompt"),), None, history, system, tools)
    turns = first(tuple(n for n in names.TURNS if n != "history"), profile.turns)
    if turns is not None:
        return Assembly((), turns, history, system, tools)
    before, main, after = (
        [free[n] for n in group if n in free and _is_context(profile, free[n], n)]
        for group in (names.BEFORE, names.MAIN, names.AFTER)
    )
    if "role" in free:  # single turns of conversations, which are no prompts
        main = [name for name in main if name.lower() not in _WEAK]
    if len(main) > 1:  # "text" and "user" are a context only where nothing else is
        main = [name for name in main if name.lower() not in _WEAK] or main[:1]
    parts = (*before, *main, *after)
    if not parts:
        return Assembly((), None, history, system, tools)
    return Assembly(parts, None, history, system, tools)


def _is_context(profile: Profile, name: str, known: str) -> bool:
    if not profile.filled(name):
        return False
    if known in _WEAK:
        return profile.sentences(name)
    values = profile.values[name]
    if any(isinstance(value, dict) for value in values):
        return all(isinstance(v, dict) and isinstance(v.get("messages"), list) for v in values)
    return profile.text(name) or profile.turns(name) or profile.numbers(name)
