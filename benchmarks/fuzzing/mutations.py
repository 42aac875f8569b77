"""What is done to valid inputs: to their bytes, to their structure, to the types of columns."""

from __future__ import annotations

import copy
import datetime
import decimal
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

Rng = np.random.Generator


@contextmanager
def room() -> Iterator[None]:
    """Depth for making what is nested too deeply; what reads it gets the usual limit."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(30_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = None
    for _ in range(depth):
        value = [value]
    return value


DEEP = object()  # stands for lists in lists, too many for `deepcopy`
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 1e-320),
    *(float("nan"), float("inf"), float("-inf"), 0.1, 3.7),
    *("", " ", "\n", "\x00", "\x1b[31m", "\ud800", "\udfff x", "\ufeff", "\u202e", "é", "😀"),
    *("NaN", "1e999", "null", "true", "=1+1", "<script>alert(1)</script>", "../../x"),
    *("a" * 100_000,),
    *("\r", "a\u2028b", "[1", '{"a": 1}', "Human:", "\n\nAssistant:", "row-3", "{output}", "%s%n"),
    *([], {}, [[]], [None], {"a": None}, {"": []}, ["a", 1, None], [0.5] * 3, [1, 1, 1], ["x"] * 4),
    *({"role": "user"}, [{"role": "assistant", "content": "x"}], [{"role": 3, "content": "x"}]),
    *([{"role": "user", "content": None}], [{"role": "assistant", "content": [{"text": "t"}]}]),
    *(nested(50), DEEP, DEEP, {"m": {"chosen": 1, "rejected": "x"}}, {"m": [1, 2]}, {"m": []}),
)  # fmt: skip
# Names that a reader or an audit gives a meaning to.
NAMES = (
    *("id", "row", "row_given", "index", "group", "subset", "family", "style", "tie", "prompt"),
    *("prompt_rejected", "chosen", "rejected", "output", "outputs", "completion", "ranking"),
    *("rating", "label", "rewards", "proxy_rewards", "gold_rewards", "scores", "chosen_reward"),
    *("rejected_reward", "annotator_votes", "annotators", "votes_by_question", "policy", "", "a.b"),
    *("margin", "critique", "turns", "language", "0", "\ud800", "x" * 300, "<b>", "=x", "step"),
)  # fmt: skip
TOKENS = (
    *(b"\xef\xbb\xbf", b"\xff\xfe", b"\x00", b"\r", b"\r\n", b"\n", b"\n\n\n", b"\xed\xa0\x80"),
    *(b"\\ud800", b"\\u0000", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 5000),
    *(b"[" * 3000, b"=cmd|' /C'!A0"),
    *(b'{"a":' * 2000, b'"', b"'", b"{", b"}", b"]", b",", b":", b"\\", b"null", b"true", b"-"),
    *(b"\x1b[2J", b"\xe2\x80\xa8", b"\x85", b"x" * 50_000, b"\xc3", b"\xf0\x9f\x98"),
    *(b"&a [*a, *a]", b"!!python/object/apply:os.system ['true']", b"? [a]\n: b\n", b"---\n"),
    (b"\t"),
    *(b"<<: *x", b"2001-01-01", b"12:30:45", b".inf", b"[[rule]]\n", b"a.b.c = 1\n", b'"""', b"#"),
)  # fmt: skip


def mutate_bytes(data: bytes, rng: Rng) -> bytes:
    """One to four harms to the bytes."""
    for _ in range(int(rng.integers(1, 5))):
        data = BYTES[rng.integers(len(BYTES))](data, rng)
    return data


def _cut(data: bytes, rng: Rng) -> bytes:
    return data[: rng.integers(len(data) + 1)]


def _flip(data: bytes, rng: Rng) -> bytes:
    if not data:
        return data
    harmed = bytearray(data)
    for place in rng.integers(len(data), size=rng.integers(1, 12)):
        harmed[place] ^= 1 << int(rng.integers(8))
    return bytes(harmed)


