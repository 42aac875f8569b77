"""From (prompt, output) to the one text a model reads, and where in it the output stands."""

from __future__ import annotations

import datetime
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmaudit.data.messages import continues, for_template
from rmaudit.data.types import Message, Prompt, prompt_text, turn_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Text

DEFAULT_FORMAT = "{prompt}\n\n{output}"

_SURROGATE = re.compile("[\ud800-\udfff]")
_PROBE, _OTHER_PROBE = "rmaudit-output-probe", "another-probe"
_log = logging.getLogger(__name__)


_DIRECTIVES = [*(f"-{code}" for code in "dmHIMS"), *"aAbBcdDeFHIjmMpSTUwWxXyYfzZ"]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A text as the tokenizer sees it; the output is `text[start:end]`."""

    text: str
    start: int
    end: int


class FormatRenderer:
    r"""Makes texts from a format such as ``"{prompt}\n\n{output}"``.

    Message lists become ``"User: ...\n\nAssistant: ..."``. What continues a prompt of plain text
    (behind an ``Assistant:``, or with white space of its own) follows it as it was: white space of
    the format is not put between the two.

    Raises
    ------
    UsageError
        If the format has no ``{output}``, or has ``{prompt}`` after it: a reward is read where
        the output ends, and truncation takes what comes first.
    """

    def __init__(self, format: str = DEFAULT_FORMAT) -> None:
        before, place, self._after = format.partition("{output}")
        if not place or "{prompt}" in self._after or "{output}" in self._after:
            raise UsageError(
                f"format {format!r}: it must contain {{output}} once, after {{prompt}}; "
                f"the default is {DEFAULT_FORMAT!r}"
            )
        self._before = before
        gap = before.rpartition("{prompt}")[2]
        self._gap = gap if gap.isspace() and "{prompt}" in before else ""

    def render(self, texts: Sequence[Text]) -> list[Rendered]:
        """One text each."""
        rendered = []
        for text in texts:
            before = self._before.replace("{prompt}", sound(prompt_text(text.prompt)))
            if self._gap and isinstance(text.prompt, str) and continues(text.prompt, text.output):
                before = before.removesuffix(self._gap)
            output = sound(text.output)
            end = len(before) + len(output)
            rendered.append(Rendered(before + output + self._after, len(before), end))
        return rendered


class TemplateRenderer:
    """Makes texts with the tokenizer's chat template.

    A string prompt is one user message, the output is the assistant's. Where a template refuses
    the messages (system turns, roles that do not alternate), they are joined into ones it takes.

    Parameters
    ----------
    tokenizer
        Renders, and has a chat template of its own if none is given.
    template
        Jinja source, in place of the tokenizer's own.
    day
        What ``strftime_now`` gives a template; None: the moment of rendering.
    """

    def __init__(
        self, tokenizer: Any, template: str | None = None, day: datetime.date | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._options: dict[str, Any] = {} if template is None else {"chat_template": template}
        if day is not None:
            source = template if template is not None else tokenizer.get_chat_template()
            self._options["chat_template"] = fixed_day(source, day)
        source = template if template is not None else str(tokenizer.chat_template)
        self._writes_calls = "tool_calls" in source
        # What the template writes behind every output; unknown if it rewrites outputs.
        probed = self._apply(Text("", _PROBE))
        if probed == self._apply(Text("", _OTHER_PROBE)):
            raise RewardModelError(
                "the chat template writes nothing of the response, so every response would have "
                "one reward; give one that does with --template FILE, or none with --template none"
            )
        _, unchanged, tail = probed.partition(_PROBE)
        self._tail = tail if unchanged else None
        self._drops_system = self._leaves_out_system()

    def render(self, texts: Sequence[Text]) -> list[Rendered]:
        """One text each."""
        if self._drops_system and any(_begins_with_system(text.prompt) for text in texts):
            self._drops_system = False  # said once
            _log.warning("the chat template leaves system turns out: the model never sees them")
        return [self._locate(text, self._apply(text)) for text in texts]

    def _leaves_out_system(self) -> bool:
        turns: list[Message] = [
            {"role": "system", "content": _PROBE},
            {"role": "user", "content": _OTHER_PROBE},
        ]
        try:
            return _PROBE not in self._apply(Text(turns, _OTHER_PROBE))
        except RewardModelError:  # said where a text has one
            return False

    def _apply(self, text: Text) -> str:
        messages, tools = self._turns(text)
        try:
            return self._template(messages, tools)
        except Exception:  # templates raise what they like
            try:
                return self._template(_alternating(chat_messages(text)))
            except Exception as error:
                raise RewardModelError(
                    f"the chat template refuses the messages: {error}; repair the prompt's roles "
                    "or the model's template"
                ) from error

    def _turns(self, text: Text) -> tuple[list[Message], list[Any] | None]:
        """The messages, with calls and tools apart where the template writes them itself."""
        messages = chat_messages(text)
        if not self._writes_calls or (
            isinstance(text.prompt, str) and "<tool_call>" not in text.output
        ):
            return messages, None
        turns = text.prompt or [{"role": "user", "content": ""}]
        if isinstance(turns, str):
            turns = [{"role": "user", "content": turns}]
        return for_template(
            [{**t, "content": sound(t["content"])} for t in turns], sound(text.output)
        )

    def _template(self, messages: Sequence[Message], tools: list[Any] | None = None) -> str:
        given = self._options if tools is None else {**self._options, "tools": tools}
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, **given))

    def until_turns(self, text: Text) -> tuple[str, list[str]]:
        """The whole text, and the text up to the end of each of the assistant's turns.

        Raises
        ------
        RewardModelError
            If the template writes earlier turns otherwise once others follow.
        """
        messages = chat_messages(text)
        whole = self._template(messages)
        ends = [i + 1 for i, turn in enumerate(messages) if turn["role"] == "assistant"]
        starts = [self._template(messages[:end]).rstrip() for end in ends[:-1]]
        if not all(whole.startswith(start) for start in starts):
            raise RewardModelError(
                "the chat template writes a turn otherwise when others follow, so where a turn "
                "ends is open; give one that does not, with --template FILE"
            )
        return whole, [*starts, whole.rstrip()]

    def _locate(self, text: Text, rendered: str) -> Rendered:
        """Where the output stands: before the template's constant tail, perhaps stripped."""
        output = sound(text.output)
        if self._tail is not None:
            end = len(rendered) - len(self._tail)
            for shown in (output, output.strip(), output.rstrip(), output.lstrip()):
                if rendered.endswith(shown + self._tail):
                    return Rendered(rendered, end - len(shown), end)
        # A template that rewrites the output: what it would not have written for an empty one.
        without = self._apply(Text(text.prompt, ""))
        start = _common(rendered, without)
        after = _common(rendered[start:][::-1], without[start:][::-1])
        return Rendered(rendered, start, len(rendered) - after)


