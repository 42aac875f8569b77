"""The entry points under test: each gets one mutant, and says how it ended.

An outcome is "accepted", "some rows set aside" or "refused". Everything else is raised: any error
that is not the input's own, an internal error that the command line or a report words, a message
of more than one line, rows that do not add up.
"""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
import zstandard
from fuzzing import inputs, mutations
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.data import Dataset, load, validate
from rmaudit.errors import RmauditError
from rmaudit.overoptimization import from_logs
from rmaudit.report.document import Report

Rng = np.random.Generator
ACCEPTED, SOME, REFUSED = "accepted", "some rows set aside", "refused"
# Audits that cost less than a fifth of a second on a dozen rows.
AUDITS = (
    *("preflight", "data", "preference", "length", "style", "coverage", "prompt", "poison"),
    *("generalization", "overoptimization", "tails", "teacher", "policy", "annotators"),
)
MODEL = (
    "from fuzzing.inputs import reward as _reward\n\n\ndef reward(pairs):\n"
    "    return _reward(pairs)\n"
)


class BrokenError(AssertionError):
    """A promise that an entry point did not keep."""


def prepare(folder: Path) -> None:
    """What every command finds in the working folder."""
    (folder / "fuzzed_model.py").write_text(MODEL)
    (folder / "eval.jsonl").write_bytes(inputs.jsonl(inputs.ROWS["pairs"]))
    write_files(folder / "baseline", inputs.report_files())


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Files of a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


@mutations.room()
def mutated_rows(rng: Rng) -> tuple[str, list[Any]]:
    """A kind of rows, and what was made of its rows: often nothing, for their bytes come later."""
    kind = list(inputs.ROWS)[rng.integers(len(inputs.ROWS))]
    rows: list[Any] = inputs.ROWS[kind]
    draw = rng.random()
    if draw < 0.45:
        return kind, mutations.mutate_tree(rows, rng)
    if draw < 0.65:
        return kind, mutations.mutate_columns(rows, rng)
    return kind, rows


def data(folder: Path, rng: Rng) -> str:
    """A table of any type and format: load, validate, and for most of them audit."""
    kind, rows = mutated_rows(rng)
    style = inputs.FORMATS[rng.integers(len(inputs.FORMATS))]
    made: Any
    if style in ("list", "frame"):
        made = mutations.mutate_memory(rows, rng) if isinstance(rows, list) and rows else rows
        if style == "frame":
            with suppress(Exception):  # pandas itself does not take every list
                import pandas as pd

                made = pd.DataFrame(made)
        if not isinstance(made, list | pd.DataFrame if style == "frame" else list):
            made = [made]
        return checked(made, None, len(made), rng)
    made, expected = _file(folder, style, rows, rng)
    return checked(made, kind, expected, rng)


@mutations.room()
def _file(folder: Path, style: str, rows: list[Any], rng: Rng) -> tuple[Path, int | None]:
    """A mutated file, and how many rows it has as far as another reader can tell."""
    objects = rows if all(isinstance(r, dict) for r in rows) and rows else inputs.ROWS["pairs"]
    plain_bytes = rows is not objects or rng.random() < 0.5
    if style in ("parquet", "folder"):
        return _arrow_file(folder, style, objects, rng)
    if style == "csv":
        content = inputs.csv(objects)
        path = folder / f"d.csv{('', '.gz')[rng.integers(2)]}"
    else:
        content = inputs.jsonl(rows if isinstance(rows, list) else [rows])
        if rng.random() < 0.1:
            lines = content.decode("utf-8", "replace").splitlines(keepends=True)
            at = int(rng.integers(len(lines) or 1))
            lines[at : at + 1] = [mutations.duplicated_key(ln, rng) for ln in lines[at : at + 1]]
            content = "".join(lines).encode("utf-8", "surrogatepass")
        path = folder / f"d.{style}"
    if plain_bytes:
        content = mutations.mutate_bytes(content, rng)
    ending = path.suffix[1:]
    if ending in inputs.PACK:
        content = inputs.PACK[ending](content)
        if rng.random() < 0.3:
            content = mutations.mutate_bytes(content, rng)
    path.write_bytes(content)
    return path, _count_lines(content) if "jsonl" in path.name else None


def _arrow_file(folder: Path, style: str, rows: list[Any], rng: Rng) -> tuple[Path, int | None]:
    try:
        table = pa.Table.from_pylist(rows)
        if rng.random() < 0.6:
            table = mutations.mutate_table(table, rng)
        content = (inputs.parquet if style == "parquet" else inputs.arrow)(table)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError, NotImplementedError):
        table = pa.Table.from_pylist(inputs.ROWS["pairs"])
        content = (inputs.parquet if style == "parquet" else inputs.arrow)(table)
    harmed = rng.random() < 0.35
    if harmed:
        content = mutations.mutate_bytes(content, rng)
    if style == "parquet":
        path = folder / "d.parquet"
        path.write_bytes(content)
        return path, None if harmed else table.num_rows
    path = folder / "saved"
    path.mkdir(exist_ok=True)
    state: Any = {"_data_files": [{"filename": "a.arrow"}]}
    splits: Any = {"splits": ["train"]}
    if whole := rng.random() < 0.8:
        (path / "state.json").write_text(json.dumps(state))
    else:
        text = json.dumps(mutations.mutate_tree(state, rng)).encode()
        text = mutations.mutate_bytes(text, rng) if rng.random() < 0.3 else text
        (path / "state.json").write_bytes(text)
        if rng.random() < 0.5:
            text = json.dumps(mutations.mutate_tree(splits, rng)).encode()
            (path / "dataset_dict.json").write_bytes(text)
    (path / "a.arrow").write_bytes(content)
    return path, None if harmed or not whole else table.num_rows


