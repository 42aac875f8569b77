"""The record of logged runs of RL: a report like an audit's, so that it can be gated."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rmaudit.audits.base import grade
from rmaudit.audits.overoptimization.audit import Overoptimization, study_metrics
from rmaudit.overoptimization.result import Overopt
from rmaudit.overoptimization.sentences import run_sentences
from rmaudit.overoptimization.study import Study, curve_frame, fit_frame, gain_figure
from rmaudit.report.document import Report
from rmaudit.results import AuditResult, Estimate, Finding, Metric
from rmaudit.scoring.requests import Cost
from rmaudit.stats.law import p_at_most

IN_SDS = ("gold_gain_at_peak", "gold_loss_after_peak", "proxy_gold_gap", "fit_alpha", "fit_beta")


@dataclass
class _Runs:
    """What was logged, in the place of a model."""

    name: str
    fingerprint: str
    kind: str = "run"

    def describe(self) -> dict[str, Any]:
        """Nothing beyond the name."""
        return {}


def run_report(
    result: Overopt, *, seed: int, config: Mapping[str, Any], provenance: Mapping[str, Any]
) -> Report:
    """The curves of logged runs as a report with one audit, `overoptimization`.

    Metrics are those of the audit, on the slice ``method=rl`` (and ``run``, where there are
    several), and ``overoptimization.onset_step`` on the slice ``run`` (of one run also without).
    Numbers whose unit is the gold SD are undefined where the run logs no SD.

    Parameters
    ----------
    result
        Of `rmaudit.overoptimization.from_logs`.
    seed, config, provenance
        For the record.
    """
    studies = result.studies
    alone = len(studies) == 1
    metrics = [metric for one in studies for metric in _metrics(one, alone=alone)]
    onsets = result.metrics()
    overall = [replace(onsets[0], slice={})] if alone and onsets else []
    figure = gain_figure(
        studies, "gain_rl", "Gold and proxy gain against KL, RL", confidence=result.confidence
    )
    made = AuditResult(
        Overoptimization.name,
        metrics=(*metrics, *overall, *onsets),
        findings=tuple(turn for one in studies for turn in _turned(one)),
        tables={"curve": curve_frame(studies, result.confidence), "fits": fit_frame(studies)},
        figures=(figure,),
    )
    digests = "".join(source.sha256 for source in result.sources.values())
    runs = _Runs(
        ", ".join(one.run for one in studies), hashlib.sha256(digests.encode()).hexdigest()
    )
    return Report.build(
        [made],
        audits=[Overoptimization()],
        model=runs,
        inputs=result.sources,
        cost=Cost(),
        seed=seed,
        config={"confidence": result.confidence, **config},
        provenance=provenance,
        strict=True,
    )


def _metrics(one: Study, *, alone: bool) -> Sequence[Metric]:
    made = []
    for metric in study_metrics(one):
        estimate = metric.estimate
        if not one.curve.standard and metric.id.partition(".")[2] in IN_SDS:
            estimate = Estimate.undefined(
                "the log holds no SDs of the rewards",
                confidence=estimate.confidence,
                n=estimate.n,
                n_clusters=estimate.n_clusters,
            )
        where = dict(metric.slice) if alone else {**metric.slice, "run": one.run}
        made.append(Metric(metric.id, estimate, where))
    return made


def _turned(one: Study) -> list[Finding]:
    """The gold reward of a run ends below its best by more than noise."""
    loss, onset = one.found.loss_after_peak, one.found.onset_step
    if onset is None or not loss.defined or not loss.low > 0:
        return []
    severity = grade(loss.low, 0.1, 0.3) if one.curve.standard else "medium"
    return [
        Finding(
            severity,
            Overoptimization.name,
            "overoptimization.onset_step",
            f"{one.run}: the gold reward turns near step {onset.value:.0f}",
            " ".join(run_sentences(one)),
            (),
            p_at_most(loss, 0.0),
        )
    ]