def _noise(data: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(data) + 1))
    return data[:at] + rng.bytes(int(rng.integers(1, 40))) + data[at:]


def _token(data: bytes, rng: Rng) -> bytes:
    at = int(rng.choice([0, len(data), rng.integers(len(data) + 1)]))
    return data[:at] + TOKENS[rng.integers(len(TOKENS))] + data[at:]


def _drop(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data) + 1))
    return data[:start] + data[start + int(rng.integers(1, 100)) :]


def _twice(data: bytes, rng: Rng) -> bytes:
    start = int(rng.integers(len(data) + 1))
    end = start + int(rng.integers(1, 400))
    return data[:end] + data[start:end] + data[end:]


def _line_ends(data: bytes, rng: Rng) -> bytes:
    ends = (b"\r\n", b"\r", b"\n", b"\n\n", b"\x0b", b"\xe2\x80\xa8")
    parts = data.split(b"\n")
    return b"".join(p + ends[rng.choice(6, p=(0.3, 0.1, 0.4, 0.1, 0.05, 0.05))] for p in parts)


def _replaced(data: bytes, rng: Rng) -> bytes:
    whole = (
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"\x00" * 64,
        b"PAR1",
        b"\x1f\x8b",
        b"\xff" * 9,
        b"0",
    )
    return whole[rng.integers(len(whole))]


def _recoded(data: bytes, rng: Rng) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(("utf-16", "utf-16-be", "latin-1", "utf-8-sig")[rng.integers(4)], "replace")


BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (
    *(_cut, _flip, _noise, _token, _token, _token, _drop, _twice, _line_ends, _flip, _drop),
    *(_replaced, _recoded),
)  # fmt: skip


def odd(rng: Rng) -> Any:
    """A value that few columns expect."""
    value = ODD[rng.integers(len(ODD))]
    return nested(int(rng.choice([400, 950, 1500]))) if value is DEEP else copy.deepcopy(value)


def mutate_tree(value: Any, rng: Rng, harms: int = 4) -> Any:
    """One to `harms` harms to places of a tree of lists and objects."""
    value = copy.deepcopy(value)
    for _ in range(int(rng.integers(1, harms + 1))):
        value = _harm(value, rng)
    return value


def _harm(tree: Any, rng: Rng) -> Any:
    """Walk down at random, and change what is there."""
    node, depth = tree, 0
    while True:
        children = _children(node)
        inner = [key for key in children if isinstance(node[key], dict | list) and node[key]]
        if not inner or (depth and rng.random() < 0.35):
            break
        node, depth = node[inner[rng.integers(len(inner))]], depth + 1
    if not isinstance(node, dict | list):
        return odd(rng)
    keys = _children(node)
    kind = rng.random()
    if isinstance(node, dict):
        key = keys[rng.integers(len(keys))] if keys else "x"
        if kind < 0.2:
            node.pop(key, None)
        elif kind < 0.35:
            node[NAMES[rng.integers(len(NAMES))]] = odd(rng)
        elif kind < 0.45:
            node[NAMES[rng.integers(len(NAMES))]] = node.pop(key, None)
        elif kind < 0.5 and len(keys) > 1:
            other = keys[rng.integers(len(keys))]
            node[key], node[other] = node[other], node[key]
        else:
            node[key] = odd(rng)
        return tree
    at = int(rng.integers(len(node))) if node else 0
    if kind < 0.2 and node:
        node.pop(at)
    elif kind < 0.4 and node:
        node.insert(at, node[at])
    elif kind < 0.45:
        rng.shuffle(node)
    elif kind < 0.5:
        node.clear()
    elif kind < 0.75 or not node:
        node.insert(at, odd(rng))
    else:
        node[at] = odd(rng)
    return tree


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node)
    return list(range(len(node))) if isinstance(node, list) else []