def _begins_with_system(prompt: Prompt) -> bool:
    return not isinstance(prompt, str) and bool(prompt) and prompt[0]["role"] == "system"


Renderer = FormatRenderer | TemplateRenderer


def fixed_day(template: str, day: datetime.date) -> str:
    """A chat template whose ``strftime_now`` gives a day's beginning, whatever the clock says.

    A macro in place of transformers' function; what stands behind it keeps the template's own
    first line break.
    """
    table = json.dumps(_directives(day))
    return (
        "{% macro strftime_now(format) %}{% set made = namespace(text=format) %}"
        f"{{% for directive, value in {table}.items() %}}"
        "{% set made.text = made.text | replace(directive, value) %}{% endfor %}"
        "{{ made.text }}{% endmacro %}{{ '' }}" + template
    )


def _directives(day: datetime.date) -> dict[str, str]:
    """What each directive of ``strftime`` gives at the beginning of a day."""
    moment = datetime.datetime(day.year, day.month, day.day)
    return {f"%{code}": moment.strftime(f"%{code}") for code in _DIRECTIVES}


def _common(one: str, other: str) -> int:
    """Length of the common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def sound(text: str) -> str:
    """Tokenizers cannot take lone surrogates: each becomes the replacement character."""
    return _SURROGATE.sub("\ufffd", text)


def chat_messages(text: Text) -> list[Message]:
    """The turns of a text: its prompt's, then the output as the assistant's.

    Tools and tool calls are written into the turns' text.
    """
    prompt = text.prompt
    # No prompt at all is an empty user turn: many templates insist on one.
    turns: list[Message] = (
        [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    ) or [{"role": "user", "content": ""}]
    clean: list[Message] = [
        {"role": "system", "content": sound(f"Tools: {turn['content']}")}
        if turn["role"] == "tools"
        else {"role": turn["role"], "content": sound(turn_text(turn))}
        for turn in turns
    ]
    return [*clean, {"role": "assistant", "content": sound(text.output)}]


def _alternating(messages: Sequence[Message]) -> list[Message]:
    """The same words as user, assistant, user, ...: neighbours of one side are joined."""
    output = messages[-1]
    joined: list[Message] = []
    for message in messages[:-1]:
        role = "assistant" if message["role"] == "assistant" else "user"
        if joined and joined[-1]["role"] == role:
            joined[-1]["content"] += "\n\n" + message["content"]
        else:
            joined.append({"role": role, "content": message["content"]})
    if joined[0]["role"] == "assistant":
        joined.insert(0, {"role": "user", "content": ""})
    if joined[-1]["role"] == "assistant":
        joined.append({"role": "user", "content": ""})
    return [*joined, output]
