"""Text Embeddings Inference's `/predict`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT, FormatRenderer
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import Ask, WireFormat, register_protocol, rewards, unexpected


@register_protocol
class Tei(WireFormat):
    """Text Embeddings Inference's ``/predict``: raw scores of a sequence classifier.

    Texts are made with the format; overlong ones lose their beginning on the server.
    Source: huggingface/text-embeddings-inference, router/src/http/types.rs, `PredictRequest` and
    `PredictInput` (0d124dc).
    """

    name = "tei"
    asks_for_logits = True
    takes = frozenset({"format", "head"})

    def __init__(self, format: str | None, head: int | None) -> None:
        format = DEFAULT_FORMAT if format is None else format
        self._renderer = FormatRenderer(format)
        self._head = head
        self.recipe = f"tei {format} head {head}"

    @classmethod
    def of(cls, ask: Ask) -> Tei:
        """See `WireFormat.of`."""
        return cls(ask.format, ask.head)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        body = {
            "inputs": [[each.text] for each in self._renderer.render(texts)],
            "raw_scores": True,
            "truncate": True,
            "truncation_direction": "Left",
        }
        answer = client.post(body)
        if not isinstance(answer, list):
            raise unexpected(client, answer, "a list")
        return rewards(client, [self._value(client, labels) for labels in answer], len(texts))

    def _value(self, client: JsonClient, labels: Any) -> Any:
        """The score of the one label there is, or of ``LABEL_<head>``."""
        if not isinstance(labels, list) or not all(isinstance(each, dict) for each in labels):
            raise unexpected(client, labels, "a list of labels a text")
        if self._head is None and len(labels) == 1:
            return labels[0].get("score")
        by_label = {str(each.get("label")): each.get("score") for each in labels}
        wanted = f"LABEL_{self._head}"
        if wanted not in by_label:  # TEI sorts by score, so the place of a label says nothing
            raise RewardModelError(
                f"{client.shown}: the model has the labels {client.scrub(', '.join(by_label))}; "
                "say --head N for the reward's LABEL_N"
            )
        return by_label[wanted]
