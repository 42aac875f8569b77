"""`Report`: what an audit returns to Python, and reads and writes as report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
from pydantic import ValidationError

from rmaudit import files
from rmaudit._version import __version__
from rmaudit.data.types import Dataset, SetAside, Source
from rmaudit.errors import SchemaError, UsageError, nearest
from rmaudit.report.binding import audit_record, bounds_of, fields, slice_words, sound
from rmaudit.report.folder import (
    INFLUENCE,
    SCORES,
    SET_ASIDE,
    read_influence,
    read_set_aside,
    read_table,
    report_file,
)
from rmaudit.report.influence import influence_frame
from rmaudit.report.plain import deeper_than, dumps, example, plain
from rmaudit.report.schema import (
    SCHEMA_VERSION,
    AuditRecord,
    FindingRecord,
    MetricRecord,
    ReportRecord,
    check,
)
from rmaudit.results import SEVERITIES, AuditResult, Described, Estimate
from rmaudit.scoring.requests import Cost


class Model(Protocol):
    """What a report says of the audited model."""

    name: str
    kind: str
    fingerprint: str

    def describe(self) -> dict[str, Any]:
        """Facts: dtype, maximum length, template, ..."""


class UnknownMetricError(UsageError, KeyError):
    """A metric id, or a slice of it, that the report does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])


MOST_LEVELS = 100  # of a report: what writes it again ends at 255


