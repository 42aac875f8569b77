"""What reward servers want to be sent, and where in their answers the rewards are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT, FormatRenderer, chat_messages, sound
from rmaudit.rewards.served.client import JsonClient

_VLLM_PATHS = ("pooling", "classify", "score")


class WireFormat(ABC):
    """One kind of server: a request made of texts, and rewards made of its answer."""

    name: str
    recipe: str  # whatever decides about rewards beside URL and model: it enters the fingerprint
    texts_a_request: int = 16

    @abstractmethod
    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """Rewards of at most `texts_a_request` texts, in order; null and NaN become NaN."""


class Generic(WireFormat):
    """A plain endpoint.

    Gets ``{"texts": [{"prompt": ..., "output": ...}, ...]}``, a prompt being a string or a list of
    messages, and answers ``{"rewards": [...]}`` or a list, one number a text.
    """

    name = recipe = "json"

    def __init__(self, model: str | None) -> None:
        self._model = model

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        body: dict[str, Any] = {"texts": [_plain(text) for text in texts]}
        answer = client.post(body | _named(self._model))
        values = answer.get("rewards") if isinstance(answer, dict) else answer
        return rewards(client, values, len(texts))


class Vllm(WireFormat):
    """vLLM's ``/pooling``, ``/classify`` and ``/score``, whichever the URL ends in.

    The first two get message lists, which the server puts through its chat template (one text a
    request, as vLLM takes them), or plain texts if a format is given. ``/score`` gets prompts and
    outputs as pairs. Activations are switched off (``use_activation``, vLLM 0.11 and later), so
    that rewards are logits, not probabilities. Where every token has a value, the last token's is
    the reward.
    """

    name = "vllm"

    def __init__(self, path: str, model: str | None, format: str | None, head: int | None) -> None:
        self._path = path.rstrip("/").rpartition("/")[2]
        if self._path not in _VLLM_PATHS:
            raise UsageError(
                f"--http-format vllm: the URL must end in /{', /'.join(_VLLM_PATHS)}, e.g. "
                "http://localhost:8000/pooling"
            )
        self._model, self._head = model, head
        self._renderer = None if format is None else FormatRenderer(format)
        chat = self._renderer is None and self._path != "score"
        self.texts_a_request = 1 if chat else 16
        self.recipe = f"vllm {self._path} {'messages' if chat else format} head {head}"

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        answer = client.post(self._body(texts) | _named(self._model) | {"use_activation": False})
        items = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise unexpected(client, answer, 'an object with a list "data"')
        places = [item.get("index", place) for place, item in enumerate(items)]
        if sorted(map(str, places)) == sorted(map(str, range(len(items)))):
            items = [
                item for _, item in sorted(zip(places, items, strict=True), key=lambda p: p[0])
            ]
        field = {"pooling": "data", "classify": "probs", "score": "score"}[self._path]
        return rewards(client, [self._value(client, item.get(field)) for item in items], len(texts))

    def _body(self, texts: Sequence[Text]) -> dict[str, Any]:
        if self._path == "score":
            return {
                "text_1": [sound(prompt_text(text.prompt)) for text in texts],
                "text_2": [sound(text.output) for text in texts],
            }
        if self._renderer is not None:
            return {"input": [each.text for each in self._renderer.render(texts)]}
        return {"messages": chat_messages(texts[0]), "add_generation_prompt": False}

    def _value(self, client: JsonClient, value: Any) -> Any:
        """The reward in a number, a list of heads, or a list (one a token) of lists of heads."""
        if isinstance(value, list) and value and isinstance(value[-1], list):
            value = value[-1]
        if not isinstance(value, list):
            return value
        if self._head is None and len(value) != 1:
            raise RewardModelError(
                f"{client.shown}: the model has {len(value)} heads; say which one is the reward "
                "with --head N"
            )
        head = self._head or 0
        if head >= len(value):
            raise RewardModelError(f"{client.shown}: there is no head {head}, only {len(value)}")
        return value[head]


class Tei(WireFormat):
    """Text Embeddings Inference's ``/predict``: raw scores of a sequence classifier.

    Texts are made with the format; overlong ones lose their beginning on the server.
    """

    name = "tei"

    def __init__(self, format: str | None, head: int | None) -> None:
        format = DEFAULT_FORMAT if format is None else format
        self._renderer = FormatRenderer(format)
        self._head = head
        self.recipe = f"tei {format} head {head}"

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


def rewards(client: JsonClient, values: Any, count: int) -> list[float]:
    """Numbers of an answer, (count,); null, which JSON has in place of NaN, becomes NaN.

    Raises
    ------
    RewardModelError
        If there are more or fewer, or something is no number: which text has which reward would
        be a guess.
    """
    if not isinstance(values, list):
        raise unexpected(client, values, f"a list of {count} rewards")
    if len(values) != count:
        raise RewardModelError(
            f"{client.shown}: {len(values)} rewards came back for {count} texts; the server must "
            "answer one a text, in their order"
        )
    return [_number(client, value) for value in values]


def unexpected(client: JsonClient, answer: Any, wanted: str) -> RewardModelError:
    """An answer of another form."""
    return RewardModelError(
        f"{client.shown}: expected {wanted}, got {client.scrub(repr(answer))}; check the path and "
        "--http-format"
    )


def _number(client: JsonClient, value: Any) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unexpected(client, value, "a number")
    try:
        return float(value)
    except OverflowError:  # JSON knows integers of any length
        raise unexpected(client, value, "a number that fits a float64") from None


def _plain(text: Text) -> dict[str, Any]:
    prompt = text.prompt
    if isinstance(prompt, str):
        return {"prompt": sound(prompt), "output": sound(text.output)}
    turns = [{"role": turn["role"], "content": sound(turn["content"])} for turn in prompt]
    return {"prompt": turns, "output": sound(text.output)}


def _named(model: str | None) -> dict[str, Any]:
    return {} if model is None else {"model": model}
