"""Validation streams, counts every row, and agrees with loading."""

from __future__ import annotations

import gzip
import json
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rmaudit.data import SetAside, load, validate, write_set_aside
from rmaudit.errors import DataError, StoreError

GOOD = {"prompt": "p", "chosen": "a", "rejected": "b"}


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("rows", "code"), [([GOOD], 0), ([GOOD, {"prompt": "p"}], 1), ([{"prompt": 1}, 3], 2)]
)
def test_the_exit_code_says_how_much_can_be_used(
    rows: list[object], code: int, tmp_path: Path
) -> None:
    assert validate(write(tmp_path / "d.jsonl", rows)).exit_code == code


def test_the_table_counts_faults_most_frequent_first(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "chosen": 1}, {"prompt": "p"}, {**GOOD, "chosen": 2}]
    table = validate(write(tmp_path / "d.jsonl", rows)).to_frame()
    assert table.to_dict("records") == [
        {
            "column": "chosen",
            "reason": "wrong type",
            "rows": 2,
            "first_row": 2,
            "example": "int instead of text or a message list",
        },
        {
            "column": "chosen",
            "reason": "missing column",
            "rows": 1,
            "first_row": 3,
            "example": "",
        },
    ]


def test_a_clean_file_has_an_empty_table(tmp_path: Path) -> None:
    table = validate(write(tmp_path / "d.jsonl", [GOOD])).to_frame()
    assert (len(table), list(table)) == (
        0, ["column", "reason", "rows", "first_row", "example"],
    )  # fmt: skip


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        validate(write(tmp_path / "d.jsonl", []))


def test_rows_set_aside_are_written_as_json_lines(tmp_path: Path) -> None:
    rows = [SetAside("f", 3, None, "not JSON", "é"), SetAside("f", 5, "id", "duplicate id")]
    path = tmp_path / "new" / "set_aside.jsonl"
    write_set_aside(path, rows)
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [
        {"file": "f", "row": 3, "column": None, "reason": "not JSON", "detail": "é"},
        {"file": "f", "row": 5, "column": "id", "reason": "duplicate id", "detail": ""},
    ]


def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_set_aside(tmp_path / "file" / "x.jsonl", [])


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / "d.jsonl"
        text = "x" * 20_000
        with path.open("w") as file:
            for i in range(rows):
                file.write(json.dumps({**GOOD, "id": i, "chosen": text}) + "\n")
        tracemalloc.start()
        try:
            assert validate(path).source.rows_used == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    small, large = peak(2_000), peak(6_000)  # 40 MB, 120 MB
    assert large < small + (4 << 20)


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=()), max_size=8),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "x"]), inner, max_size=3),
        st.just({"role": "assistant", "content": "a"}),
    ),
    max_leaves=6,
)
COLUMNS = [
    *("id", "prompt", "chosen", "rejected", "output", "outputs", "completion", "ranking"),
    *("rating", "label", "tie", "rewards", "scores", "group", "subset", "annotators", "row"),
    *("annotator_votes", "chosen_reward", "rejected_reward", "prompt_rejected", "proxy_rewards"),
]
OBJECTS = st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=6)
PAIRS = st.builds(lambda extra: {**GOOD, **extra}, OBJECTS)
LINES = st.lists(
    st.one_of(
        st.one_of(OBJECTS, PAIRS, VALUES).map(lambda value: json.dumps(value).encode()),
        st.just(json.dumps(GOOD).encode()),
        st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"")),
    ),
    max_size=15,
)


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(LINES, st.booleans(), st.integers(0, 60))
@example([b'{"prompt": "", "outputs": [], "rewards": 3}'], False, 0)
@example([b'{"prompt": "a", "scores": {"m": [1]}, "ranking": 1}'], False, 0)
def test_rows_read_are_rows_used_plus_rows_set_aside(
    tmp_path: Path, lines: list[bytes], packed: bool, cut: int
) -> None:
    # A blank first line: a file may also begin like a compressed one.
    content = b"  \n" + b"\n".join(lines)
    if packed:
        content = gzip.compress(content)
        content = content[: max(len(content) - cut, 2)]
    path = tmp_path / "d.jsonl"
    path.write_bytes(content)
    try:
        checked = validate(path)
    except DataError as refused:  # there is no row in it, or what its columns mean is not known
        with pytest.raises(DataError, match=re.escape(str(refused))):
            load(path)
        return
    source = checked.source
    assert source.rows_read == source.rows_used + source.rows_set_aside
    assert source.rows_set_aside == len(checked.set_aside) == sum(source.reasons.values())
    document = any(line.lstrip().startswith((b"[", b"{")) for line in lines[:1])
    if not packed and not document:  # a document's rows are not lines
        assert source.rows_read == sum(bool(line.strip()) for line in lines)
    if not source.rows_used:
        with pytest.raises(DataError, match="can be used"):
            load(path)
        return
    data = load(path)
    assert (data.source, data.set_aside, len(data)) == (
        source, checked.set_aside, source.rows_used,
    )  # fmt: skip
    assert data.frame["id"].is_unique
    assert data.clusters.shape == (len(data),)
    again = load(data.frame.to_dict("records"), type=data.type)
    assert len(again) == len(data)  # what was used once can be used again
