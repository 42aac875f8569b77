"""Containers and formats: arrays, shards, standard input, class labels."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard
from data_files import PAIRS, N

from rmaudit.data import load, raw_rows
from rmaudit.errors import DataError

LINES = "\n".join(map(json.dumps, PAIRS)).encode()
FRAME = pd.DataFrame(PAIRS)
SEPARATED = {sep: FRAME.to_csv(index=False, sep=sep).encode() for sep in ",;\t|"}
CONTAINERS: dict[str, bytes] = {
    "array.json": json.dumps(PAIRS, indent=2).encode(),
    "array_lines.json": b"[\n" + b",\n".join(LINES.split(b"\n")) + b"\n]",
    "array.jsonl": json.dumps(PAIRS).encode(),
    "columns.json": json.dumps(FRAME.to_dict("list")).encode(),
    "indexed.json": FRAME.to_json().encode(),
    "wrapped.json": json.dumps({"version": 1, "data": PAIRS}).encode(),
    "viewer.json": json.dumps({"rows": [{"row_idx": 0, "row": r} for r in PAIRS]}).encode(),
    "stream.json": "".join(json.dumps(row, indent=1) for row in PAIRS).encode(),
    "lines.json": LINES,
    "lines.txt": LINES,
    "lines": LINES,
    "d.jsonl.gz": gzip.compress(LINES),
    "d.jsonl.zst": zstandard.ZstdCompressor().compress(LINES),
    "d.jsonl.bz2": bz2.compress(LINES),
    "d.jsonl.xz": lzma.compress(LINES),
    "two.jsonl.xz": lzma.compress(LINES[:50]) + lzma.compress(LINES[50:]),
    "comma.csv": SEPARATED[","],
    "semicolon.csv": SEPARATED[";"],
    "tab.tsv": SEPARATED["\t"],
    "bar.txt": SEPARATED["|"],
    "noending": SEPARATED[";"],
    "blank.csv": SEPARATED[","].replace(b"prompt,chosen", b"prompt, chosen"),
    "d.csv.bz2": bz2.compress(SEPARATED[","]),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_gives_all_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(CONTAINERS[name])
    frame = load(path).frame
    assert frame[["prompt", "chosen", "rejected"]].to_dict("records") == PAIRS
    assert [dict(row) for _, row in raw_rows(path)] == PAIRS


def test_tables_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    arrow = pa.Table.from_pylist(PAIRS)
    pq.write_table(arrow, tmp_path / "a")
    feather.write_feather(arrow, tmp_path / "b", compression="zstd")
    with pa.OSFile(str(tmp_path / "c"), "wb") as file, pa.ipc.new_stream(file, arrow.schema) as out:
        out.write_table(arrow)
    for name in "abc":
        assert load(tmp_path / name).frame["chosen"].tolist() == FRAME["chosen"].tolist()
    (tmp_path / "d.parquet.gz").write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    with pytest.raises(DataError, match="is a packed table; unpack it"):
        load(tmp_path / "d.parquet.gz")


def test_an_unknown_format_is_refused_with_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "d.doc"
    path.write_bytes(b"\xd0\xcf\x11\xe0 a document")
    with pytest.raises(DataError, match=r"format is not known; reads JSON Lines, .*Parquet"):
        load(path)
    path = tmp_path / "d.xlsx"
    path.write_bytes(b"PK\x03\x04 a spreadsheet")
    with pytest.raises(DataError, match=r"zip archive .* save a table as CSV or Parquet"):
        load(path)


def test_what_follows_a_break_in_an_array_is_said(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_bytes(json.dumps(PAIRS).encode()[:-30])
    data = load(path)
    assert (len(data), data.set_aside[0].row) == (N - 1, N)
    assert data.source.reasons == {"rest of the file cannot be read": 1}


def test_shards_are_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for place in (0, 1, 10, 2):
        rows = [{**PAIRS[0], "chosen": f"{place}-{i}"} for i in range(2)]
        pd.DataFrame(rows).to_parquet(folder / f"train-{place}.parquet")
    (folder / "README.md").write_text("A card.")
    (folder / "dataset_info.json").write_text("{}")
    expected = [f"{place}-{i}" for place in (0, 1, 2, 10) for i in range(2)]
    for path in (folder, f"{folder}/train-*.parquet"):
        data = load(path)
        assert data.frame["chosen"].tolist() == expected
        assert data.frame["row"].tolist() == list(range(1, 9))
    pd.DataFrame(PAIRS).to_json(folder / "test.jsonl", orient="records", lines=True)
    with pytest.raises(DataError, match=r"holds the splits test, train; give one"):
        load(folder)


def test_the_standard_input_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.TextIOWrapper(io.BytesIO(gzip.compress(LINES)))
    monkeypatch.setattr(sys, "stdin", packed)
    data = load("-")
    assert (data.source.path, len(data)) == ("-", N)


def test_class_labels_have_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        prompt=datasets.Value("string"),
        output=datasets.Value("string"),
        label=datasets.ClassLabel(names=["good", "bad"]),
    )
    rows = {"prompt": ["p", "p"], "output": ["x", "y"], "label": [0, 1]}
    table_ = datasets.Dataset.from_dict(rows, features=features).with_format("arrow")[:]
    buffer = Path(pytest.importorskip("tempfile").mkdtemp()) / "d.parquet"
    pq.write_table(table_, buffer)
    assert load(buffer).frame["label"].tolist() == [True, False]