def _count_lines(content: bytes) -> int | None:
    """Lines that are not blank, counted without the package; None where that is not the answer."""
    try:
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        elif content[:4] == b"\x28\xb5\x2f\xfd":
            with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)) as stream:
                content = stream.read()
    except Exception:
        return None
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            content = content.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return None
    elif b"\0" in content[:4]:
        return None  # perhaps UTF-16 that lost its mark
    return sum(bool(line.strip()) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))


def checked(
    made: Any, kind: str | None, expected: int | None, rng: Rng, *, alike: bool = True
) -> str:
    """Load and validate: both refuse, or both count the same rows, and the rows add up.

    `alike`: a row of the input is a row of the table; several, or a part of one, in some layouts.
    """
    forced = "samples" if kind == "samples" and rng.random() < 0.5 else None
    try:
        found = load(made, forced)
    except RmauditError as error:
        one_line(error)
        with suppress(RmauditError):
            only = validate(made, forced)
            if only.source.rows_used and only.type is not None:
                raise BrokenError(f"validate finds {only.source}, load refuses: {error}") from error
        return REFUSED
    source, only = found.source, validate(made, forced)
    used = set(found.frame["row"].tolist())
    aside = [each.row for each in found.set_aside]
    facts = {
        "read = used + set aside": source.rows_read == source.rows_used + source.rows_set_aside,
        "the table has the rows": (
            len(found.frame) == source.rows_used == len(used)
            if alike
            else len(used) <= min(source.rows_used, len(found.frame))
        ),
        "the list has the others": len(found.set_aside) == source.rows_set_aside == len(set(aside)),
        "no row is in both": used.isdisjoint(aside),
        "every reason is counted": sum(source.reasons.values()) == source.rows_set_aside,
        "validate agrees": only.source == source and only.set_aside == found.set_aside,
        "ids are apart": found.frame["id"].is_unique,
    }
    damaged = "rest of the file cannot be read" in source.reasons
    if expected is not None and not damaged:
        facts[f"all {expected} rows are read"] = source.rows_read == expected
    for fact, holds in facts.items():
        if not holds:
            raise BrokenError(f"not so: {fact}: {source}")
    if rng.random() < 0.35:
        audit(found, rng)
    return SOME if aside else ACCEPTED


def audit(found: Dataset, rng: Rng) -> None:
    """One or two audits, and the report's text and schema."""
    only = [str(name) for name in rng.choice(AUDITS, size=2, replace=False)]
    recorded = "chosen_reward" in found.frame or "rewards" in found.frame
    model: Any = "recorded" if recorded and rng.random() < 0.5 else inputs.reward
    others: dict[str, Any] = {"feedback": found} if rng.random() < 0.3 else {}
    if found.type == "samples":
        others["samples"] = found
    elif found.type == "deployment":
        others["deployment"] = found
    try:
        report = rmaudit.audit(
            model, found, only=only, resamples=100, cache=False, search_texts=0, **others
        )
        text = report.to_json()
    except RmauditError as error:
        one_line(error)
        return
    json.loads(text)
    for result in report.audits.values():
        if "internal error" in (result.reason or ""):
            raise BrokenError(f"{result.reason} [{only}]")


def one_line(error: Exception | str) -> None:
    """The message of an error must be one clear line."""
    text = str(error).strip()
    if not text or "\n" in text or len(text) > 3000:
        raise BrokenError(f"not one clear line: {text[:500]!r}")


def command(*arguments: str) -> str:
    """Run the command line in this process; the exit code must be one that is documented."""
    done = CliRunner().invoke(app, list(arguments))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    said = done.stderr.strip()
    if done.exit_code not in (0, 1, 2, 3) or "internal error" in done.output:
        raise BrokenError(f"exit {done.exit_code}: {done.output[-1500:]}")
    if done.exit_code == 2:
        lines = said.split("\n")  # what was done before, warnings, and in the end why it ended
        errors = [line for line in lines if line.startswith("error: ")]
        if len(errors) != 1 or lines[-1] != errors[0] or "Traceback" in said:
            raise BrokenError(f"not one clear line: {said[:1500]!r}")
        return REFUSED
    return ACCEPTED


def config(folder: Path, rng: Rng) -> str:
    """audit.toml: the command audits by it, or says what is wrong."""
    file = folder / "audit.toml"
    file.write_bytes(toml_file(inputs.CONFIG, rng))
    out, store = str(folder / "out"), str(folder / "s.sqlite")
    return command("audit", "--config", str(file), "--out", out, "--store", store)


