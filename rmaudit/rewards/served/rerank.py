"""Rerankers: `/rerank` of TEI, vLLM, infinity, Jina and Cohere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import sound
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import (
    Ask,
    WireFormat,
    by_index,
    named,
    number,
    register_protocol,
    unexpected,
)


@register_protocol
class Rerank(WireFormat):
    """A prompt is the query, its responses are the documents; one request a prompt.

    TEI calls the documents ``texts`` and answers a list of ``index`` and ``score``; the others call
    them ``documents`` and answer ``results`` with ``relevance_score``. Both names are sent, and raw
    scores are asked for (``raw_scores`` of TEI and infinity, ``use_activation`` of vLLM).
    Sources: huggingface/text-embeddings-inference, router/src/http/types.rs, `RerankRequest`
    (0d124dc); vllm-project/vllm, vllm/entrypoints/pooling/scoring/protocol.py, `RerankRequest`
    (004706d); infinity-emb 0.0.78, held to the running server by benchmarks/served_rerank.py.
    """

    name = recipe = "rerank"
    asks_for_logits = True

    def __init__(self, model: str | None) -> None:
        self._model = model

    @classmethod
    def of(cls, ask: Ask) -> Rerank:
        """See `WireFormat.of`."""
        return cls(ask.options.http_model)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        by_prompt: dict[str, list[int]] = {}
        for place, text in enumerate(texts):
            by_prompt.setdefault(sound(prompt_text(text.prompt)), []).append(place)
        found = [float("nan")] * len(texts)
        for prompt, places in by_prompt.items():
            outputs = [sound(texts[place].output) for place in places]
            for place, value in zip(places, self._one(client, prompt, outputs), strict=True):
                found[place] = value
        return found

    def _one(self, client: JsonClient, prompt: str, outputs: list[str]) -> list[float]:
        body: dict[str, Any] = {
            "query": prompt,
            "texts": outputs,
            "documents": outputs,
            "raw_scores": True,
            "use_activation": False,
            "truncate": True,
            "truncation_direction": "Left",
            "return_documents": False,
        }
        answer = client.post(body | named(self._model))
        items = answer.get("results", answer.get("data")) if isinstance(answer, dict) else answer
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise unexpected(client, answer, "a list of objects with index and score")
        if sorted(str(item.get("index")) for item in items) != sorted(
            map(str, range(len(outputs)))
        ):
            raise RewardModelError(
                f"{client.shown}: {len(items)} scores came back for {len(outputs)} responses, or "
                "their index is missing; a reranker must answer all of them"
            )
        ordered = by_index(items, lambda item: item["index"])
        return [number(client, item.get("score", item.get("relevance_score"))) for item in ordered]
