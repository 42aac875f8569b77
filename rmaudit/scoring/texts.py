"""The texts of all requests, each once, and the way back from rewards to columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Prompt
from rmaudit.rewards.base import Mode, Text
from rmaudit.scoring.keys import distinct, messages_key, text_keys
from rmaudit.scoring.requests import Column, Key, Request
from rmaudit.scoring.rows import Rows


class Texts:
    """Distinct texts of some requests, numbered in ascending order of their keys.

    Texts are told apart by prompt, output, mode and what the reward reads of their rows: `columns`
    by data set, and the other response if it compares `in_pairs`. The texts themselves stay where
    they are, in the requests.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        columns: Mapping[str, Sequence[str]] | None = None,
        *,
        in_pairs: bool = False,
    ) -> None:
        self._requests = requests
        self._columns, self._in_pairs = columns or {}, in_pairs
        counts = [len(request.outputs) for request in requests]
        self._offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        every = distinct(text_keys(requests, self._columns, in_pairs=in_pairs))
        self.keys = every.keys
        self._inverse = every.inverse
        self._request = np.searchsorted(self._offsets, every.first, side="right") - 1
        self._row = every.first - self._offsets[self._request]

    def __len__(self) -> int:
        return len(self.keys)

    def in_mode(self, mode: Mode) -> NDArray[np.bool_]:
        """Which texts are to be scored in this mode, (n_texts,)."""
        modes = np.array([request.mode == mode for request in self._requests], dtype=np.bool_)
        return modes[self._request]

    def get(self, numbers: NDArray[np.int64]) -> list[Text]:
        """The texts of these numbers."""
        return [self._text(self._requests[place], row) for place, row in self._places(numbers)]

    def _text(self, request: Request, row: int) -> Text:
        read = {}
        if request.rows is not None:
            given = request.rows[row]
            read = {name: given[name] for name in self._columns.get(request.data, ())}
        other = request.others[row] if self._in_pairs and request.others is not None else None
        return Text(request.prompts[row], request.outputs[row], read, other)

    def excerpt(self, numbers: NDArray[np.int64]) -> list[Request]:
        """The texts of these numbers as requests, which keep their names."""
        places: dict[int, list[int]] = {}
        for request, row in self._places(numbers):
            places.setdefault(request, []).append(row)
        return [_excerpt(self._requests[request], rows) for request, rows in places.items()]

    def characters(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Characters of prompt and output together, (n,): what sorts texts before tokenising."""
        return np.array(
            [
                _characters(self._requests[request].prompts[row])
                + len(self._requests[request].outputs[row])
                for request, row in self._places(numbers)
            ],
            dtype=np.int64,
        )

    def prompts(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which texts have a prompt in common, (n,): equal codes, from 0."""
        codes: dict[str, int] = {}
        prompts = (self._requests[request].prompts[row] for request, row in self._places(numbers))
        return np.array(
            [
                codes.setdefault(p if isinstance(p, str) else messages_key(p), len(codes))
                for p in prompts
            ],
            dtype=np.int64,
        )

    def of_shard(self, index: int, count: int) -> NDArray[np.bool_]:
        """Which texts are of shard `index` (from 1) of `count`, (n_texts,).

        By a hash of the prompt, so that a prompt's texts stay together and every machine agrees.
        """
        shards: dict[str, int] = {}
        places = np.empty(len(self), dtype=np.int64)
        for number, (request, row) in enumerate(self._places(np.arange(len(self)))):
            prompt = self._requests[request].prompts[row]
            words = prompt if isinstance(prompt, str) else messages_key(prompt)
            if words not in shards:
                data = words.encode("utf-8", "surrogatepass")
                shards[words] = int.from_bytes(blake2b(data, digest_size=8).digest()) % count
            places[number] = shards[words]
        return np.asarray(places == index - 1)

    def audits(self, numbers: NDArray[np.int64]) -> list[str]:
        """Which audit is the first to ask for each text; "" is the data itself."""
        names = [request.audit for request in self._requests]
        return [names[request] for request in self._request[numbers].tolist()]

    def name(self, number: int) -> str:
        """Where a text comes from, for error messages."""
        ((place, row),) = self._places(np.array([number]))
        request = self._requests[place]
        asked = f", asked for by {request.audit}" if request.audit else ""
        return f"id {request.ids[row]!r} ({request.side} of {request.data}{asked})"

    def columns(
        self, rows: Rows, modes: Sequence[Mode], components: Mapping[str, NDArray[np.float64]]
    ) -> dict[Key, Column]:
        """Rows by text number, (n_texts,), as the columns of the requests in these modes.

        `components` are parts of the rewards by name, (n_texts,) each.
        """
        columns = {}
        for place, request in enumerate(self._requests):
            if request.mode in modes:
                start, end = self._offsets[place], self._offsets[place + 1]
                here = self._inverse[start:end]
                parts = {name: values[here] for name, values in components.items()}
                columns[request.key] = _column(rows[here], parts)
        return columns

    def _places(self, numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
        requests, rows = self._request[numbers].tolist(), self._row[numbers].tolist()
        return list(zip(requests, rows, strict=True))


def _excerpt(request: Request, rows: Sequence[int]) -> Request:
    return replace(
        request,
        ids=[request.ids[i] for i in rows],
        prompts=[request.prompts[i] for i in rows],
        outputs=[request.outputs[i] for i in rows],
        row_ids=None if request.row_ids is None else [request.row_ids[i] for i in rows],
        others=None if request.others is None else [request.others[i] for i in rows],
        rows=None if request.rows is None else [request.rows[i] for i in rows],
    )


def _characters(prompt: Prompt) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(m["content"]) for m in prompt)


def _column(rows: Rows, components: Mapping[str, NDArray[np.float64]]) -> Column:
    return Column(
        reward=rows["reward"].copy(),
        tokens=rows["tokens"].astype(np.int64),
        output_tokens=rows["output_tokens"].astype(np.int64),
        truncated=rows["truncated"].copy(),
        output_truncated=rows["output_truncated"].copy(),
        double_bos=rows["double_bos"].copy(),
        components=components,
    )
