"""vLLM's `/pooling`, `/classify` and `/score`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from rmaudit.data.types import prompt_text
from rmaudit.errors import UsageError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import FormatRenderer, chat_messages, sound
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import (
    Ask,
    WireFormat,
    by_index,
    named,
    one_head,
    register_protocol,
    rewards,
    unexpected,
)

_PATHS = ("pooling", "classify", "score")


@register_protocol
class Vllm(WireFormat):
    """vLLM's ``/pooling``, ``/classify`` and ``/score``, whichever the URL ends in.

    The first two get message lists, which the server puts through its chat template (one text a
    request, as vLLM takes them), or plain texts if a format is given. ``/score`` gets prompts and
    outputs as pairs. Activations are switched off (``use_activation``, vLLM 0.11 and later), so
    that rewards are logits, not probabilities. Where every token has a value, the last token's is
    the reward. A maximum length is ``truncate_prompt_tokens``; the last tokens are kept, which
    releases that know ``truncation_side`` have to be told.
    Sources: vllm-project/vllm, vllm/entrypoints/pooling/base/protocol.py (020638a),
    pooling/protocol.py (01cfbaf) and scoring/protocol.py (004706d) beside it.
    """

    name = "vllm"
    asks_for_logits = True
    takes = frozenset({"format", "head", "max_length"})

    def __init__(self, path: str, ask: Ask) -> None:
        self._path = path.rstrip("/").rpartition("/")[2]
        if self._path not in _PATHS:
            raise UsageError(
                f"--http-format vllm: the URL must end in /{', /'.join(_PATHS)}, e.g. "
                "http://localhost:8000/pooling"
            )
        self._model, self._head = ask.options.http_model, ask.head
        self._renderer = None if ask.format is None else FormatRenderer(ask.format)
        chat = self._renderer is None and self._path != "score"
        if self._path == "score" and ask.format is not None:
            raise UsageError("--http-format vllm: /score makes pairs itself: leave out --format")
        self.texts_a_request = 1 if chat else 16
        self._options: dict[str, Any] = {"use_activation": False}
        if ask.max_length is not None:
            self._options |= {"truncate_prompt_tokens": ask.max_length, "truncation_side": "left"}
        made = "messages" if chat else ask.format
        self.recipe = f"vllm {self._path} {made} head {ask.head} length {ask.max_length}"

    @classmethod
    def of(cls, ask: Ask) -> Vllm:
        """See `WireFormat.of`."""
        return cls(urlsplit(ask.url).path, ask)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        answer = client.post(self._body(texts) | named(self._model) | self._options)
        items = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise unexpected(client, answer, 'an object with a list "data"')
        field = {"pooling": "data", "classify": "probs", "score": "score"}[self._path]
        ordered = by_index(items, lambda item: item.get("index"))
        values = [one_head(client, item.get(field), self._head) for item in ordered]
        return rewards(client, values, len(texts))

    def _body(self, texts: Sequence[Text]) -> dict[str, Any]:
        if self._path == "score":
            return {
                "text_1": [sound(prompt_text(text.prompt)) for text in texts],
                "text_2": [sound(text.output) for text in texts],
            }
        if self._renderer is not None:
            return {"input": [each.text for each in self._renderer.render(texts)]}
        return {"messages": chat_messages(texts[0]), "add_generation_prompt": False}
