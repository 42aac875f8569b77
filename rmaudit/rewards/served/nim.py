"""NVIDIA NIM's reward models: a chat completion that says `reward:-3.28`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import chat_messages
from rmaudit.rewards.served.chat import completions
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import Ask, WireFormat, register_protocol, unexpected

_ATTRIBUTE = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*:\s*(?P<n>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
)


@register_protocol
class Nim(WireFormat):
    """A reward model behind ``/v1/chat/completions``: it gets the conversation, the response last.

    The reply is ``reward:`` and a number with its sign, or several attributes, of which a head is
    one (``helpfulness:1.6,correctness:1.5``); a reply of another form is an error, since a model
    that writes anything else is no reward model.
    Source: NVIDIA's documentation "Use Reward Models with NVIDIA NIM for LLMs" (1.2.0 to latest).
    """

    name = "nim"
    texts_a_request = 1
    takes = frozenset({"head"})

    def __init__(self, model: str | None, head: int | None = None) -> None:
        if model is None:
            raise UsageError("--http-format nim: say which model scores with --http-model NAME")
        self._model, self._head = model, head
        self.recipe = "nim" if head is None else f"nim head {head}"

    @classmethod
    def of(cls, ask: Ask) -> Nim:
        """See `WireFormat.of`."""
        return cls(ask.options.http_model, ask.head)

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
        parts = [_ATTRIBUTE.fullmatch(part) for part in reply.strip().split(",")]
        named = {match["name"]: float(match["n"]) for match in parts if match is not None}
        if len(named) < len(parts):
            raise unexpected(client, reply, 'a reply such as "reward:-3.28"')
        if self._head is None and "reward" in named:
            return named["reward"]
        if self._head is None:
            listed = ", ".join(f"{i} = {name}" for i, name in enumerate(named))
            raise RewardModelError(
                f"{client.shown}: the reply has the attributes {client.scrub(listed)} and no "
                "reward; say which one it is with --head N"
            )
        if self._head >= len(named):
            raise RewardModelError(f"{client.shown}: there is no head {self._head}")
        return list(named.values())[self._head]
