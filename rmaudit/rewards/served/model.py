"""Rewards from a server: a plain JSON endpoint, vLLM, TEI, or a language model as judge."""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import FAILED, Encoded, IncompleteError, RewardModel, Text, failed
from rmaudit.rewards.served.activation import ActivationCheck, checked_activation
from rmaudit.rewards.served.client import (
    JsonClient,
    RefusedError,
    checked_url,
    fingerprint,
    key_from,
)
from rmaudit.rewards.served.wire import PROTOCOLS, Ask, WireFormat, refuse_unused
from rmaudit.rewards.served.wire import ServerOptions as ServerOptions

_TOO_LONG = re.compile(
    r"context length|too long|too many tokens|maximum .{0,30}(length|tokens)|exceed\w* .{0,40}"
    r"(length|tokens|limit)|longer than",
    re.IGNORECASE,
)
# What servers say they miss, by the protocol that has it.
_ASKS_FOR = {
    "sglang": re.compile(r"input_ids or input_embeds"),
    "openrlhf": re.compile(r"\"query\"|'query'|`query`|field query"),
    "tei": re.compile(r"\binputs\b"),
    "vllm": re.compile(r"text_1|messages or input"),
}
_log = logging.getLogger("rmaudit")


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
    activation
        Undoes what the server put its logits through, or notices it.

    Notes
    -----
    A failing text costs the others nothing: what was answered is handed over with the error, so
    that it is stored, and a request that the server refuses is halved until the text is found. A
    text that is too long for the server is set aside: its reward is NaN, it is counted and not
    stored, and the run goes on.
    The fingerprint covers URL, model name, format and rubric. What runs behind the URL may change
    without notice: no fingerprint can tell, and the report says so.
    """

    kind = "served"
    length_unit = "characters"
    token_budget = sys.maxsize
    pads_left = False

    def __init__(
        self,
        client: JsonClient,
        wire: WireFormat,
        model: str | None,
        concurrency: int,
        activation: ActivationCheck | None = None,
    ) -> None:
        self._client, self._wire, self._model = client, wire, model
        self._concurrency = concurrency
        self._activation = activation or ActivationCheck(
            client.shown, None, strict=wire.asks_for_logits
        )
        as_they_are = self._activation.declared == "none" and wire.signal == "logit"
        self.signal = "score" if as_they_are else wire.signal
        self.judged_on = wire.judged_on
        self._set_aside, self._lock = 0, threading.Lock()
        self.name = client.shown if model is None else f"{model} at {client.shown}"
        self.fingerprint = fingerprint(client.url, model, wire.recipe, self._activation.declared)
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
            raise IncompleteError(str(error), self._logits(found), done, place) from error
        return self._logits(found)

    def describe(self) -> dict[str, Any]:
        """Where the rewards came from, and that nobody can check that it stays the same."""
        return {
            "url": self._client.shown,
            "served_model": self._model,
            "http_format": self._wire.name,
            "length_unit": "characters",
            "verifiable": "no: a server may change its model under the same name",
            "activation": self._activation.declared or "none was declared",
            "texts_too_long": self._set_aside,
            **self._wire.facts(),
        }

    def rewordings(self) -> tuple[RewardModel, ...]:
        """See `RewardModel.rewordings`."""
        return tuple(
            ServedReward(self._client, wire, self._model, self._concurrency, self._activation)
            for wire in self._wire.reworded()
        )

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
        except RefusedError as refusal:
            if len(places) == 1:
                if not _TOO_LONG.search(refusal.said):
                    raise self._explained(refusal) from refusal
                self._leave_out(refusal)
                found[places.start], done[places.start] = FAILED, True
                return
            middle = len(places) // 2
            self._ask(texts, places[:middle], found, done)
            self._ask(texts, places[middle:], found, done)
            return
        found[places.start : places.stop] = answered
        done[places.start : places.stop] = True

    def _logits(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """The activation undone; a text that was set aside stays one that failed."""
        return np.where(failed(found), FAILED, self._activation.logits(found))

    def _explained(self, refusal: RefusedError) -> RefusedError:
        """The refusal, the protocol that was spoken, and the one that the answer asks for."""
        wanted = next((name for name, words in _ASKS_FOR.items() if words.search(refusal.said)), "")
        hint = f"; the answer looks like one of --http-format {wanted}" if wanted else ""
        if wanted == self._wire.name:
            hint = ""
        return RefusedError(
            f"{refusal}; spoken was --http-format {self._wire.name}{hint}", refusal.said
        )

    def _leave_out(self, refusal: RefusedError) -> None:
        """Count a text that is too long for the server; the first one is told."""
        with self._lock:
            self._set_aside += 1
            first = self._set_aside == 1
        if first:
            hint = (
                "--max-length cuts its beginning"
                if "max_length" in self._wire.takes
                else "raise the server's own limit"
            )
            _log.warning(
                "a text is too long for the server, so its reward is NaN: %s; such texts are "
                "counted; %s",
                refusal,
                hint,
            )


def load_served(
    url: str,
    options: ServerOptions,
    *,
    format: str | None = None,
    head: int | None = None,
    max_length: int | None = None,
) -> ServedReward:
    """The reward model behind a URL. Nothing is sent yet.

    Raises
    ------
    UsageError
        If the URL carries a credential, or the options do not fit one another.
    """
    url = checked_url(url)
    if not (options.timeout > 0 and options.concurrency >= 1):
        raise UsageError("--timeout must be above 0 seconds and --concurrency at least 1")
    protocol = PROTOCOLS[options.http_format]
    ask = Ask(url, options, format, head, max_length)
    refuse_unused(ask, protocol)
    wire = protocol.of(ask)
    client = JsonClient(
        protocol.address(url),
        key=key_from(options.api_key_env),
        timeout=options.timeout,
        connections=options.concurrency,
        patience=options.patience,
    )
    activation = checked_activation(options.activation)
    if wire.signal == "preference":
        if activation is not None:
            raise UsageError(
                f"--activation has no effect with --http-format {protocol.name}: it answers which "
                "response is better, not a logit; leave it out"
            )
        activation = "none"  # probabilities by definition
    check = ActivationCheck(
        client.shown,
        activation,
        strict=wire.asks_for_logits,
        bounded=wire.signal == "score",
    )
    return ServedReward(client, wire, options.http_model, options.concurrency, check)