@mutations.room()
def toml_file(values: dict[str, Any], rng: Rng) -> bytes:
    """Settings as a TOML file, mutated."""
    if rng.random() < 0.7:
        text = inputs.toml(mutations.mutate_tree(values, rng, 2))
        content = text.encode("utf-8", "surrogatepass")
    else:
        content = inputs.toml(values).encode()
    return mutations.mutate_bytes(content, rng) if rng.random() < 0.4 else content


def policy(folder: Path, rng: Rng) -> str:
    """gate.toml: a verdict, or what is wrong with the policy."""
    file = folder / "gate.toml"
    file.write_bytes(toml_file(inputs.POLICY, rng))
    return command("gate", "baseline", "--policy", str(file), "--baseline", "baseline", "--json")


def suite(folder: Path, rng: Rng) -> str:
    """A probe suite, checked by the command."""
    where = folder / "suite"
    where.mkdir()
    _write_suite(where, rng)
    return command("probes", "check", str(where))


@mutations.room()
def _write_suite(where: Path, rng: Rng) -> None:
    values = inputs.SUITE
    if rng.random() < 0.4:  # one with items of its own
        values, items = inputs.shipped_suite()
        if rng.random() < 0.6:
            items = mutations.mutate_tree(items, rng, 2)
        content = inputs.jsonl(items if isinstance(items, list) else [items])
        if rng.random() < 0.4:
            content = mutations.mutate_bytes(content, rng)
        (where / "items.jsonl").write_bytes(content)
    try:
        content = inputs.dump_yaml(mutations.mutate_tree(values, rng, 2))
    except yaml.YAMLError:  # what YAML cannot say
        content = inputs.dump_yaml(values)
    if rng.random() < 0.4:
        content = mutations.mutate_bytes(content, rng)
    (where / "suite.yaml").write_bytes(content)


@mutations.room()
def _report_files(rng: Rng) -> dict[str, bytes]:
    files = dict(inputs.report_files())
    draw = rng.random()
    if draw < 0.65:
        document = mutations.mutate_tree(json.loads(files["report.json"]), rng)
        files["report.json"] = json.dumps(document).encode("utf-8", "surrogatepass")
    elif draw < 0.8:
        table = mutations.mutate_table(inputs.influence_table(), rng)
        with suppress(pa.ArrowException):
            files["influence.parquet"] = inputs.parquet(table)
    if draw > 0.9:
        name = list(files)[rng.integers(len(files))]
        files[name] = mutations.mutate_bytes(files[name], rng)
    return files


def report(folder: Path, rng: Rng) -> str:
    """report.json and what lies beside it: gate, compare, verify, card."""
    where = folder / "report"
    write_files(where, _report_files(rng))
    done = int(rng.integers(4))
    if done == 0:
        out = ["--junit", str(folder / "j.xml"), "--sarif", str(folder / "s.sarif")]
        baseline = ["--baseline", "baseline"] if rng.random() < 0.5 else []
        return command("gate", str(where), "--policy", "default", *baseline, *out)
    if done == 1:
        both = [str(where), "baseline"] if rng.random() < 0.5 else ["baseline", str(where)]
        return command("compare", *both, "--out", str(folder / "comparison"))
    if done == 2:
        return command("verify", str(where), "--store", str(folder / "s.sqlite"))
    try:  # read whole, and drawn anew
        found = Report.load(where)
        assert (found.scores, found.influence, found.set_aside, found.to_frame()) is not None
        found.to_json()
        if rng.random() < 0.2:
            found.save(folder / "again")
    except RmauditError as error:
        one_line(error)
        return REFUSED
    return ACCEPTED


def log(folder: Path, rng: Rng) -> str:
    """A log of an RL run, read and fitted."""
    name = list(inputs.LOGS)[rng.integers(len(inputs.LOGS))]
    (folder / name).write_bytes(_log(name, rng))
    try:
        curves = from_logs([folder / name], resamples=100)
        curves.summary()
        curves.curve.to_csv(os.devnull)
    except RmauditError as error:
        one_line(error)
        return REFUSED
    return ACCEPTED


@mutations.room()
def _log(name: str, rng: Rng) -> bytes:
    content = inputs.LOGS[name]
    if name == "trainer_state.json" and rng.random() < 0.7:
        content = json.dumps(mutations.mutate_tree(json.loads(content), rng)).encode()
    elif name == "training-log.jsonl" and rng.random() < 0.7:
        rows = mutations.mutate_tree(inputs.LOG, rng)
        content = inputs.jsonl(rows if isinstance(rows, list) else [rows])
    return mutations.mutate_bytes(content, rng) if rng.random() < 0.5 else content


TARGETS: dict[str, tuple[float, Callable[[Path, Rng], str]]] = {
    "data": (0.54, data),
    "report": (0.15, report),
    "config": (0.04, config),
    "policy": (0.09, policy),
    "suite": (0.09, suite),
    "log": (0.09, log),
}
