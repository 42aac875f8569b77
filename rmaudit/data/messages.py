"""Prompts and outputs from text or message lists, explicit or implicit.

Message lists follow TRL's dataset formats (trl/data_utils.py); turns may also be written as
ShareGPT does (``from``, ``value``), and one message may stand for a list of one.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from rmaudit.data.faults import Fault, wrong_type
from rmaudit.data.types import Message, Prompt, turn_text
from rmaudit.data.values import is_null

ROLES: Mapping[str, str] = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "prompter": "user",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool_response": "tool",
    "observation": "tool",
    "function": "tool",
    "ipython": "tool",
}
"""Other names of roles: ShareGPT's, Gemini's, OpenAssistant's, LLaMA-Factory's."""
KEPT = ("tool_calls", "tool_call_id", "name", "reasoning_content")
"""Keys of a turn, beside role and content, that chat templates read."""
_READ = {"role", "content", "from", "value", "type", "images", "image", *KEPT}
_CALL = re.compile(r"\n?<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)
# Where the last turn of a conversation written as text begins, as HH and its followers write it.
_TURN = re.compile(
    r"(?:^|\n)\s*(?:#{1,4} ?)?(?:Assistant|ASSISTANT|Response|Bot|AI|Answer)\s*:|"
    r"<\|(?:im_start\|>|start_header_id\|>)?assistant(?:<\|end_header_id)?\|?>?|"
    r"\[/INST\]|<start_of_turn>model"
)


def is_turn(value: Any) -> bool:
    """Whether a value looks like one turn of a conversation."""
    return isinstance(value, dict) and (
        isinstance(value.get("role"), str) or isinstance(value.get("from"), str)
    )


def messages(value: Any, column: str) -> list[Message]:
    """Turns with a role, text, and what chat templates read beside them (`KEPT`).

    Content may be a list of text parts, which are joined, or null beside tool calls.

    Raises
    ------
    Fault
        If a turn is no object with a role, or its content is not text.
    """
    return [_message(turn, column) for turn in ([value] if isinstance(value, dict) else value)]


def _message(turn: Any, column: str) -> Message:
    if not is_turn(turn):
        raise Fault(column, "not a message list", "each turn needs a role and content")
    said = "role" if isinstance(turn.get("role"), str) else "from"
    role = turn[said]
    content = turn.get("content") if "content" in turn or said == "role" else turn.get("value")
    if isinstance(content, list):
        content = _joined(content, column)
    calls = turn.get("tool_calls")
    if is_null(content) and calls:
        content = ""
    if not isinstance(content, str):
        kind = "null" if content is None else type(content).__name__
        raise Fault(column, "message content is not text", f"the {role} turn holds {kind}")
    message: Message = {"role": ROLES.get(role, role), "content": content}
    if len(turn) > 2:
        if calls:
            message["tool_calls"] = [_call(call, column) for call in _calls(calls, column)]
        for key in KEPT[1:]:
            if isinstance(turn.get(key), str):
                message[key] = turn[key]  # type: ignore[literal-required]
    return message


def unread_keys(value: Any) -> set[str]:
    """Keys of turns that nothing reads, for the line that names them."""
    turns = [value] if isinstance(value, dict) else value
    if not isinstance(turns, list):
        return set()
    return {
        key
        for turn in turns
        if is_turn(turn)
        for key, given in turn.items()
        if key not in _READ and not is_null(given)
    }


def _calls(value: Any, column: str) -> list[Any]:
    calls = decoded(value) if isinstance(value, str) else value
    if not isinstance(calls, list):
        raise Fault(column, "tool_calls are no list", f"found {type(calls).__name__}")
    return calls


def _call(call: Any, column: str) -> dict[str, Any]:
    """A call in the form that chat templates take: its arguments are an object, not its JSON."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Fault(column, "tool_calls name no function", "each needs function.name")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):  # what a model wrote need not be JSON
            arguments = json.loads(arguments)
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def assistant_turn(output: str) -> Message:
    """The turn of an output: calls that `turn_text` wrote into it are calls again."""
    calls = []
    for match in _CALL.finditer(output) if "<tool_call>" in output else ():
        try:
            function = json.loads(match[1])
        except (ValueError, RecursionError):
            function = None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return {"role": "assistant", "content": output}
        calls.append({"type": "function", "function": function})
    if not calls:
        return {"role": "assistant", "content": output}
    return {"role": "assistant", "content": _CALL.sub("", output), "tool_calls": calls}


def _joined(parts: list[Any], column: str) -> str:
    texts = []
    for part in parts:
        text = part.get("text", part.get("value")) if isinstance(part, dict) else part
        if not isinstance(text, str):
            kind = part.get("type", "") if isinstance(part, dict) else type(part).__name__
            detail = (
                f"a part of it is {kind}, and images, audio and video are not read"
                if kind in ("image", "image_url", "audio", "input_audio", "video", "input_image")
                else "a part of it is not of type text"
            )
            raise Fault(column, "message content is not text", detail)
        texts.append(text)
    return "".join(texts)


