"""Texts and rewards on their way between machines: Parquet files."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rmaudit.scoring.keys import Keys, keys_from_bytes, keys_to_bytes
from rmaudit.scoring.requests import Key, Request
from rmaudit.scoring.rows import FIELDS, ROW, Rows


class Collected:
    """A store in memory that finds nothing: what one worker scored of one file of texts."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, Keys, Rows]] = []

    def look_up(self, fingerprint: str, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """See `rmaudit.scoring.store_types.Store.look_up`."""
        return np.zeros(len(keys), dtype=ROW), np.zeros(len(keys), dtype=np.bool_)

    def add(self, fingerprint: str, keys: Keys, rows: Rows) -> None:
        """See `rmaudit.scoring.store_types.Store.add`."""
        if len(keys):
            self.parts.append((fingerprint, keys, rows))

    def fingerprints(self, prefix: str) -> list[str]:
        """See `rmaudit.scoring.store_types.Store.fingerprints`."""
        return []


def write_texts(path: Path, requests: Sequence[Request]) -> None:
    """The texts of some requests, one per row: id, prompt, output, and what names the request."""
    rows: dict[str, list[Any]] = defaultdict(list)
    for request in requests:
        count = len(request.ids)
        rows["id"] += request.ids
        # As JSON: a prompt may be messages, and Parquet takes no lone surrogates.
        rows["prompt"] += map(json.dumps, request.prompts)
        rows["output"] += map(json.dumps, request.outputs)
        others: Sequence[str | None] = request.others or [None] * count
        rows["other"] += map(json.dumps, others)
        rows["read"] += [json.dumps(row) for row in request.rows or [{}] * count]
        for name in ("data", "audit", "side", "mode"):
            rows[name] += [getattr(request, name)] * count
    _write(path, pa.table(rows))


def read_texts(path: Path) -> list[Request]:
    """The requests that `write_texts` wrote."""
    columns = pq.read_table(path, memory_map=False).to_pydict()
    names = zip(*(columns[name] for name in ("data", "audit", "side", "mode")), strict=True)
    places: dict[Key, list[int]] = defaultdict(list)
    for place, key in enumerate(names):
        places[key].append(place)
    return [
        Request(
            side,
            [columns["id"][i] for i in rows],
            [json.loads(columns["prompt"][i]) for i in rows],
            [json.loads(columns["output"][i]) for i in rows],
            audit=audit,
            mode=mode,
            data=data,
            others=_others([json.loads(columns["other"][i]) for i in rows]),
            rows=[json.loads(columns["read"][i]) for i in rows],
        )
        for (data, audit, side, mode), rows in places.items()
    ]


def _others(others: list[str | None]) -> list[str] | None:
    return [each for each in others if each is not None] or None


def write_rewards(path: Path, collected: Collected) -> None:
    """One row a text and model: ``model`` (fingerprint), ``key`` and the fields of `ROW`.

    There must be some.
    """
    tables = [
        pa.table(
            {
                "model": pa.array([fingerprint] * len(rows), pa.string()),
                "key": pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(16), len(keys), [None, pa.py_buffer(keys_to_bytes(keys))]
                ),
                **{name: np.ascontiguousarray(rows[name]) for name in FIELDS},
            }
        )
        for fingerprint, keys, rows in collected.parts
    ]
    _write(path, pa.concat_tables(tables))


def read_rewards(path: Path) -> Iterator[tuple[str, Keys, Rows]]:
    """Model, keys and rows of a file that `write_rewards` wrote, model by model."""
    table = pq.read_table(path, memory_map=False)
    models = np.array(table["model"].to_pylist(), dtype=object)
    keys = keys_from_bytes(b"".join(table["key"].to_pylist()))
    for model in dict.fromkeys(models):
        here = models == model
        rows = np.zeros(int(here.sum()), dtype=ROW)
        for name in FIELDS:
            rows[name] = table[name].to_numpy()[here]
        yield model, keys[here], rows


def _write(path: Path, table: pa.Table) -> None:
    """Whole or not at all: a worker may be killed at any moment, and others read the file."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    pq.write_table(table, unfinished)
    unfinished.replace(path)
