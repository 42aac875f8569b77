"""Rewards from a server: a plain JSON endpoint, vLLM, TEI, or a language model as judge."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, IncompleteError, RewardModel, Text
from rmaudit.rewards.served.client import (
    JsonClient,
    RefusedError,
    RetryPolicy,
    checked_url,
    fingerprint,
    key_from,
)
from rmaudit.rewards.served.judge import Judge, read_rubric
from rmaudit.rewards.served.protocols import Generic, Tei, Vllm, WireFormat
from rmaudit.settings import HttpFormat, ModelSettings

_COMPLETIONS = "/chat/completions"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a reward server is spoken to; see `rmaudit.rewards.load_reward_model`."""

    http_format: HttpFormat = "json"
    http_model: str | None = None
    api_key_env: str | None = None
    rubric: Path | None = None
    timeout: float = 60.0
    concurrency: int = 8
    patience: RetryPolicy = field(default_factory=RetryPolicy)

    @classmethod
    def of(cls, settings: ModelSettings) -> ServerOptions:
        """What settings say of a server."""
        named = [each.name for each in fields(cls) if hasattr(settings, each.name)]
        return cls(**{name: getattr(settings, name) for name in named})


class ServedReward(RewardModel):
    """A server's rewards. Lengths are in characters.

    Parameters
    ----------
    client
        What speaks to the server.
    wire
        What the server wants to be sent.
    model
        The name that the server knows the model by.
    concurrency
        Requests under way at once, at most.

    Notes
    -----
    A failing text costs the others nothing: what was answered is handed over with the error, so
    that it is stored, and a request that the server refuses is halved until the text is found.
    The fingerprint covers URL, model name, format and rubric. What runs behind the URL may change
    without notice: no fingerprint can tell, and the report says so.
    """

    kind = "served"
    length_unit = "characters"
    token_budget = sys.maxsize
    pads_left = False

    def __init__(
        self, client: JsonClient, wire: WireFormat, model: str | None, concurrency: int
    ) -> None:
        self._client, self._wire, self._model = client, wire, model
        self._concurrency = concurrency
        self.name = client.shown if model is None else f"{model} at {client.shown}"
        self.fingerprint = fingerprint(client.url, model, wire.recipe)
        # Several rounds a batch, so that one slow answer does not leave the other lines idle.
        self.max_batch = 4 * concurrency * wire.texts_a_request

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """The texts themselves, with their lengths in characters."""
        return [
            Encoded(text, len(prompt_text(text.prompt)) + len(text.output), len(text.output))
            for text in texts
        ]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); `pad_left` means nothing here.

        Raises
        ------
        IncompleteError
            If the server fails on some of the texts; it holds the rewards of the others.
        """
        texts = [each.payload for each in batch]
        found = np.full(len(texts), np.nan)
        done = np.zeros(len(texts), dtype=np.bool_)
        size = self._wire.texts_a_request
        self._client.stopped.clear()
        failures: list[tuple[int, RewardModelError]] = []

        def run(start: int) -> None:
            if self._client.stopped.is_set():
                return
            try:
                self._ask(texts, range(start, min(start + size, len(texts))), found, done)
            except RewardModelError as error:
                # PromptHalves are asked for in order, so the first without a reward is the one.
                failures.append((start + int(np.argmin(done[start:])), error))
                self._client.stopped.set()

        with ThreadPoolExecutor(self._concurrency) as pool:
            try:
                list(pool.map(run, range(0, len(texts), size)))
            except BaseException:  # Ctrl-C: no thread may go on waiting for its next try
                self._client.stopped.set()
                raise
        if failures:
            place, error = failures[0]
            raise IncompleteError(str(error), found, done, place) from error
        return found

    def describe(self) -> dict[str, Any]:
        """Where the rewards came from, and that nobody can check that it stays the same."""
        return {
            "url": self._client.shown,
            "served_model": self._model,
            "http_format": self._wire.name,
            "length_unit": "characters",
            "verifiable": "no: a server may change its model under the same name",
        }

    def _ask(
        self,
        texts: Sequence[Text],
        places: range,
        found: NDArray[np.float64],
        done: NDArray[np.bool_],
    ) -> None:
        """Fill in the rewards of some texts; a refused request is halved, down to one text."""
        try:
            answered = self._wire.ask(self._client, [texts[place] for place in places])
        except RefusedError:
            if len(places) == 1:
                raise
            middle = len(places) // 2
            self._ask(texts, places[:middle], found, done)
            self._ask(texts, places[middle:], found, done)
            return
        found[places.start : places.stop] = answered
        done[places.start : places.stop] = True


def load_served(
    url: str, options: ServerOptions, *, format: str | None = None, head: int | None = None
) -> ServedReward:
    """The reward model behind a URL. Nothing is sent yet.

    Raises
    ------
    UsageError
        If the URL carries a credential, or the options do not fit one another.
    """
    url = checked_url(url)
    kind = options.http_format
    if options.rubric is not None and kind != "openai":
        raise UsageError("--rubric is for a judge: say --http-format openai")
    if not (options.timeout > 0 and options.concurrency >= 1):
        raise UsageError("--timeout must be above 0 seconds and --concurrency at least 1")
    wire: WireFormat
    if kind == "vllm":
        wire = Vllm(urlsplit(url).path, options.http_model, format, head)
    elif kind == "tei":
        wire = Tei(format, head)
    elif kind == "openai":
        wire = Judge(options.http_model, read_rubric(options.rubric))
        url = _completions(url)
    elif kind == "json":
        wire = Generic(options.http_model)
    else:
        raise UsageError(f"--http-format {kind}: it must be json, vllm, tei or openai")
    client = JsonClient(
        url,
        key=key_from(options.api_key_env),
        timeout=options.timeout,
        connections=options.concurrency,
        patience=options.patience,
    )
    return ServedReward(client, wire, options.http_model, options.concurrency)


def _completions(url: str) -> str:
    """A base such as ``https://host/v1`` stands for its ``/chat/completions``."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return parts._replace(
        path=path if path.endswith(_COMPLETIONS) else path + _COMPLETIONS
    ).geturl()
