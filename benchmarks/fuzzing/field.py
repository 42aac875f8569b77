"""What others publish and write: layouts of data, benchmarks, results, mixes, trainers' logs."""

from __future__ import annotations

import gzip
import json
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from fuzzing import inputs, mutations
from fuzzing.published import PUBLISHED, RUNS
from fuzzing.targets import ACCEPTED, REFUSED, Rng, checked, command, one_line, toml_file

from rmaudit.data.layouts import layouts
from rmaudit.errors import RmauditError
from rmaudit.overoptimization.logs import read_log

Rows = list[Any]
MIX: dict[str, Any] = {
    "schema_version": 1,
    "scale": "group",
    "rule": [  # written as [[reward]] below
        {"name": "long", "model": "python:fuzzed_model:reward", "weight": 1.0},
        {"name": "again", "model": "python:fuzzed_model:reward", "weight": -0.5, "kind": "score"},
    ],
}


@cache
def _layout_rows() -> dict[str, Rows]:
    """A dozen rows of every layout, made of its example."""
    found: dict[str, Rows] = {}
    for name, layout in layouts.items():
        example = json.loads(json.dumps(layout.example))
        found[name] = [example | _apart(example, i) for i in range(inputs.N)]
    return found


def _apart(example: dict[str, Any], i: int) -> dict[str, Any]:
    """Another text in the first column that holds one, so that the rows are not all the same."""
    name = next((k for k, v in example.items() if isinstance(v, str) and "id" not in k), None)
    return {} if name is None else {name: f"{example[name]} {i % 5}"}


def layout(folder: Path, rng: Rng) -> str:
    """A table in a published layout, mutated: loaded, validated, and often audited."""
    rows = _layout_rows()
    name = list(rows)[rng.integers(len(rows))]
    path = _write_rows(folder / "d", rows[name], rng)
    return checked(path, None, None, rng, alike=False)


@mutations.room()
def _write_rows(stem: Path, rows: Rows, rng: Rng) -> Path:
    """Mutated rows as JSON Lines, or as one JSON value."""
    draw = rng.random()
    made: Any = rows
    if draw < 0.5:
        made = mutations.mutate_tree(rows, rng)
    elif draw < 0.75:
        made = mutations.mutate_columns(rows, rng)
    if rng.random() < 0.7:
        content = inputs.jsonl(made if isinstance(made, list) else [made])
        path = stem.with_suffix(".jsonl")
    else:
        content = json.dumps(made).encode("utf-8", "surrogatepass")
        path = stem.with_suffix(".json")
    path.write_bytes(mutations.mutate_bytes(content, rng) if rng.random() < 0.3 else content)
    return path


def bench(folder: Path, rng: Rng) -> str:
    """A published benchmark's file, run on the rewards in it or on a model; a file of results."""
    name = list(PUBLISHED)[rng.integers(len(PUBLISHED))]
    rows = PUBLISHED[name]
    draw = rng.random()
    path = _write_rows(folder / "rows", rows, rng)
    more = ["--model", "recorded"]
    if draw < 0.3:
        more = ["--model", "python:fuzzed_model:reward"]
    elif draw < 0.5:
        data = folder / "data.json"
        data.write_bytes(json.dumps(rows).encode())
        data, path = (data, path) if draw < 0.45 else (path, data)
        more, path = ["--results", str(path)], data
    out = ["--out", str(folder / "out"), "--no-cache"]
    return command("bench", name, "--data", str(path), *more, *out)


def mix(folder: Path, rng: Rng) -> str:
    """A mix of rewards, loaded and applied."""
    file = folder / "mix.toml"
    file.write_bytes(toml_file(MIX, rng).replace(b"[[rule]]", b"[[reward]]"))
    more = ["--trust-code"] if rng.random() < 0.9 else []
    out = ["--out", str(folder / "s.parquet"), "--no-cache"]
    return command("score", "--model", f"mix:{file}", "--data", "eval.jsonl", *more, *out)


def plan(folder: Path, rng: Rng) -> str:
    """A gate file, for which labels are planned; several reports on one page."""
    file = folder / "gate.toml"
    file.write_bytes(toml_file(inputs.POLICY, rng))
    return command("plan", "baseline", "--gate", str(file), "--json")


def trainer_log(folder: Path, rng: Rng) -> str:
    """A run's log as a trainer or a logger writes it: read whole."""
    form = list(FORMS)[rng.integers(len(FORMS))]
    rows = RUNS[list(RUNS)[rng.integers(len(RUNS))]]
    with mutations.room():
        path = FORMS[form](folder, _rows_of(rows, rng))
    for file in sorted(path.rglob("*") if path.is_dir() else [path]):
        if file.is_file() and rng.random() < (0.2 if path.is_dir() else 0.5):
            file.write_bytes(mutations.mutate_bytes(file.read_bytes(), rng))
    try:
        read_log(path)
    except RmauditError as error:
        one_line(error)
        return REFUSED
    return ACCEPTED


