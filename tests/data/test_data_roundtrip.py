"""What was written is read back: any valid preference rows, in every format of a file."""

from __future__ import annotations

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rmaudit.data import load

Row = dict[str, Any]
# All of Unicode but lone surrogates: control characters, line ends, marks of direction, emoji.
TEXT = st.text(max_size=12)
NAME = st.text(min_size=1, max_size=6)
REWARD = st.floats()  # NaN and infinities too
TURNS = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXT}),
    min_size=1,
    max_size=3,
)
REST = {"subset": NAME, "tie": st.booleans(), "chosen_reward": REWARD, "rejected_reward": REWARD}
PAIRS = {"chosen": TEXT, "rejected": TEXT, **REST}


def tables(prompts: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Row]]:
    rows = st.fixed_dictionaries({"id": NAME, "prompt": prompts, **PAIRS})
    return st.lists(rows, min_size=1, max_size=6, unique_by=lambda row: row["id"])


def _lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


WRITERS = {
    "d.jsonl": lambda path, rows: path.write_bytes(_lines(rows)),
    "d.json": lambda path, rows: path.write_text("".join(json.dumps(r) + "\n" for r in rows)),
    "d.jsonl.gz": lambda path, rows: path.write_bytes(gzip.compress(_lines(rows), 1)),
    "d.jsonl.zst": lambda path, rows: path.write_bytes(zstandard.compress(_lines(rows))),
    "d.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "d.csv": _csv,
}


def same(read: Any, written: Any) -> bool:
    if isinstance(written, float):
        return bool(read == written or (math.isnan(read) and math.isnan(written)))
    return bool(read == written)


def read_back(path: Path, written: list[Row], expected: list[Row]) -> None:
    WRITERS[path.name](path, written)
    data = load(path)
    source = data.source
    assert (data.type, data.set_aside) == ("preference", ())
    assert source.rows_read == source.rows_used + source.rows_set_aside == len(written)
    for read, row in zip(data.frame.to_dict("records"), expected, strict=True):
        for name, value in row.items():
            assert same(read[name], value), (path.name, name, value, read[name])
    keys = [
        ("prompt", json.dumps(row["prompt"], sort_keys=True))
        if row["prompt"]
        else ("row", row["id"])
        for row in expected
    ]
    clusters = dict(zip(keys, data.clusters.tolist(), strict=True))
    assert [clusters[key] for key in keys] == data.clusters.tolist()
    assert len(set(data.clusters.tolist())) == len(clusters)


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(TEXT))
@example(
    [
        {"id": "=1", "prompt": "", "chosen": "", "rejected": "a\rb\r\nc\n\u2028\x00\ufeff",
         "tie": True, "subset": "null", "chosen_reward": math.inf, "rejected_reward": math.nan},
        {"id": "2", "prompt": '"[1]"', "chosen": "true", "rejected": "-inf", "tie": False,
         "subset": "1", "chosen_reward": -math.inf, "rejected_reward": 5e-324},
    ]
)  # fmt: skip
def test_texts_are_read_back_from_every_format(tmp_path: Path, name: str, rows: list[Row]) -> None:
    read_back(tmp_path / name, rows, rows)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "d.csv"])
@pytest.mark.parametrize("shape", ["prompt and texts", "prompt and turns", "turns only"])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(TURNS))
def test_messages_are_read_back_in_every_shape(
    tmp_path: Path, name: str, shape: str, rows: list[Row]
) -> None:
    written = [dict(row) for row in rows]
    for row in written:
        before = row["prompt"] if shape == "turns only" else []
        if shape != "prompt and texts":
            for side in ("chosen", "rejected"):
                row[side] = [*before, {"role": "assistant", "content": row[side]}]
        if shape == "turns only":
            del row["prompt"]
    read_back(tmp_path / name, written, rows)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(tables(st.one_of(TEXT, TURNS)), st.integers(1, 7))
def test_a_table_read_back_from_memory_is_itself(rows: list[Row], limit: int) -> None:
    data = load(rows, limit=limit)
    again = load(data.frame)
    assert again.frame["prompt"].tolist() == data.frame["prompt"].tolist()
    assert again.frame["chosen"].tolist() == [row["chosen"] for row in rows[:limit]]
    np.testing.assert_array_equal(again.clusters, data.clusters)
