"""SGLang's `/classify`: the reward in the place of an embedding."""

from __future__ import annotations

from collections.abc import Sequence

from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT, FormatRenderer
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import (
    Ask,
    WireFormat,
    named,
    one_head,
    register_protocol,
    rewards,
    unexpected,
)


@register_protocol
class SgLang(WireFormat):
    """SGLang's ``/classify`` of a reward model (started with ``--is-embedding``).

    Texts are made with the format, since SGLang puts them through no chat template; it answers a
    list of objects, the values of the heads under ``embedding``.
    Source: SGLang's documentation, "Native APIs", section /classify (reward model), and
    sgl-project/sglang, python/sglang/srt/entrypoints/http_server.py (0025436).
    """

    name = "sglang"
    asks_for_logits = True
    takes = frozenset({"format", "head"})

    def __init__(self, model: str | None, format: str | None, head: int | None) -> None:
        format = DEFAULT_FORMAT if format is None else format
        self._model, self._head = model, head
        self._renderer = FormatRenderer(format)
        self.recipe = f"sglang {format} head {head}"

    @classmethod
    def of(cls, ask: Ask) -> SgLang:
        """See `WireFormat.of`."""
        return cls(ask.options.http_model, ask.format, ask.head)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        body = {"text": [each.text for each in self._renderer.render(texts)]}
        answer = client.post(body | named(self._model))
        items = [answer] if isinstance(answer, dict) and len(texts) == 1 else answer
        if not isinstance(items, list) or not all(
            isinstance(item, dict) and "embedding" in item for item in items
        ):
            raise unexpected(client, answer, 'a list of objects with "embedding"')
        values = [one_head(client, item["embedding"], self._head) for item in items]
        return rewards(client, values, len(texts))