@mutations.room()
def _rows_of(rows: Rows, rng: Rng) -> Rows:
    if rng.random() < 0.5:
        return rows
    made = mutations.mutate_tree(rows, rng)
    return made if isinstance(made, list) and all(isinstance(r, dict) for r in made) else rows


def _lines(folder: Path, rows: Rows) -> Path:
    return _put(folder / "run.jsonl", inputs.jsonl(rows))


def _packed(folder: Path, rows: Rows) -> Path:
    return _put(folder / "run.jsonl.gz", gzip.compress(inputs.jsonl(rows), mtime=0))


def _state(folder: Path, rows: Rows) -> Path:
    return _put(folder / "trainer_state.json", json.dumps({"log_history": rows}).encode())


def _csv(folder: Path, rows: Rows) -> Path:
    return _put(folder / "run.csv", inputs.csv(rows))


def _console(folder: Path, rows: Rows) -> Path:
    lines = (f"  {i}%|# | {i}/12 [00:01, 1.2it/s]{r!r}" for i, r in enumerate(rows))
    return _put(folder / "run.log", "\n".join(lines).encode("utf-8", "surrogatepass"))


def _parquet(folder: Path, rows: Rows) -> Path:
    try:
        table = pa.Table.from_pylist(rows)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        table = pa.Table.from_pylist(RUNS["trl"])
    return _put(folder / "run.parquet", inputs.parquet(table))


def _trackio(folder: Path, rows: Rows) -> Path:
    path = folder / "run.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, "
                         "run_name TEXT, step INTEGER, metrics TEXT)")  # fmt: skip
        values = [(i, json.dumps(row)) for i, row in enumerate(rows)]
        query = "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('t', 'a', ?, ?)"
        database.executemany(query, values)
    return path


def _mlflow(folder: Path, _: Rows) -> Path:
    path = folder / "run"
    (path / "metrics").mkdir(parents=True)
    for key in ("kl", "reward", "gold_reward", "response_length"):
        rows = RUNS["openrlhf"]
        lines = "".join(f"17000 {row[key]} {row['step']}\n" for row in rows)
        _put(path / "metrics" / key, lines.encode())
    return path


def _tensorboard(folder: Path, rows: Rows) -> Path:
    """Events of scalars, written by hand: field numbers as in TensorFlow's ``Event``."""
    content = b""
    for i, row in enumerate(rows):
        numbers = {str(k): v for k, v in row.items() if isinstance(v, float) and abs(v) < 1e30}
        values = b""
        for key, value in numbers.items():
            tag = key.encode("utf-8", "replace")[:120]
            one = bytes([10, len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
            values += b"\x0a" + _size(one) + one
        event = bytes([16, i % 128]) + b"\x2a" + _size(values) + values
        content += struct.pack("<Q", len(event)) + b"\0" * 4 + event + b"\0" * 4
    return _put(folder / "events.out.tfevents.1.host", content)


def _size(body: bytes) -> bytes:
    """The length of a field, as protocol buffers write it."""
    size, made = len(body), b""
    while size >= 128:
        made, size = made + bytes([size % 128 + 128]), size // 128
    return made + bytes([size])


def _rollouts(folder: Path, rows: Rows) -> Path:
    """The folder of a run that holds its log and what the policy wrote."""
    path = folder / "run"
    (path / "rollouts").mkdir(parents=True)
    plain = [{k: v for k, v in row.items() if "gold" not in str(k)} for row in rows]
    _put(path / "log.jsonl", inputs.jsonl(plain))
    for step in range(4):
        written = [{"input": "p", "output": f"o {k}", "gold": 0.5 * k} for k in range(3)]
        _put(path / "rollouts" / f"{step}.jsonl", inputs.jsonl(written))
    return path


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


FORMS: dict[str, Callable[[Path, Rows], Path]] = {
    "lines": _lines,
    "packed": _packed,
    "state": _state,
    "csv": _csv,
    "console": _console,
    "parquet": _parquet,
    "trackio": _trackio,
    "mlflow": _mlflow,
    "tensorboard": _tensorboard,
    "rollouts": _rollouts,
}
FIELD: dict[str, tuple[float, Callable[[Path, Rng], str]]] = {
    "layout": (0.30, layout),
    "bench": (0.20, bench),
    "mix": (0.06, mix),
    "plan": (0.04, plan),
    "trainer log": (0.12, trainer_log),
}
