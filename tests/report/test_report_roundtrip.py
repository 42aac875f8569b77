"""Any estimates, slices and texts: the report that was saved is the one that is loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from report_samples import AUDITS, estimate, sample_report

from rmaudit.report.document import Report
from rmaudit.report.schema import check
from rmaudit.results import AuditResult, Estimate, Finding, Metric

COUNT = st.integers(0, 2**53)
LEVEL = st.floats(0, 1, exclude_min=True, exclude_max=True)
TEXT = st.text(max_size=20)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _possible(
    value: float, ends: tuple[float, float], open_: int, level: float, method: str, n: int, k: int
) -> Estimate:
    """An estimate that can be: ends in order, at most one of them open, rows and prompts."""
    low, high = sorted(ends)
    low, high = (-math.inf if open_ == 1 else low), (math.nan if open_ == 2 else high)
    return Estimate(value, low, high, level, method, n, k)


DEFINED = st.builds(
    _possible,
    FINITE,
    st.tuples(FINITE, FINITE),
    st.integers(0, 2),
    LEVEL,
    TEXT,
    st.integers(1, 2**53),
    st.integers(1, 2**53),
)
UNDEFINED = st.builds(
    Estimate.undefined, st.text(min_size=1), n=COUNT, n_clusters=COUNT, confidence=LEVEL
)
METRIC = st.builds(
    Metric,
    st.sampled_from([id_ for audit in AUDITS for id_ in audit.metrics]),
    st.one_of(DEFINED, UNDEFINED),
    st.dictionaries(TEXT, TEXT, max_size=2),
)
FINDING = st.builds(
    Finding,
    st.sampled_from(["high", "medium", "low", "info"]),
    st.sampled_from([audit.name for audit in AUDITS]),
    TEXT,
    TEXT,
    TEXT,
    st.lists(st.dictionaries(TEXT, st.one_of(TEXT, st.floats(), st.none())), max_size=2).map(tuple),
)
METRICS = st.lists(METRIC, max_size=6, unique_by=lambda m: (m.id, frozenset(m.slice.items())))


def results(metrics: list[Metric], findings: list[Finding]) -> list[AuditResult]:
    return [
        AuditResult(
            audit.name,
            metrics=tuple(metric for metric in metrics if metric.id in audit.metrics),
            findings=tuple(finding for finding in findings if finding.audit == audit.name),
        )
        for audit in AUDITS
    ]


def written(end: float) -> float:
    """What has no number in JSON is null, which reads as NaN."""
    return end if math.isfinite(end) else math.nan


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(METRICS, st.lists(FINDING, max_size=3))
@example(  # two slices that read the same
    [
        Metric("preference.accuracy", estimate(0.5, 0.1), {"a": "b, c=d"}),
        Metric("preference.accuracy", estimate(0.7, 0.1), {"a": "b", "c": "d"}),
    ],
    [],
)  # fmt: skip
def test_a_saved_report_is_loaded_as_it_was(
    tmp_path: Path, metrics: list[Metric], findings: list[Finding]
) -> None:
    report = sample_report(results(metrics, findings))
    text = report.to_json()
    (tmp_path / "report.json").write_text(text, encoding="utf-8")
    loaded = Report.load(tmp_path)
    assert loaded.record == report.record
    assert loaded.to_json() == text
    check(json.loads(text), "report.json")
    assert sum(1 for _ in loaded.metrics()) == len(metrics)
    assert len(loaded.findings) == len(findings)
    for metric in metrics:
        given_, read = metric.estimate, loaded.get(metric.id, **metric.slice)
        assert same(read.value, given_.value)
        assert same(read.low, written(given_.low))
        assert same(read.high, written(given_.high))
        assert (read.confidence, read.method) == (given_.confidence, given_.method)
        assert (read.n, read.n_clusters) == (given_.n, given_.n_clusters)
        assert read.undefined_reason == given_.undefined_reason
