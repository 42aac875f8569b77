"""The written record, `report.json`: its fields, and the JSON Schema that ships with the package.

Fields are only ever added within a schema version; readers pass over fields that they don't know.
``python -m rmaudit.report.schema`` writes the schema file anew after a change here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rmaudit.errors import SchemaError, brief
from rmaudit.results import NO_INTERVAL, Better, Severity, Status

SCHEMA_VERSION = 1
SCHEMA_FILE = "report.schema.json"
_SLACK = 1e-9  # what rounding may put beyond an end
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(extra="allow", frozen=True)


class MetricRecord(Record):
    """One number. ``slice`` is empty for the overall one; ``value`` is null if undefined.

    ``df``, ``bounds`` (no upper one: the interval is on the logarithm) and ``more_than`` are the
    law of the interval: see `rmaudit.stats.law`.
    """

    # A null without its reason would be a number that vanished.
    model_config = ConfigDict(
        json_schema_extra={
            "if": {"properties": {"value": {"type": "null"}}},
            "then": {"properties": {"reason": {"type": "string", "minLength": 1}}},
        }
    )

    id: Annotated[str, Field(pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")]
    value: Number | None
    ci: tuple[Number | None, Number | None]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    n: Count
    n_prompts: Count
    unit: str
    better: Better
    slice: dict[str, str]
    method: str
    reason: str | None
    df: Number | None = None
    bounds: tuple[Number, Number | None] | None = None
    more_than: list[Number] | None = None


class TableRecord(Record):
    """A table; every row has one value a column."""

    columns: list[str]
    rows: list[list[JsonValue]]


class FigureRecord(Record):
    """The numbers of a figure; ``kind`` names what draws it, ``alt`` says what it shows."""

    name: str
    kind: str
    title: str
    alt: str
    data: dict[str, JsonValue]


class NotRunRecord(Record):
    """A part that lacked an input, and what it needs."""

    what: str
    needs: str


class AuditRecord(Record):
    """One audit. By metric id: ``names``, ``definitions`` in a line, ``cautions`` on intervals."""

    status: Status
    reason: str | None
    title: str
    question: str
    meaning: str
    source: str
    definitions: dict[str, str]
    names: dict[str, str] = {}
    cautions: dict[str, str] = {}
    metrics: list[MetricRecord]
    tables: dict[str, TableRecord]
    figures: list[FigureRecord]
    not_run: list[NotRunRecord]


class FindingRecord(Record):
    """A fault in plain words. Rewards in ``examples`` are null where they are not finite.

    ``p`` is the p-value of "no larger than tolerated", null for a fact about the data;
    ``p_adjusted`` is Holm's over all tests of the report.
    """

    severity: Severity
    audit: str
    metric: str
    title: str
    detail: str
    examples: list[dict[str, JsonValue]]
    p: Number | None = None
    p_adjusted: Number | None = None


class InputRecord(Record):
    """A file that was read; rows_read = rows_used + rows_set_aside."""

    path: str
    sha256: str
    rows_read: Count
    rows_used: Count
    rows_set_aside: Count
    reasons: dict[str, Count]


class CostRecord(Record):
    """What scoring cost; ``seconds`` is the only number here that differs between equal runs."""

    texts: Count
    texts_scored: Count
    tokens: Count
    seconds: Annotated[Number, Field(ge=0)]


class ModelRecord(Record):
    """The audited model; ``facts`` are dtype, maximum length, template and the like."""

    name: str
    kind: str
    signal: str | None = None  # logit, score, verdict or preference
    fingerprint: str
    facts: dict[str, JsonValue] = {}


class ProvenanceRecord(Record):
    """What produced the report. Null: not there, or a report that does not say."""

    python: str | None = None
    packages: dict[str, str | None] = {}
    git_revision: str | None = None
    platform: str | None = None
    processor: str | None = None
    cores: Count | None = None
    accelerator: str | None = None
    command: str | None = None


class ReportRecord(Record):
    """The whole of report.json. Audits stand in page order, findings worst first."""

    schema_version: Literal[1]
    rmaudit_version: str
    created: str
    seed: int
    model: ModelRecord
    inputs: dict[str, InputRecord]
    cost: CostRecord
    audits: dict[str, AuditRecord]
    findings: list[FindingRecord]
    config: dict[str, JsonValue] = {}
    provenance: ProvenanceRecord = ProvenanceRecord()


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of report.json, from the models above."""
    schema = ReportRecord.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://rmaudit.github.io/schema/report-{SCHEMA_VERSION}.json",
        **schema,
    }


@cache
def shipped_schema() -> dict[str, Any]:
    """The schema file of the installed package."""
    schema: dict[str, Any] = json.loads((files("rmaudit.report") / SCHEMA_FILE).read_text("utf-8"))
    return schema


def check(document: Any, where: str) -> None:
    """Hold a document against the shipped schema.

    Raises
    ------
    SchemaError
        Names the first fault's place, and the schema version if it is not ours.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaError(
            f"{where}: schema version {brief(version)} was written by a newer rmaudit "
            f"(this one reads {SCHEMA_VERSION}); update rmaudit"
        )
    fault = best_match(Draft202012Validator(shipped_schema()).iter_errors(document))
    if fault is not None:
        message = " ".join(fault.message.split())
        message = message if len(message) < 200 else message[:199] + "…"
        raise SchemaError(f"{where}: not a report of rmaudit: at {fault.json_path}: {message}")
    for place, message in _impossible(document):
        raise SchemaError(f"{where}: impossible: at {place}: {message}")


def _impossible(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Numbers that no audit can have found, and where: types alone let an edited report pass."""
    for name, source in document["inputs"].items():
        if source["rows_read"] != source["rows_used"] + source["rows_set_aside"]:
            yield f"inputs.{name}", "rows_read is not rows_used and rows_set_aside together"
    for name, audit in document["audits"].items():
        seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
        for metric in audit["metrics"]:
            place = f"audits.{name}: {metric['id']}"
            key = metric["id"], tuple(sorted(metric["slice"].items()))
            if not metric["id"].startswith(f"{name}."):
                yield place, "the metric is another audit's"
            if key in seen:
                yield place, f"stands there twice, of {metric['slice'] or 'all'}"
            seen.add(key)
            if fault := _impossible_number(metric):
                yield place, fault


def _impossible_number(metric: dict[str, Any]) -> str | None:
    """Why no audit can have found a number, if so."""
    value, (low, high) = metric["value"], metric["ci"]
    ends = [end for end in (low, high) if end is not None]  # an open end is null
    least, most = (
        open_ if end is None else end
        for end, open_ in zip(metric.get("bounds") or (None, None), (-inf, inf), strict=True)
    )
    df = metric.get("df")
    if value is not None and not ends and metric["method"] != NO_INTERVAL:
        return "a value without an interval"
    if len(ends) == 2 and low > high:
        return f"the interval [{low}, {high}] ends before it begins"
    if value is not None and not (metric["n"] and metric["n_prompts"]):
        return f"a value from {metric['n']} rows of {metric['n_prompts']} prompts"
    if least >= most:
        return f"the bounds [{least}, {most}] end before they begin"
    outside = [
        x for x in (value, *ends) if x is not None and not least - _SLACK <= x <= most + _SLACK
    ]
    if outside:
        return f"{outside[0]} lies beyond what it can be, [{least}, {most}]"
    if df is not None and df <= 0:
        return f"{df} degrees of freedom"
    return None


if __name__ == "__main__":
    text = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name(SCHEMA_FILE).write_text(text, encoding="utf-8")
