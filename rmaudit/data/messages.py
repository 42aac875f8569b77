"""Prompts and outputs from text or message lists, explicit or implicit, as TRL reads them.

The rules are those of TRL's dataset formats (`extract_prompt` and `maybe_extract_prompt` in
trl/data_utils.py), so that what trains also audits.
"""

from __future__ import annotations

from typing import Any

from rmaudit.data.faults import Fault, wrong_type
from rmaudit.data.types import Message, Prompt


def messages(value: list[Any], column: str) -> list[Message]:
    """Turns with a role and text; other keys of a turn are dropped.

    Content may be a list of text parts, which are joined.

    Raises
    ------
    Fault
        If a turn is no object with a role, or its content is not text.
    """
    turns: list[Message] = []
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            raise Fault(column, "not a message list", "each turn needs a role and content")
        content = turn.get("content")
        if isinstance(content, list):
            content = _joined(content, column)
        if not isinstance(content, str):
            detail = f"the {turn['role']} turn holds {type(content).__name__}"
            raise Fault(column, "message content is not text", detail)
        turns.append({"role": turn["role"], "content": content})
    return turns


def _joined(parts: list[Any], column: str) -> str:
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise Fault(column, "message content is not text", "a part of it is not of type text")
    return "".join(texts)  # type: ignore[arg-type]


def prompt(value: Any, column: str = "prompt") -> Prompt:
    """A prompt as given; null is no prompt."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return messages(value, column)
    if is_null(value):
        return ""
    raise wrong_type(column, "text or a message list", value)


def output(value: Any, column: str) -> tuple[list[Message], str]:
    """The turns before the last one, and the text of the last, which is the assistant's."""
    if isinstance(value, str):
        return [], value
    if not isinstance(value, list):
        raise wrong_type(column, "text or a message list", value)
    turns = messages(value, column)
    if not turns or turns[-1]["role"] != "assistant":
        raise Fault(column, "does not end with an assistant turn")
    return turns[:-1], turns[-1]["content"]


def context(given: Prompt, before: list[Message]) -> Prompt:
    """What an output answers: the prompt, and the turns that came with the output.

    Those turns often repeat the prompt; then they stand for it.
    """
    if not before:
        return given
    if isinstance(given, str):
        # TRL: beside conversational outputs, a prompt of plain text repeats their first turns.
        if not given or before[0]["role"] != "assistant":
            return before
        given = [{"role": "user", "content": given}]
    return before if before[: len(given)] == given else given + before


def extract_prompt(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt, chosen and rejected from two texts that begin with their common prompt.

    The prompt is the longest common prefix, less one space at its end. Where one text begins
    with the other, the last character of the shorter one is left to the outputs.
    """
    shorter = min(len(chosen), len(rejected))
    end = next((i for i in range(shorter) if chosen[i] != rejected[i]), max(shorter - 1, 0))
    if end < shorter and end > 0 and chosen[end] != rejected[end] and chosen[end - 1] == " ":
        end -= 1
    return chosen[:end], chosen[end:], rejected[end:]


def is_null(value: Any) -> bool:
    """Null, or the NaN that stands for it in tables."""
    return value is None or (isinstance(value, float) and value != value)
