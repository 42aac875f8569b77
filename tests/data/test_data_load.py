"""Loading: every format gives one table, and every whole-file fault one clear line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from data_files import ROWS, save_folder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmaudit.data import load
from rmaudit.data.types import Dataset
from rmaudit.errors import DataError, UsageError


def jsonl(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def make(kind: str, folder: Path) -> Any:
    table = pa.Table.from_pylist(ROWS)
    if kind == "list":
        return ROWS
    if kind == "frame":
        return pd.DataFrame(ROWS)
    if kind == "folder":
        return save_folder(folder / "saved", table)
    if kind == "split":
        save_folder(folder / "splits" / "train", table)
        (folder / "splits" / "dataset_dict.json").write_text('{"splits": ["train"]}')
        return folder / "splits"
    if kind == "parquet":
        pq.write_table(table, folder / "d.parquet", row_group_size=2)
        return folder / "d.parquet"
    if kind == "csv":
        pd.DataFrame(ROWS).to_csv(folder / "d.csv", index=False)
        return folder / "d.csv"
    plain = jsonl(ROWS)
    contents = {
        "d.jsonl": plain,
        "bom.jsonl": b"\xef\xbb\xbf" + plain,
        "crlf.jsonl": plain.replace(b"\n", b"\r\n"),
        "open.jsonl": plain.rstrip(b"\n"),
        "blank.jsonl": plain + b"\n  \n",
        "d.jsonl.gz": gzip.compress(plain),
        "d.jsonl.zst": zstandard.ZstdCompressor().compress(plain),
        "misnamed.jsonl": gzip.compress(plain),
    }
    return write(folder / kind, contents[kind])


KINDS = [
    *("d.jsonl", "bom.jsonl", "crlf.jsonl", "open.jsonl", "blank.jsonl", "d.jsonl.gz"),
    *("d.jsonl.zst", "misnamed.jsonl", "csv", "parquet", "folder", "split", "frame", "list"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_table(kind: str, tmp_path: Path) -> None:
    data = load(make(kind, tmp_path))
    assert data.type == "preference"
    assert (data.source.rows_read, data.source.rows_used, data.set_aside) == (3, 3, ())
    names = ["id", "prompt", "chosen", "rejected", "subset", "rank"]
    assert data.frame[names].to_dict("records") == ROWS
    assert data.frame["row"].tolist() == [1, 2, 3]
    assert data.frame["tie"].tolist() == [False] * 3
    assert data.clusters.tolist() == [0, 1, 0]
    assert len(data.source.sha256) == 64


@pytest.mark.parametrize("kind", ["d.jsonl", "csv", "parquet", "folder", "frame"])
def test_a_limit_reads_the_first_rows(kind: str, tmp_path: Path) -> None:
    made = make(kind, tmp_path)
    data = load(made, limit=2)
    assert data.frame["id"].tolist() == ["a", "b"]
    assert data.source.rows_read == 2
    if kind != "frame":  # a digest is of the whole input
        assert data.source.sha256 == load(made).source.sha256


def test_csv_cells_hold_numbers_flags_and_lists(tmp_path: Path) -> None:
    text = 'prompt,outputs,ranking,x\np,"[""a"", ""b""]","[1, 2]",3.5\n,"[""c""]",[1],\n'
    data = load(write(tmp_path / "d.csv", text.encode()))
    assert data.type == "ranking"
    assert data.frame["outputs"].tolist() == [["a", "b"], ["c"]]
    assert data.frame["prompt"].tolist() == ["p", ""]
    assert data.frame["x"][0] == 3.5


def test_csv_rows_of_another_shape_are_set_aside(tmp_path: Path) -> None:
    text = b'prompt,chosen,rejected\np,a,b\np,a\np,a,b,c\np,\xff,b\np,"open,b\n'
    data = load(write(tmp_path / "d.csv", text))
    assert (data.source.rows_read, data.source.rows_used) == (5, 1)
    assert data.source.reasons == {
        "wrong number of cells": 2,
        "text is not valid Unicode": 1,
        "not CSV": 1,
    }


def test_rows_that_cannot_be_used_are_listed_with_line_column_and_reason(tmp_path: Path) -> None:
    lines = [
        jsonl([ROWS[0]]),
        b"not json\n",
        b"\n",
        b"[1, 2]\n",
        b'{"prompt": "p", "chosen": 1, "rejected": "b"}\n',
        b'{"prompt": "p", "chosen": "\\ud800", "rejected": "b"}\n',
        b'{"prompt": "\xff", "chosen": "a", "rejected": "b"}\n',
        jsonl([ROWS[0]]),
        b'{"prompt": "p", "chosen": "a"}\n',
        b"[" * 100_000 + b"\n",
        b'{"prompt": "p", "chosen": "a", "rejected": "b", "n": ' + b"1" * 5000 + b"}\n",
        b'{"prompt": "p", "chosen": "a", "rejected": "b", "x": ' + b"[" * 800 + b"]" * 800 + b"}\n",
        jsonl([ROWS[1]]),
    ]
    data = load(write(tmp_path / "d.jsonl", b"".join(lines)))
    assert data.frame["id"].tolist() == ["a", "a#2", "b"]
    assert [(r.row, r.column, r.reason) for r in data.set_aside] == [
        (2, None, "not JSON"),
        (4, None, "not an object"),
        (5, "chosen", "wrong type"),
        (6, "chosen", "text is not valid Unicode"),
        (7, None, "text is not valid Unicode"),
        (9, "rejected", "missing column"),
        (10, None, "not JSON"),
        (11, None, "not JSON"),
        (12, "x", "nested too deeply"),
    ]
    assert data.source.rows_read == 12 == data.source.rows_used + data.source.rows_set_aside


def test_a_broken_first_row_does_not_decide_the_type() -> None:
    data = load([{"prompt": "p", "chosen": "a"}, *ROWS])
    assert data.type == "preference"
    assert data.source.rows_used == 3


def test_a_cut_gzip_loses_only_what_was_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [{"prompt": rng.bytes(40).hex(), "chosen": "a", "rejected": "b"} for _ in range(5000)]
    packed = gzip.compress(jsonl(rows))
    data = load(write(tmp_path / "d.jsonl.gz", packed[: len(packed) // 2]))
    used = data.source.rows_used
    assert 2000 < used < 3000
    assert data.frame["prompt"].tolist() == [row["prompt"] for row in rows[:used]]
    assert data.source.reasons == {"rest of the file cannot be read": 1}
    assert data.set_aside[0].row == used + 1


def test_a_damaged_parquet_file_keeps_the_groups_before(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(40_000)]
    path = tmp_path / "d.parquet"
    pq.write_table(
        pa.Table.from_pylist(rows),
        path,
        row_group_size=10_000,
        compression="zstd",
        use_dictionary=False,
    )
    metadata = pq.read_metadata(path).row_group(2).column(0)
    content = bytearray(path.read_bytes())
    start, size = metadata.data_page_offset, metadata.total_compressed_size
    content[start : start + size] = b"\xff" * size
    data = load(write(path, bytes(content)))
    assert 8192 <= data.source.rows_used <= 20_000
    assert data.source.reasons == {"rest of the file cannot be read": 1}
    assert data.source.rows_read == data.source.rows_used + 1


def test_five_megabytes_of_output_are_an_output() -> None:
    data = load([{**ROWS[0], "chosen": "x" * (5 << 20)}])
    assert len(data.frame["chosen"][0]) == 5 << 20


def test_empty_and_identical_outputs_are_kept() -> None:
    data = load([{**ROWS[0], "chosen": "", "rejected": ""}])
    assert data.frame["chosen"].tolist() == [""]


def test_ids_are_made_where_there_are_none() -> None:
    rows = [{k: v for k, v in row.items() if k != "id"} for row in ROWS]
    rows[1]["id"] = "row-3"
    data = load(rows)
    assert data.frame["id"].tolist() == ["row-1", "row-3", "row-3#2"]
    assert not data.set_aside


def test_gaps_in_optional_columns_are_filled() -> None:
    rows = [
        {**ROWS[0], "group": "g", "annotator_votes": ["chosen"], "chosen_reward": 1},
        {k: v for k, v in ROWS[1].items() if k != "subset"},
        {**ROWS[2], "prompt_rejected": "other"},
    ]
    frame = load(rows).frame
    assert frame["group"].tolist() == ["g", ROWS[1]["prompt"], "p"]
    assert frame["subset"].tolist() == ["s", "(none)", "s"]
    assert frame["annotator_votes"].tolist() == [["chosen"], [], []]
    assert frame["prompt_rejected"].tolist() == ["p", ROWS[1]["prompt"], "other"]
    np.testing.assert_array_equal(frame["chosen_reward"], [1, np.nan, np.nan])


def test_rewards_missing_in_a_row_are_nan() -> None:
    data = load([{"prompt": "p", "outputs": ["a", "b"], "rewards": [1, 2]},
                 {"prompt": "q", "outputs": ["a", "b", "c"]}], type="samples")  # fmt: skip
    np.testing.assert_array_equal(data.frame["rewards"][1], [np.nan] * 3)


def test_rows_without_a_prompt_are_items_of_their_own() -> None:
    data = load([{"prompt": "", "output": o, "rating": 1} for o in "abc"])
    assert data.clusters.tolist() == [0, 1, 2]


def test_the_same_file_is_read_as_the_type_that_is_asked_for() -> None:
    rows = [{"prompt": "p", "outputs": ["a"]}]
    assert load(rows).type == "deployment"
    assert load(rows, type="samples").type == "samples"
    assert load(ROWS, type="deployment").frame["prompt"].tolist() == [r["prompt"] for r in ROWS]
    with pytest.raises(UsageError, match="no data type is named 'pairs'"):
        load(rows, type="pairs")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jsonl", None, "none.jsonl: no such file"),
        ("d.jsonl", b"", "is empty"),
        ("d.jsonl", b"\n \n", "is empty"),
        ("d.jsonl.gz", gzip.compress(b"", mtime=0), "is empty"),
        ("d.csv", b"prompt,chosen,rejected\n", "is empty"),
        ("d.csv", b"prompt,prompt\na,b\n", "two columns have one name"),
        ("d.jsonl", b"hello\nworld\n", r"none of 2 rows can be used: not JSON \(2\)"),
        ("d.jsonl", b'{"a": 1}\n', "no data type fits its columns .*; its columns are a"),
        ("d.csv", b"9" * 5000 + b",b\n1,2\n", r"its columns are 9{60}\.\.\., b;"),
        ("d.parquet", b"PAR1 not", "cannot be read as parquet"),
        ("d.parquet", b"", "cannot be read as parquet"),
        ("d.jsonl.gz", b"\x1f\x8bnot gzip", "rest of the file cannot be read"),
        ("d.jsonl.zst", b"\x28\xb5\x2f\xfdnot", "rest of the file cannot be read"),
    ],
)
def test_a_file_of_no_use_is_one_clear_line(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_text_that_is_no_unicode_is_found_in_parquet(tmp_path: Path) -> None:
    broken = pa.array([b"ok", b"\xff\xfe"], pa.binary()).view(pa.string())
    table = pa.table({"prompt": ["p", "q"], "chosen": broken, "rejected": ["a", "b"]})
    pq.write_table(table, tmp_path / "d.parquet")
    data = load(tmp_path / "d.parquet")
    assert data.frame["chosen"].tolist() == ["ok"]
    assert [(r.row, r.reason) for r in data.set_aside] == [(2, "text is not valid Unicode")]


TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "é", "a b"]))
TABLES = st.lists(
    st.fixed_dictionaries(
        {
            "prompt": TEXTS,
            "chosen": TEXTS,
            "rejected": TEXTS,
            "output": TEXTS,
            "rating": st.one_of(st.none(), st.sampled_from([0.5, 1.0, float("inf")])),
            "label": st.one_of(st.none(), st.booleans()),
        },
        optional={
            "id": st.one_of(st.none(), st.integers(0, 9)),
            "group": TEXTS,
            "subset": TEXTS,
            "tie": st.one_of(st.none(), st.booleans()),
            "chosen_reward": st.one_of(st.none(), st.floats(allow_nan=False)),
            "row": st.integers(0, 3),
            "note": TEXTS,
        },
    ),
    min_size=1,
    max_size=12,
)


def outcome(source: Any, kind: Any) -> Dataset | str:
    try:
        return load(source, type=kind)
    except DataError as error:
        return str(error).split(": ", 1)[1]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(TABLES, st.sampled_from(["preference", "rating", "unpaired", "deployment"]))
def test_columns_and_rows_are_checked_alike(
    tmp_path: Path, rows: list[dict[str, Any]], kind: Any
) -> None:
    if kind in ("preference", "deployment"):
        rows = [{k: v for k, v in row.items() if k != "output"} for row in rows]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "d.parquet")
    fast, slow = outcome(tmp_path / "d.parquet", kind), outcome(table.to_pylist(), kind)
    if isinstance(fast, str) or isinstance(slow, str):
        assert fast == slow
        return
    assert [(r.row, r.column, r.reason) for r in fast.set_aside] == [
        (r.row, r.column, r.reason) for r in slow.set_aside
    ]
    assert set(fast.frame) == set(slow.frame)
    pd.testing.assert_frame_equal(
        fast.frame[sorted(fast.frame)], slow.frame[sorted(slow.frame)], check_dtype=False
    )


def test_a_prompt_of_the_rejected_output_is_one_of_pairs_alone() -> None:
    pair = {"prompt": "p", "chosen": "a", "rejected": "b"}
    assert load([pair]).rejected_prompt == "prompt"
    assert load([{**pair, "prompt_rejected": "q"}]).rejected_prompt == "prompt_rejected"
    rated = {"prompt": "p", "output": "a", "rating": 1, "prompt_rejected": 0.5}
    assert load([rated]).rejected_prompt == "prompt"


def test_a_row_in_memory_may_be_nested_too_deeply() -> None:
    deep: list[Any] = []
    for _ in range(2000):
        deep = [deep]
    data = load([*ROWS, {**ROWS[0], "id": "d", "x": deep}])
    assert [(r.row, r.reason) for r in data.set_aside] == [(4, "nested too deeply")]


def test_a_time_that_pandas_cannot_hold_costs_no_row(tmp_path: Path) -> None:
    times = pa.array([0, 1, 2000], pa.int64()).cast(pa.time64("ns"))
    pq.write_table(pa.Table.from_pylist(ROWS).append_column("at", times), tmp_path / "d.parquet")
    data = load(tmp_path / "d.parquet")
    assert data.frame["id"].tolist() == ["a", "b", "c"]
    assert data.frame["chosen"].tolist() == [row["chosen"] for row in ROWS]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["rows.jsonl", "rows.json", "rows.csv", "rows.tsv", "rows.txt"])
def test_rows_are_the_same_in_every_encoding_and_with_every_line_end(
    encoding: str, end: str, form: str, tmp_path: Path
) -> None:
    rows = [{"prompt": f"Wie viel ist {n} plus 2?", "chosen": f"„{n + 2}“", "rejected": "你好"}
            for n in range(3)]  # fmt: skip
    separator = {"csv": ";", "tsv": "\t", "txt": ","}.get(form[-3:], "")
    if form == "rows.json":
        text = json.dumps(rows, ensure_ascii=False, indent=1).replace("\n", end)
    elif form == "rows.jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)
    else:
        table = [list(rows[0]), *(list(row.values()) for row in rows)]
        text = "".join(separator.join(cells) + end for cells in table)
    path = tmp_path / form
    path.write_bytes(text.encode(encoding))
    data = load(path)
    assert data.frame[["prompt", "chosen", "rejected"]].to_dict("records") == rows
    assert data.source.rows_read == data.source.rows_used == 3


def test_prompts_that_differ_behind_a_zero_character_are_two_clusters() -> None:
    rows = [{"prompt": f"a\x00{end}", "chosen": "x", "rejected": "y"} for end in ("b", "c", "b")]
    data = load(rows)
    assert data.clusters.tolist() == [0, 1, 0]
    assert len(set(data.cluster_keys)) == 2
