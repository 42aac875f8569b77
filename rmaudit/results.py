"""What an audit returns: estimates, metrics, findings, figures, and the result that holds them.

Plain frozen dataclasses; the written record (`report.json`) is `rmaudit.report.schema`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Better = Literal["higher", "lower", "zero", "one", "none"]
Severity = Literal["high", "medium", "low", "info"]
Status = Literal["ok", "not_run", "failed"]
NO_INTERVAL = "no interval"  # the method of a number that stands without one, and says so
# How the reason begins where an audit is not for this kind of reward: then nothing is missing.
OTHER_KIND = "not for this reward"
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low", "info")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and how far to trust it; NaN throughout when `undefined_reason` is set."""

    value: float
    low: float
    high: float
    confidence: float  # two-sided, e.g. 0.95
    method: str  # "cluster-robust", "cluster-bootstrap", "exact", ...
    n: int  # rows: preference pairs, texts, ...
    n_clusters: int  # prompts
    undefined_reason: str | None = None
    # Influence of each prompt on the value, (n_clusters,) in order of cluster code, where the
    # method has one: what a paired comparison of two audits is computed from.
    influence: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)
    # What the interval was made with, so that one-sided bounds and p-values follow the same law
    # (`rmaudit.stats.law`): degrees of freedom (None: one less than the prompts), bounds of the
    # value (None: none), and for a count of things tested the p-values of "at most 0, 1, ...".
    df: float | None = None
    bounds: tuple[float, float] | None = None
    more_than: tuple[float, ...] | None = None

    @classmethod
    def undefined(
        cls, reason: str, *, n: int = 0, n_clusters: int = 0, confidence: float = 0.95
    ) -> Estimate:
        """An estimate that does not exist, with the reason why."""
        return cls(math.nan, math.nan, math.nan, confidence, "undefined", n, n_clusters, reason)

    @property
    def ci(self) -> tuple[float, float]:
        """The interval, (low, high)."""
        return (self.low, self.high)

    @property
    def defined(self) -> bool:
        """Whether the number exists."""
        return self.undefined_reason is None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN stands for undefined."""
        return {
            "value": self.value,
            "ci": [self.low, self.high],
            "confidence": self.confidence,
            "method": self.method,
            "n": self.n,
            "n_prompts": self.n_clusters,
            "reason": self.undefined_reason,
        }

    def to_frame(self) -> pd.DataFrame:
        """One row: value, low, high, confidence, method, n, n_prompts, reason."""
        row = self.to_dict()
        low, high = row.pop("ci")
        return pd.DataFrame([{**row, "low": low, "high": high}])


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """What a public metric id means.

    Parameters
    ----------
    unit, better
        The unit, and which way is better.
    meaning
        The definition, in one line.
    name
        What the page calls it: "Pairwise accuracy". By default the last part of the id.
    caution
        What to know before relying on its interval, such as a coverage that simulation showed.
    """

    unit: str
    better: Better
    meaning: str
    name: str = ""
    caution: str = ""


class Described(Protocol):
    """What a report says of an audit or a benchmark beside its numbers."""

    @property
    def name(self) -> str:
        """The first part of its metric ids."""

    @property
    def title(self) -> str:
        """The heading."""

    @property
    def question(self) -> str:
        """What is asked, in one sentence."""

    @property
    def meaning(self) -> str:
        """How to read the numbers."""

    @property
    def source(self) -> str:
        """Paper, section."""

    @property
    def metrics(self) -> Mapping[str, MetricSpec]:
        """What each metric id means."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A public metric id with its estimate; `slice` is empty for the overall number."""

    id: str
    estimate: Estimate
    slice: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in plain words. `examples` are real rows: see `rmaudit.audits.base.example`."""

    severity: Severity
    audit: str
    metric: str
    title: str  # one sentence: the place and the number
    detail: str  # what it means and what to do next
    examples: tuple[Mapping[str, Any], ...] = ()
    # p-value of "no larger than what is tolerated", adjusted for whatever it was picked from
    # within its audit; None for a fact about these very data, which no chance makes false.
    p: float | None = None
    p_adjusted: float | None = None  # over the report: `rmaudit.auditing.as_one_family`


@dataclass(frozen=True, slots=True)
class Figure:
    """The numbers of one figure; `kind` names the function in `rmaudit.plots` that draws it.

    `data` holds plain JSON values only, so every view can be drawn again from `report.json`.
    """

    name: str  # file name without ending, unique within the audit
    kind: str
    title: str
    alt: str  # what the figure shows, in words, for those who cannot see it
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NotRun:
    """A part of an audit that lacked an input, and what it needs."""

    what: str
    needs: str


@dataclass(frozen=True, slots=True)
class AuditResult:
    """All that one audit found."""

    audit: str
    status: Status = "ok"
    reason: str | None = None
    metrics: tuple[Metric, ...] = ()
    findings: tuple[Finding, ...] = ()
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    not_run: tuple[NotRun, ...] = ()
    # Null hypotheses that findings of high or medium severity were held against, raised or not;
    # a picked extreme counts once, since its p-value allows for the picking.
    tests: int = 1

    def __getitem__(self, metric_id: str) -> Estimate:
        """The overall estimate of a metric id."""
        return self.get(metric_id)

    def get(self, metric_id: str, **slice_: str) -> Estimate:
        """The estimate of a metric id on a slice; `KeyError` if this audit did not report it."""
        for metric in self.metrics:
            if metric.id == metric_id and dict(metric.slice) == slice_:
                return metric.estimate
        raise KeyError(f"{metric_id} {slice_ or ''}".strip())

    def to_frame(self) -> pd.DataFrame:
        """One row a metric."""
        return metrics_frame(self.metrics)

    def to_dict(self) -> dict[str, Any]:
        """Metrics by id and slice, as plain values."""
        return {
            "audit": self.audit,
            "status": self.status,
            "reason": self.reason,
            "metrics": [
                {"id": m.id, "slice": dict(m.slice), **m.estimate.to_dict()} for m in self.metrics
            ],
        }


def metrics_frame(metrics: Sequence[Metric]) -> pd.DataFrame:
    """Columns id, slice, value, low, high, confidence, method, n, n_prompts, reason."""
    columns = [
        "id",
        "slice",
        "value",
        "low",
        "high",
        "confidence",
        "method",
        "n",
        "n_prompts",
        "reason",
    ]
    rows = []
    for metric in metrics:
        row = metric.estimate.to_dict()
        low, high = row.pop("ci")
        rows.append({"id": metric.id, "slice": dict(metric.slice), **row, "low": low, "high": high})
    return pd.DataFrame(rows, columns=columns)
