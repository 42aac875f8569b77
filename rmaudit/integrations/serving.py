"""A reward over HTTP for trainers, recorded step by step: what `rmaudit serve` runs.

The protocol is OpenRLHF's (``--remote_rm_url``): ``{"query": [...], "prompts": [...], "labels":
[...]}`` is answered by ``{"rewards": [...], "scores": [...], "extra_logs": {...}}``; a query is a
prompt with its response. What is in ``extra_logs``, a list per name, goes into the trainer's log.
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmaudit.integrations.asking import columns_in, with_columns, with_reference
from rmaudit.integrations.monitor import Alarm, RunMonitor
from rmaudit.integrations.recording import COMPONENT, Recorder
from rmaudit.rewards.base import MissingColumnError, RewardModel, Text, leaves, one_number
from rmaudit.typing import Float

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

# Trainers decode with special tokens: padding and ends of a sequence are no part of a response.
_SPECIAL = r"(?:<\|[^<>|]{1,40}\|>|</?s>|<(?:pad|eos|bos|unk)>|\[PAD\]|<end_of_turn>)"
_ENDS = re.compile(rf"(?:\s*{_SPECIAL})+\s*$")
_PADDING = re.compile(r"^(?:<pad>|\[PAD\]|<\|endoftext\|>|<\|pad\|>|<s>)+")
Say = Callable[[str], None]


class RequestError(ValueError):
    """A request that does not follow the protocol."""


class RewardService:
    """Rewards of requests, recorded; a step ends with every `per_step` responses.

    Parameters
    ----------
    model
        What is optimised.
    gold
        What is meant; scored on every `gold_every`-th step.
    per_step
        Responses of one step: prompts times responses per prompt. A trainer that splits a step
        into requests says nothing of steps, so they are counted.
    folder
        Gets ``training-log.jsonl``, a record per step.
    monitor
        Raises alarms.
    say
        Told of alarms.
    """

    def __init__(
        self,
        model: RewardModel,
        gold: RewardModel | None = None,
        *,
        per_step: int = 128,
        gold_every: int = 1,
        folder: Path | None = None,
        monitor: RunMonitor | None = None,
        say: Say = lambda message: None,
    ) -> None:
        self.model = one_number(model, "a trainer")
        self.gold = None if gold is None else one_number(gold, "a gold score")
        self.per_step, self.gold_every, self.folder, self.say = per_step, gold_every, folder, say
        self.monitor = monitor or RunMonitor()
        self.recorder = Recorder(self.monitor)
        self.step = 1
        self._count = 0
        self._lock = threading.Lock()

    @property
    def status(self) -> dict[str, Any]:
        """Step, model and alarms, as the endpoint shows them."""
        alarms = [
            {"name": a.name, "step": a.step, "meaning": a.meaning, "component": a.component}
            for a in self.monitor.alarms
        ]
        gold = None if self.gold is None else self.gold.name
        return {"model": self.model.name, "gold": gold, "step": self.step, "alarms": alarms,
                "watches": self.monitor.watches}  # fmt: skip

    def answer(self, request: Any) -> dict[str, Any]:
        """The answer to one request.

        Raises
        ------
        RequestError
            If it does not follow the protocol.
        """
        texts = texts_of(request)
        if texts:
            models = (self.model, *([] if self.gold is None else [self.gold]))
            texts = _with_labels(texts, request, models)
        if not texts:
            return {"rewards": [], "scores": [], "extra_logs": {}}
        with self._lock:
            recorded, extra = self._rewards(texts)
            rewards = recorded["proxy"]
            if not np.isfinite(rewards).all():
                lost = int(np.sum(~np.isfinite(rewards)))
                raise RuntimeError(f"{lost} of {len(texts)} rewards are not finite: none given")
            self._take(recorded, len(texts))
        return {"rewards": rewards.tolist(), "scores": rewards.tolist(), "extra_logs": extra}

    def _rewards(self, texts: Sequence[Text]) -> tuple[dict[str, Float], dict[str, list[float]]]:
        from rmaudit.training.policy.reward import rewarded, score

        parts = self.model.members
        whole = rewarded(self.model, texts)
        found: dict[str, Float] = {"proxy": whole.total}
        if len(parts) > 1:
            each = np.stack([score(part, texts) for part in parts])
            found["disagreement"] = each.std(axis=0)
        if self.gold is not None and (self.step - 1) % self.gold_every == 0:
            found["gold"] = score(self.gold, texts)
        extra = {name: values.tolist() for name, values in found.items() if name != "proxy"}
        extra = {k: v for k, v in extra.items() if all(map(math.isfinite, v))}
        found |= {f"{COMPONENT}{name}": values for name, values in whole.components.items()}
        found["length"] = np.array([len(text.output) for text in texts], dtype=np.float64)
        return found, extra

    def _take(self, recorded: dict[str, Float], count: int) -> None:
        """Record samples, and end the steps that they fill."""
        start = 0
        while start < count:
            size = min(self.per_step - self._count, count - start)
            for name, values in recorded.items():
                self.recorder.keep(name, values[start : start + size])
            self._count += size
            start += size
            if self._count == self.per_step:
                self._end_step()

    def _end_step(self) -> None:
        alarms = self.recorder.end_step(self.step)
        if self.folder is not None:
            record = {"step": self.step, **self.recorder.logged()}
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "training-log.jsonl").open("a", encoding="utf-8") as out:
                out.write(json.dumps(record) + "\n")
        for alarm in alarms:
            self.say(_told(alarm))
        self.step += 1
        self._count = 0


def texts_of(request: Any) -> list[Text]:
    """Prompts and responses of a request.

    Raises
    ------
    RequestError
        If it is no object with a list "query", or "prompts" is of another length.
    """
    if not isinstance(request, dict):
        raise RequestError('a JSON object is wanted: {"query": [...], "prompts": [...]}')
    queries, prompts = request.get("query"), request.get("prompts")
    if isinstance(queries, str):
        queries = [queries]
    if isinstance(prompts, str):
        prompts = [prompts]
    if not isinstance(queries, list) or not all(isinstance(q, str) for q in queries):
        raise RequestError('"query" must be a list of texts, each a prompt with its response')
    if prompts is None:
        return [Text("", _clean(query)) for query in queries]
    if not isinstance(prompts, list) or len(prompts) != len(queries):
        raise RequestError(f'"prompts" must be a list of {len(queries)}, one per query')
    return [_text(str(prompt), query) for prompt, query in zip(prompts, queries, strict=True)]


def _with_labels(
    texts: Sequence[Text], request: Mapping[str, Any], rewards: Sequence[RewardModel]
) -> list[Text]:
    """The texts with the columns that the rewards read, which are further lists of the request.

    "labels", which trainers send, is the reference answer under whatever name a reward reads it,
    and the one column that it reads and that is not there under its own name.

    Raises
    ------
    RequestError
        If a column that a reward reads is not there.
    """
    given = columns_in(request, len(texts), frozenset({"query", "prompts", "labels"}))
    labels = request.get("labels")
    if not isinstance(labels, list) or len(labels) != len(texts):
        labels = None
    given = with_reference(given, labels, leaves(*rewards))
    try:
        return with_columns(texts, given, rewards)
    except MissingColumnError as error:
        raise RequestError(
            f'there is no list "{error.column}" in the request, which {error.reward} reads; send '
            'it beside "query", or the reference answers as "labels"'
        ) from None


def _text(prompt: str, query: str) -> Text:
    """The response is what follows the prompt; padding stands on the left in some trainers."""
    for given in (query, _PADDING.sub("", query)):
        if given.startswith(prompt):
            return Text(prompt, _clean(given[len(prompt) :]))
    # A tokenizer that does not give back its text: the response is what stands behind the prompt's
    # last words, or all of it where they are not found.
    end = query.rfind(prompt[-40:]) if prompt else -1
    start = end + len(prompt[-40:]) if end >= 0 else 0
    return Text(prompt, _clean(query[start:]))


def _clean(text: str) -> str:
    return _ENDS.sub("", text)


def _told(alarm: Alarm) -> str:
    by = f"; the component that gained: {alarm.component}" if alarm.component else ""
    return f"step {alarm.step}: {alarm.meaning}{by}"


def server(service: RewardService, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server of the service; port 0 takes a free one. `serve_forever` runs it."""
    from rmaudit.integrations.http_server import http_server

    return http_server(service, host, port)