def mutate_columns(rows: list[dict[str, Any]], rng: Rng) -> list[dict[str, Any]]:
    """A harm to one column of all rows: renamed, dropped, one odd value, odd values throughout."""
    rows = copy.deepcopy(rows)
    names = list(rows[0])
    name = names[rng.integers(len(names))]
    new = NAMES[rng.integers(len(NAMES))]
    one = odd(rng)
    kind = int(rng.integers(5))
    for row in rows:
        match kind:
            case 0:
                row.pop(name, None)
            case 1:
                row[new] = row.pop(name, None)
            case 2:
                row[name] = one
            case 3:
                row[new] = one
            case _:
                row[new] = row.get(name)
    return rows


def duplicated_key(line: str, rng: Rng) -> str:
    """A JSON object with one of its keys given twice."""
    name = NAMES[rng.integers(len(NAMES))]
    value = json.dumps(odd(rng))
    return line.replace("{", "{" + f"{json.dumps(name)}: {value}, ", 1)


MEMORY_ODD: tuple[Any, ...] = (
    *(np.float32(1), np.int8(3), np.array([1.0, np.nan]), np.str_("x"), np.bool_(True)),
    *(pd.NA, pd.NaT, pd.Timestamp("2020"), datetime.date(2020, 1, 1), decimal.Decimal("1.5")),
    *(b"bytes", {1, 2}, (1, 2), object, 1j, np.datetime64("NaT"), range(3), np.array("x")),
)  # fmt: skip


@room()
def mutate_memory(rows: list[dict[str, Any]], rng: Rng) -> list[Any]:
    """Rows that hold what only memory can hold."""
    rows = copy.deepcopy(rows)
    for _ in range(int(rng.integers(1, 5))):
        row = rows[rng.integers(len(rows))]
        if not isinstance(row, dict) or not row:
            continue
        key = list(row)[rng.integers(len(row))]
        value = MEMORY_ODD[rng.integers(len(MEMORY_ODD))]
        row[(key, 3, ("a", 1), None)[rng.choice(4, p=(0.85, 0.05, 0.05, 0.05))]] = value
    return rows


TYPES: tuple[pa.DataType, ...] = (
    *(pa.string(), pa.large_string(), pa.binary(), pa.int8(), pa.uint64(), pa.float16(), pa.null()),
    *(pa.float32(), pa.bool_(), pa.timestamp("us"), pa.timestamp("ns", "UTC"), pa.date32()),
    *(pa.time64("ns"), pa.duration("s"), pa.decimal128(30, 5), pa.list_(pa.string())),
    *(pa.string_view(),),
    *(pa.dictionary(pa.int32(), pa.string()), pa.struct([("a", pa.int32())]), pa.binary(4)),
    *(pa.map_(pa.string(), pa.int64()), pa.list_(pa.float64(), 2), pa.month_day_nano_interval()),
)  # fmt: skip


def mutate_table(table: pa.Table, rng: Rng) -> pa.Table:
    """Columns of other types, given twice, left out; rows left out."""
    for _ in range(int(rng.integers(1, 4))):
        kind = rng.random()
        if not table.num_columns:
            return table
        at = int(rng.integers(table.num_columns))
        if kind < 0.65:
            type_ = TYPES[rng.integers(len(TYPES))]
            column = _cast(table.column(at), type_, table.num_rows)
            table = table.set_column(at, table.column_names[at], column)
        elif kind < 0.75:
            table = table.append_column(table.column_names[at], table.column(at))
        elif kind < 0.85:
            names = list(table.column_names)
            names[at] = NAMES[rng.integers(len(NAMES))].encode("utf-8", "ignore").decode()
            table = table.rename_columns(names)
        elif kind < 0.95:
            table = table.remove_column(at)
        else:
            table = table.slice(0, int(rng.integers(3)))
    return table


def _cast(column: pa.ChunkedArray, type_: pa.DataType, size: int) -> Any:
    try:
        return column.cast(type_)
    except (pa.ArrowException, NotImplementedError):
        pass
    try:
        values = [1, None, 3] * size
        return pa.array(values[:size], pa.int64()).cast(type_)
    except (pa.ArrowException, NotImplementedError):
        return pa.nulls(size, type_)
