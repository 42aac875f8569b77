"""Valid inputs of every kind and format: what the fuzzer starts from."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable
from csv import DictWriter
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
import zstandard

Rows = list[dict[str, Any]]
N = 12


def user(text: str) -> list[dict[str, str]]:
    """A prompt of one turn."""
    return [{"role": "user", "content": text}]


def assistant(text: str) -> list[dict[str, str]]:
    """An output of one turn."""
    return [{"role": "assistant", "content": text}]


def _prompts() -> list[str]:
    return [f"How do I do thing {i % 5}, please?" for i in range(N)]


def _yes(i: int) -> str:
    return f"Yes, it is so: first take number {i}, then **two** others and a while. " * (1 + i % 3)


def _no(i: int) -> str:
    return "no way at all " * (1 + i % 4)


def _pairs() -> Rows:
    return [
        {"id": f"r{i}", "prompt": p, "chosen": _yes(i), "rejected": _no(i), "subset": "ab"[i % 2]}
        for i, p in enumerate(_prompts())
    ]


ROWS: dict[str, Rows] = {
    "pairs": _pairs(),
    "pairs with rewards": [
        {**row, "chosen_reward": i * 0.5, "rejected_reward": 1.0 - i / 9, "tie": False}
        for i, row in enumerate(_pairs())
    ],
    "pairs with votes": [
        {**row, "annotator_votes": ["chosen", "rejected", "chosen"], "annotators": list("xyz")}
        for row in _pairs()
    ],
    "implicit prompts": [
        {"chosen": f"\n\nHuman: {p}\n\nAssistant: {_yes(i)}",
         "rejected": f"\n\nHuman: {p}\n\nAssistant: {_no(i)}"}
        for i, p in enumerate(_prompts())
    ],
    "conversations": [
        {"prompt": user(p), "chosen": assistant(_yes(i)), "rejected": assistant(_no(i))}
        for i, p in enumerate(_prompts())
    ],
    "implicit conversations": [
        {"chosen": user(p) + assistant(_yes(i)), "rejected": user(p) + assistant(_no(i))}
        for i, p in enumerate(_prompts())
    ],
    "ranking": [
        {"prompt": p, "outputs": [_yes(i), _no(i), "maybe"], "ranking": [1, 3, 2],
         "rewards": [2.0, 0.5, 1.0], "family": "f"}
        for i, p in enumerate(_prompts())
    ],
    "rating": [
        {"prompt": p, "output": _yes(i), "rating": float(i % 5)} for i, p in enumerate(_prompts())
    ],
    "unpaired": [
        {"prompt": user(p), "completion": assistant(_yes(i)), "label": bool(i % 2)}
        for i, p in enumerate(_prompts())
    ],
    "deployment": [{"prompt": p, "group": str(i % 3)} for i, p in enumerate(_prompts())],
    "samples": [
        {"prompt": p, "outputs": [_yes(i), _no(i), "maybe", "so"],
         "proxy_rewards": [0.1 * i, 0.2, 0.3, -1.0], "gold_rewards": [1.0, 0.5, 0.1 * i, 0.0],
         "policy": "ab"[i % 2]}
        for i, p in enumerate(_prompts())
    ],
    "published scores": [
        {"prompt": p, "chosen": _yes(i), "rejected": _no(i),
         "scores": {"m": {"chosen": 1.0 + i, "rejected": 0.5}}}
        for i, p in enumerate(_prompts())
    ],
}  # fmt: skip
FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "csv", "parquet", "folder", "list", "frame")


def jsonl(rows: list[Any]) -> bytes:
    """One object a line."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode("utf-8", "surrogatepass")


def csv(rows: list[dict[str, Any]]) -> bytes:
    """A header and rows; what is no text as JSON."""
    names = dict.fromkeys(name for row in rows for name in row)
    out = io.StringIO()
    writer = DictWriter(out, names)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()})
    return out.getvalue().encode("utf-8", "surrogatepass")


def arrow(table: pa.Table) -> bytes:
    """The stream that `datasets` saves."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(table: pa.Table) -> bytes:
    """Several groups of rows."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=5)
    return sink.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
}

