"""The results of audits as records of report.json, one audit at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from rmaudit.errors import SchemaError, nearest
from rmaudit.report.plain import plain, table
from rmaudit.report.schema import AuditRecord, FindingRecord, MetricRecord
from rmaudit.results import AuditResult, Described, Metric, MetricSpec
from rmaudit.stats.law import Law


def sound(result: AuditResult, audit: Described, strict: bool) -> AuditResult:
    """The result, or that of a failed audit where it cannot be written down."""
    try:
        AuditRecord.model_validate(plain(audit_record(result, audit)))
        for finding in result.findings:
            FindingRecord.model_validate(plain(fields(finding)))
    except Exception as error:
        if strict:
            raise
        reason = str(error) if isinstance(error, SchemaError) else _first_fault(error)
        return AuditResult(result.audit, "failed", f"its result cannot be written: {reason}")
    return result


def _first_fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    fault = error.errors()[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def audit_record(result: AuditResult, audit: Described) -> dict[str, Any]:
    """The fields of `AuditRecord`; `SchemaError` if a metric is undeclared, or there twice."""
    seen: set[tuple[str, frozenset[tuple[str, str]]]] = set()
    for metric in result.metrics:
        if metric.id not in audit.metrics:
            raise SchemaError(
                f"audit {audit.name!r} reports {metric.id!r}, which it does not declare; "
                f"add it to its `metrics` ({nearest(metric.id, audit.metrics)})"
            )
        key = (metric.id, frozenset((k, str(v)) for k, v in metric.slice.items()))
        if key in seen:
            where = slice_words(metric.slice)
            raise SchemaError(f"audit {audit.name!r} reports {metric.id} twice for {where}")
        seen.add(key)
    used = dict.fromkeys(metric.id for metric in result.metrics)
    return {
        "status": result.status,
        "reason": result.reason,
        "title": audit.title,
        "question": audit.question,
        "meaning": audit.meaning,
        "source": audit.source,
        "definitions": {id_: audit.metrics[id_].meaning for id_ in used},
        "names": {id_: audit.metrics[id_].name or plain_name(id_) for id_ in used},
        "cautions": {id_: audit.metrics[id_].caution for id_ in used if audit.metrics[id_].caution},
        "metrics": [_metric(metric, audit.metrics[metric.id]) for metric in result.metrics],
        "tables": {name: table(frame) for name, frame in result.tables.items()},
        "figures": [fields(figure) for figure in result.figures],
        "not_run": [fields(part) for part in result.not_run],
    }


def plain_name(metric_id: str) -> str:
    """What a metric without a name of its own is called: ``a.b_c`` is "B c"."""
    return metric_id.rpartition(".")[2].replace("_", " ").capitalize()


def _metric(metric: Metric, spec: MetricSpec) -> dict[str, Any]:
    e = metric.estimate
    reason = e.undefined_reason
    if reason is None and not math.isfinite(e.value):
        reason = "not a finite number; the audit gave no reason"
    return {
        "id": metric.id,
        "value": e.value,
        "ci": [e.low, e.high],
        "confidence": e.confidence,
        "n": e.n,
        "n_prompts": e.n_clusters,
        "unit": spec.unit,
        "better": spec.better,
        "slice": {key: str(value) for key, value in metric.slice.items()},
        "method": e.method,
        "reason": reason,
        "df": e.df,
        "bounds": e.bounds,
        "more_than": e.more_than,
    }


def law_of(metric: MetricRecord) -> Law | None:
    """The law of a number's interval; None where it has no value or no interval."""
    value, (low, high) = metric.value, metric.ci
    steps = metric.unit == "step"  # a bracket of steps has ends and no normal law
    if steps and high is None:
        high = math.inf  # no fall was shown
    if value is None or low is None or high is None:
        return None
    return Law(
        value,
        low,
        high,
        metric.confidence,
        metric.n_prompts,
        metric.df,
        bounds_of(metric),
        None if metric.more_than is None else tuple(metric.more_than),
        metric.method == "exact",
        steps or metric.unit == "count",
    )


def bounds_of(metric: MetricRecord) -> tuple[float, float] | None:
    """The bounds of a number, in which no upper one is infinity."""
    if metric.bounds is None:
        return None
    start, stop = metric.bounds
    return start, math.inf if stop is None else stop


def slice_words(slice_: Mapping[str, str]) -> str:
    """A slice in words."""
    return ", ".join(f"{key}={value}" for key, value in slice_.items()) or "(overall)"


def fields(item: Any) -> dict[str, Any]:
    """The fields of a dataclass, not copied."""
    return {name: getattr(item, name) for name in item.__dataclass_fields__}