@dataclass(frozen=True, eq=False)
class Report:
    """One audit of one reward model.

    ``report["length.excess_preference"].value`` is the overall number; `get` takes a slice.
    `record` is all of report.json; `scores`, `influence` and `set_aside` lie in files beside it,
    which are read when they are first asked for.
    """

    record: ReportRecord
    folder: Path | None = None  # where it was loaded from
    _scores: pd.DataFrame | None = None
    _influence: pd.DataFrame | None = None
    _set_aside: tuple[SetAside, ...] | None = None
    data: Dataset | None = None  # the evaluation data, of a report just made: for samples.html

    @classmethod
    def build(
        cls,
        results: Sequence[AuditResult],
        *,
        audits: Sequence[Described],
        model: Model,
        signal: str | None = None,
        inputs: Mapping[str, Source],
        cost: Cost,
        seed: int,
        config: Mapping[str, Any],
        provenance: Mapping[str, Any],
        scores: pd.DataFrame | None = None,
        set_aside: Sequence[SetAside] = (),
        prompts: Sequence[str] | None = None,
        data: Dataset | None = None,
        strict: bool = False,
        benchmark: Mapping[str, Any] | None = None,
    ) -> Report:
        """Bind the results of an audit together.

        Parameters
        ----------
        results, audits
            What each audit found, and the audits, which say what their metric ids mean.
        model, signal, inputs, cost, seed, config, provenance
            What was audited, what its rewards claim (None: not known), on what, at what cost, how,
            and with which software.
        scores, set_aside
            Every reward, and the rows that could not be used: `save` writes them beside the report.
        prompts
            What the cluster codes of the estimates' influences stand for: `Dataset.cluster_keys`
            of the evaluation data. None: influences are not kept.
        data
            The evaluation data: `save` writes its rows with their rewards as samples.html.
        strict
            Raise what is wrong with one audit's result. By default that audit is listed as failed,
            with the reason: a fault of one audit must not cost the others' results.
        benchmark
            ``suite`` and ``official`` of a benchmark run: further keys of the record.

        Raises
        ------
        SchemaError
            With `strict`, if an audit reports a metric that it does not declare, or one number
            twice.
        """
        by_name = {audit.name: audit for audit in audits}
        results = [sound(result, by_name[result.audit], strict) for result in results]
        document = {
            "schema_version": SCHEMA_VERSION,
            "rmaudit_version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": seed,
            "model": _model(model, signal),
            "inputs": {name: asdict(source) for name, source in inputs.items()},
            "cost": asdict(cost),
            "audits": {r.audit: audit_record(r, by_name[r.audit]) for r in results},
            "findings": _findings(results),
            "config": dict(config),
            "provenance": dict(provenance),
            **(benchmark or {}),
        }
        influence = None
        if prompts is not None:
            influence = influence_frame((m for result in results for m in result.metrics), prompts)
        record = _parse(plain(document), "report")
        return cls(record, None, scores, influence, tuple(set_aside), data)

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read a report from its folder or its report.json.

        Raises
        ------
        UsageError
            If there is none.
        SchemaError
            If the file is not a report, or a newer version's.
        """
        file = Path(path)
        file = report_file(file) if file.is_dir() else file
        try:
            text = files.read_text(file)
        except OSError as error:
            raise UsageError(
                f"no report at {file} ({error.strerror}); `rmaudit audit --out DIR` writes one"
            ) from error
        except UnicodeDecodeError as error:
            raise SchemaError(f"{file}: not UTF-8 text: {error.reason}") from error
        try:
            document = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise SchemaError(f"{file}: not JSON: {error}") from error
        if deeper_than(document, MOST_LEVELS):
            raise SchemaError(f"{file}: nested too deeply to be a report")
        return cls(_parse(document, str(file)), file.parent)

    @property
    def suite(self) -> Mapping[str, Any] | None:
        """Of a benchmark run: name, title, headline, notes; None for an audit."""
        return (self.record.model_extra or {}).get("suite")

    @property
    def official(self) -> Mapping[str, float | None]:
        """Of a benchmark run: its own numbers by name, null where its rule gives none."""
        numbers: Mapping[str, float | None] = (self.record.model_extra or {}).get("official", {})
        return numbers

    @cached_property
    def scores(self) -> pd.DataFrame | None:
        """Every reward: `scores.parquet` (`rmaudit.scoring.scores_frame`)."""
        return self._scores if self.folder is None else read_table(self.folder / SCORES)

    @cached_property
    def influence(self) -> pd.DataFrame | None:
        """What each prompt contributes to each number: see `rmaudit.report.influence`."""
        if self.folder is None:
            return self._influence
        return read_influence(self.folder / INFLUENCE)

    @cached_property
    def set_aside(self) -> tuple[SetAside, ...] | None:
        """The rows of all inputs that could not be used."""
        if self.folder is None:
            return self._set_aside
        return read_set_aside(self.folder / SET_ASIDE)

    def __getitem__(self, metric_id: str) -> Estimate:
        """The overall estimate of a metric id; NaN with a reason where it is undefined."""
        return self.get(metric_id)

    def __contains__(self, metric_id: object) -> bool:
        return any(metric.id == metric_id and not metric.slice for metric in self.metrics())

    def get(self, metric_id: str, **slice_: str) -> Estimate:
        """The estimate of a metric id on a slice: ``report.get(id, subset="code")``.

        Raises
        ------
        UsageError
            (also a `KeyError`) If the report does not hold it; names the nearest that it does.
        """
        metric = self.metric(metric_id, **slice_)
        low, high = (math.nan if end is None else end for end in metric.ci)
        return Estimate(
            math.nan if metric.value is None else metric.value,
            low,
            high,
            metric.confidence,
            metric.method,
            metric.n,
            metric.n_prompts,
            metric.reason if metric.value is None else None,
            df=metric.df,
            bounds=bounds_of(metric),
            more_than=None if metric.more_than is None else tuple(metric.more_than),
        )

    def metric(self, metric_id: str, **slice_: str) -> MetricRecord:
        """The same as `get`, as it is written: with unit, direction and slice."""
        same_id = [metric for metric in self.metrics() if metric.id == metric_id]
        for metric in same_id:
            if metric.slice == slice_:
                return metric
        if same_id:
            known = [slice_words(metric.slice) for metric in same_id]
            wanted = slice_words(slice_)
            raise UnknownMetricError(f"{metric_id} has no slice {wanted}; {nearest(wanted, known)}")
        audit = self.audits.get(metric_id.partition(".")[0])
        if audit is not None and audit.status != "ok":
            status = audit.status.replace("_", " ")
            raise UnknownMetricError(f"{metric_id}: its audit is {status}: {audit.reason}")
        ids = dict.fromkeys(metric.id for metric in self.metrics())
        raise UnknownMetricError(
            f"no metric {metric_id!r} in this report; {nearest(metric_id, ids)}"
        )

    def metrics(self) -> Iterator[MetricRecord]:
        """Every number, in page order."""
        for audit in self.audits.values():
            yield from audit.metrics

    @property
    def audits(self) -> Mapping[str, AuditRecord]:
        """The audits by name, in page order."""
        return self.record.audits

    @property
    def findings(self) -> Sequence[FindingRecord]:
        """The findings, worst first."""
        return self.record.findings

    @property
    def failed(self) -> bool:
        """Whether an audit failed (an error in it, not a bad result)."""
        return any(audit.status == "failed" for audit in self.audits.values())

    def to_frame(self) -> pd.DataFrame:
        """One row a number: id, slice (dict), value, low, high, confidence, n, n_prompts, ..."""
        columns = ["id", "slice", "value", "low", "high", "confidence", "n", "n_prompts"]
        columns += ["unit", "better", "method", "reason"]
        rows = []
        for metric in self.metrics():
            row = metric.model_dump()
            row["low"], row["high"] = row["ci"]
            rows.append([row[column] for column in columns])
        frame = pd.DataFrame(rows, columns=columns)
        return frame.astype(dict.fromkeys(("value", "low", "high"), "float64"))

    def to_dict(self) -> dict[str, Any]:
        """The content of report.json."""
        return self.record.model_dump(mode="json")

    def to_json(self) -> str:
        """The text of report.json, checked against its schema."""
        document = self.to_dict()
        check(document, "report")
        return dumps(document)

    def save(self, folder: str | Path, *, paper: str = "neurips") -> Path:
        """Write report.json, report.html, figures/ (SVG, and PDF in a paper's style) and tables/.

        Figures and tables that an earlier report left in the folder are removed.

        Parameters
        ----------
        folder
            Made if it isn't there.
        paper
            A style of `rmaudit.plots.STYLES` for the PDFs.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        if self.suite is not None:
            from rmaudit.report.benchmark import write_benchmark

            return write_benchmark(self, Path(folder))
        from rmaudit.report.writing import write

        write(self, Path(folder), paper)
        return Path(folder)

    def _repr_html_(self) -> str:
        from rmaudit.report.page import summary

        return summary(self)


def _model(model: Model, signal: str | None) -> dict[str, Any]:
    """What the record says of the model."""
    return {
        "name": model.name,
        "kind": model.kind,
        "signal": signal,
        "fingerprint": model.fingerprint,
        "facts": model.describe(),
    }


def _findings(results: Sequence[AuditResult]) -> list[dict[str, Any]]:
    """All findings, worst first; those of one severity in page order."""
    findings = [finding for result in results for finding in result.findings]
    findings.sort(key=lambda f: SEVERITIES.index(f.severity))  # stable: then in page order
    return [{**fields(f), "examples": [example(row) for row in f.examples]} for f in findings]


def _parse(document: Any, where: str) -> ReportRecord:
    check(document, where)
    try:
        return ReportRecord.model_validate(document)
    except ValidationError as error:  # what the schema has no words for, such as too deep a nest
        raise SchemaError(f"{where}: {error.errors()[0]['msg']}") from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