CONFIG: dict[str, Any] = {
    "schema_version": 1,
    "model": "python:fuzzed_model:reward",
    "eval": "eval.jsonl",
    "only": ["preference"],
    "seed": 3,
    "resamples": 100,
    "confidence": 0.9,
    "embedder": "tfidf",
    "search_texts": 0,
    "limit": 8,
    "no-cache": True,
}
POLICY: dict[str, Any] = {
    "schema_version": 1,
    "confidence": 0.95,
    "on_inconclusive": "report",
    "rule": [
        {"metric": "preference.accuracy", "min": 0.6, "reason": "so"},
        {"metric": "preference.accuracy", "slice": {"subset": "a"}, "min": 0.1, "max": 0.9},
        {"metric": "preference.accuracy", "slice": "*", "max_regression": 0.1, "level": "warn"},
    ],
}
SUITE: dict[str, Any] = {
    "schema_version": 1,
    "name": "fuzzed",
    "version": 1,
    "title": "Fuzzed",
    "question": "Is it?",
    "kind": "invariance",
    "licence": "Apache-2.0",
    "sources": ["nobody"],
    "probes": [
        {"name": "opening", "meaning": "A greeting comes first", "transform": "opening",
         "parameters": {"texts": ["Sure.", "Of course."]}, "expected": "not_higher",
         "tolerance": 0.1},
    ],
}  # fmt: skip
LOG: Rows = [
    {"step": i, "kl_k1": 0.3 * i, "proxy": 0.5 * i, "gold": 0.4 * i - 0.01 * i * i, "entropy": 2.0}
    for i in range(24)
]
CONSOLE = "".join(
    f"(task) step:{r['step']} - actor/kl_loss:{r['kl_k1']:.3f} - response_length/mean:20.0 - "
    f"critic/score/mean:{r['proxy']:.3f} - gold:{r['gold']:.3f}\n"
    for r in LOG
)
LOGS: dict[str, bytes] = {
    "training-log.jsonl": jsonl(LOG),
    "trainer_state.json": json.dumps({"log_history": LOG, "global_step": 24}).encode(),
    "verl.log": CONSOLE.encode(),
}


def toml(values: dict[str, Any]) -> str:
    """TOML of plain values, and of what mutation makes of them: not always valid."""
    lines = [f"{name} = {_toml(value)}" for name, value in values.items() if name != "rule"]
    rules = values.get("rule", [])
    for rule in rules if isinstance(rules, list) else [rules]:
        lines.append("\n[[rule]]")
        pairs = rule.items() if isinstance(rule, dict) else [("metric", rule)]
        lines += [f"{name} = {_toml(value)}" for name, value in pairs]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return str(value)
    return json.dumps(value)


def dump_yaml(values: Any) -> bytes:
    """Plain values as YAML."""
    return yaml.safe_dump(values, allow_unicode=True).encode("utf-8", "surrogatepass")


def reward(pairs: list[tuple[Any, str]]) -> list[float]:
    """The cheap reward model: the longer the better, with a turn."""
    return [float(len(o)) - 0.001 * len(o) ** 1.5 + (sum(map(ord, o[:9])) % 7) for _, o in pairs]


@cache
def report_files() -> dict[str, bytes]:
    """The files of a small audit that gate, compare and verify read."""
    import rmaudit

    report = rmaudit.audit(
        reward, ROWS["pairs"], only=["preference", "length"], resamples=100, cache=False
    )
    document = report.to_dict()
    # As the command line writes it, so that verify goes on to read the inputs.
    document["config"] |= {"model": "python:fuzzed_model:reward", "eval": "eval.jsonl"}
    document["config"] |= {"only": ["preference"], "seed": 0}
    with tempfile.TemporaryDirectory() as folder:
        report.save(folder)
        kept = {p.name: p.read_bytes() for p in Path(folder).iterdir() if p.is_file()}
    names = ("influence.parquet", "scores.parquet", "set_aside.jsonl")
    return {"report.json": json.dumps(document).encode()} | {name: kept[name] for name in names}


@cache
def influence_table() -> pa.Table:
    """The influences of the small audit."""
    return pq.read_table(io.BytesIO(report_files()["influence.parquet"]))


@cache
def shipped_suite() -> tuple[dict[str, Any], list[Any]]:
    """A suite with items of its own: its settings and its items."""
    folder = Path(__file__).parents[2] / "probes" / "fairness"
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    settings = yaml.safe_load((folder / "suite.yaml").read_text(encoding="utf-8"))
    return settings, [json.loads(line) for line in lines]