def prompt(value: Any, column: str = "prompt") -> Prompt:
    """A prompt as given; null is no prompt."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) or is_turn(value):
        return messages(value, column)
    if is_null(value):
        return ""
    if holds_turns(value):
        return with_system(messages(value["messages"], column), None, value.get("tools"))
    raise wrong_type(column, "text or a message list", value)


def output(value: Any, column: str) -> tuple[list[Message], str]:
    """The turns before the last one, and the text of the last, which is the assistant's."""
    if isinstance(value, str):
        return [], value
    if not isinstance(value, list) and not is_turn(value):
        raise wrong_type(column, "text or a message list", value)
    turns = messages(value, column)
    if not turns or turns[-1]["role"] != "assistant":
        raise Fault(column, "does not end with an assistant turn")
    return turns[:-1], turn_text(turns[-1])


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


def with_system(given: Prompt, system: Any, tools: Any = None) -> Prompt:
    """The prompt behind its system turn and its tools, which come as a turn of role ``tools``.

    Raises
    ------
    Fault
        If the system turn is no text, or the prompt neither text nor turns.
    """
    first: list[Message] = []
    if isinstance(tools, str) and tools.strip():
        tools = decoded(tools)
    if isinstance(tools, list) and tools:
        first.append({"role": "tools", "content": json.dumps(tools, ensure_ascii=False)})
    if isinstance(system, str) and system.strip():
        first.append({"role": "system", "content": system})
    elif not is_null(system) and not isinstance(system, str):
        raise wrong_type("system", "text", system)
    if not first:
        return given
    if not isinstance(given, str | list):
        raise wrong_type("prompt", "text or a list of messages", given)
    turns: list[Message] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else list(given)
    )
    if turns and first[-1] == turns[0]:  # the system turn is in the prompt already
        first.pop()
    return first + turns


def extract_prompt(chosen: str, rejected: str) -> tuple[str, str, str]:
    """Prompt, chosen and rejected from two texts that begin with their common prompt.

    Where both hold the same turns up to an ``Assistant:`` (or a chat template's mark for it), the
    outputs begin behind the last such mark. Elsewhere they begin where the texts first differ, at
    the start of that word: never within one, and never with one letter where one text begins with
    the other. Prompt and output together are the text as it was.
    """
    shorter = min(len(chosen), len(rejected))
    end = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    marks = [mark.end() for mark in _TURN.finditer(chosen, 0, min(len(chosen), end + 32))]
    marks = [mark for mark in marks if mark <= end]
    if marks:
        end = marks[-1]
    elif end == len(chosen) == len(rejected):
        end = 0  # equal texts without turns: what of them is the prompt cannot be told
    else:
        while end > 0 and not chosen[end - 1].isspace():
            end -= 1
        while end > 0 and chosen[end - 1].isspace():
            end -= 1  # white space belongs to the word behind it, as in TRL
    return chosen[:end], chosen[end:], rejected[end:]


def holds_turn_mark(text: str) -> bool:
    """Whether a text has an ``Assistant:``, or a chat template's mark for it."""
    return _TURN.search(text) is not None


def decoded(text: str) -> Any:
    """The list or object that a cell holds as JSON or as Python writes it; else its text."""
    stripped = text.strip()
    if not stripped or stripped[0] not in "[{" or stripped[-1] not in "]}":
        return text
    try:
        return json.loads(stripped)
    except (ValueError, RecursionError):
        pass
    # A numpy array of objects is printed without commas between them.
    for source in (stripped, re.sub(r"\}\s*\n\s*\{", "}, {", stripped)):
        try:
            value = ast.literal_eval(source)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, list | dict) else text
    return text


def holds_turns(value: Any) -> bool:
    """Whether a value is a conversation, or text that one is written in."""
    if isinstance(value, str):
        if "role" not in value and "from" not in value:
            return False
        value = decoded(value)
    if isinstance(value, dict) and not is_turn(value):
        value = value.get("messages")
    if isinstance(value, dict):
        return is_turn(value)
    return isinstance(value, list) and bool(value) and all(map(is_turn, value))


def for_template(turns: list[Message], output: str) -> tuple[list[Message], list[Any] | None]:
    """The turns of a text as chat templates take them, and the tools that stand before them."""
    tools = None
    if turns and turns[0]["role"] == "tools":
        tools = decoded(turns[0]["content"])
        turns = turns[1:]
    return [*turns, assistant_turn(output)], tools if isinstance(tools, list) else None


def continues(prompt: str, output: str) -> bool:
    """Whether an output goes on with a text where its prompt ends, as implicit prompts are cut."""
    if not prompt or output[:1].isspace():
        return bool(prompt)
    tail = prompt[-64:].rstrip()
    return any(mark.end() == len(tail) for mark in _TURN.finditer(tail))
