"""NVIDIA NIM's reward models: a chat completion that says `reward:-3.28`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import chat_messages
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.judge import completions
from rmaudit.rewards.served.wire import Ask, WireFormat, register_protocol, unexpected

_REWARD = re.compile(r"^\s*reward\s*:\s*(?P<n>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*$")


@register_protocol
class Nim(WireFormat):
    """A reward model behind ``/v1/chat/completions``: it gets the conversation, the response last.

    The reply is ``reward:`` and a number with its sign; a reply of another form is an error, since
    a model that writes anything else is no reward model.
    Source: NVIDIA's API reference of Llama-3.1-Nemotron-70B-Reward.
    """

    name = recipe = "nim"
    texts_a_request = 1

    def __init__(self, model: str | None) -> None:
        if model is None:
            raise UsageError("--http-format nim: say which model scores with --http-model NAME")
        self._model = model

    @classmethod
    def of(cls, ask: Ask) -> Nim:
        """See `WireFormat.of`."""
        return cls(ask.options.http_model)

    @classmethod
    def address(cls, url: str) -> str:
        """See `WireFormat.address`."""
        return completions(url)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        return [self._one(client, text) for text in texts]

    def _one(self, client: JsonClient, text: Text) -> float:
        answer: Any = client.post({"model": self._model, "messages": chat_messages(text)})
        try:
            reply = str(answer["choices"][0]["message"]["content"])
        except (KeyError, IndexError, TypeError):
            raise unexpected(client, answer, "a chat completion") from None
        match = _REWARD.match(reply)
        if match is None:
            raise unexpected(client, reply, 'a reply such as "reward:-3.28"')
        return float(match["n"])
