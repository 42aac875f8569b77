"""A plain endpoint: `{"texts": [...]}` in, `{"rewards": [...]}` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import sound
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import (
    Ask,
    WireFormat,
    named,
    register_protocol,
    rewards,
    unexpected,
)

_KEYS = ("rewards", "scores")


@register_protocol
class Plain(WireFormat):
    """A plain endpoint.

    Gets ``{"texts": [{"prompt": ..., "output": ...}, ...]}``, a prompt being a string or a list of
    messages, and answers ``{"rewards": [...]}``, ``{"scores": [...]}`` or a list: one number a
    text, or a list of that one number.
    """

    name = recipe = "json"

    def __init__(self, model: str | None) -> None:
        self._model = model

    @classmethod
    def of(cls, ask: Ask) -> Plain:
        """See `WireFormat.of`."""
        return cls(ask.options.http_model)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        body: dict[str, Any] = {"texts": [_plain(text) for text in texts]}
        answer = client.post(body | named(self._model))
        if not isinstance(answer, dict):
            return rewards(client, answer, len(texts))
        keys = [key for key in _KEYS if key in answer]
        if not keys:
            wanted = f"a list or an object with a list {' or '.join(map(repr, _KEYS))}"
            raise unexpected(client, answer, wanted)
        return rewards(client, answer[keys[0]], len(texts))


def _plain(text: Text) -> dict[str, Any]:
    prompt = text.prompt
    if isinstance(prompt, str):
        return {"prompt": sound(prompt), "output": sound(text.output)}
    turns = [{"role": turn["role"], "content": sound(turn["content"])} for turn in prompt]
    return {"prompt": turns, "output": sound(text.output)}
