"""Parts of a text that transforms work on: prose outside code, sentences, words, the request."""

from __future__ import annotations

import re
from collections.abc import Callable

from rmaudit.data.types import Prompt

_CODE = re.compile(r"(```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`|https?://\S+)", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
_CUE = re.compile(r"\s*\n+\s*(?:assistant|ai|bot|response|answer)\s*:\s*\Z", re.IGNORECASE)


def in_prose(text: str, change: Callable[[str], str]) -> str:
    """The text with its prose changed; code and addresses stay, for a letter changes their meaning.

    `change` is called once a stretch of prose, in order.
    """
    parts = _CODE.split(text)  # prose and code in turn
    return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, without the white space between them."""
    found, start = [], 0
    for gap in _SENTENCE.finditer(text):
        found.append(text[start : gap.end()].rstrip())
        start = gap.end()
    return [part for part in [*found, text[start:].rstrip()] if part.strip()]


def like(model: str, word: str) -> str:
    """A word in the case of another: all capitals, a first capital, or as it is."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if model[:1].isupper() else word


def request_of(prompt: Prompt) -> str:
    """What is asked: the last turn of the user, or the whole of a plain prompt."""
    if isinstance(prompt, str):
        return _parted(prompt)[0]
    return prompt[-1]["content"] if prompt else ""


def with_request(prompt: Prompt, request: str) -> Prompt:
    """The prompt with its `request_of` replaced."""
    if isinstance(prompt, str):
        return request + _parted(prompt)[1]
    return [*prompt[:-1], {"role": prompt[-1]["role"], "content": request}]


def _parted(prompt: str) -> tuple[str, str]:
    """A plain prompt without the cue that it may end with ("Assistant:"), and that cue."""
    cue = _CUE.search(prompt)
    return (prompt[: cue.start()], prompt[cue.start() :]) if cue else (prompt, "")
