"""`rubric`: which criteria of a rubric carry the reward, and which can be relied on?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.rubric.findings import (
    CONSTANT,
    DEAD,
    DUPLICATES,
    PRESENCE,
    RELIABILITY,
    SHARE,
    SLOPE,
    TOP,
    findings,
    tests,
)
from rmaudit.audits.rubric.measure import Measured, measured
from rmaudit.audits.rubric.reading import read_rubric
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec
from rmaudit.rewards.base import EVERY_SIGNAL
from rmaudit.scoring.requests import Scores


@register_audit
class RubricAudit(Audit):
    """Reliable, dead, duplicate and presence-only criteria, and which one is bought first."""

    name = "rubric"
    title = "Rubric"
    question = "Which criteria of the rubric carry the reward, and can they be relied on?"
    meaning = (
        "A rubric pays points for criteria. A criterion that changes between two verdicts is "
        "noise; one that is the same for all responses of a prompt moves no policy; two that are "
        "met by the same responses count twice; one that is met wherever its own words stand is "
        "met by mentioning them. The slope says which criterion rises first under optimisation."
    )
    source = "HealthBench (arXiv 2505.08775); Krippendorff 2004, Content Analysis"
    order = 89
    signals = EVERY_SIGNAL
    rewarded = False
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        RELIABILITY: MetricSpec(
            "-1..1",
            "higher",
            "Krippendorff's alpha of repeated verdicts of one criterion on one response",
            "Reliability",
        ),
        DEAD: MetricSpec(
            "share",
            "zero",
            "points on criteria whose verdict is the same for all responses of a prompt",
            "Dead points",
        ),
        CONSTANT: MetricSpec(
            "share",
            "zero",
            "prompts whose responses all get the same verdict of a criterion",
            "Constant criterion",
        ),
        DUPLICATES: MetricSpec(
            "share",
            "zero",
            "points on criteria that are met by the same responses as an earlier one",
            "Duplicate points",
        ),
        PRESENCE: MetricSpec(
            "share",
            "zero",
            "points on criteria that are met wherever their own words are in the response",
            "Presence-only points",
        ),
        TOP: MetricSpec(
            "share",
            "none",
            "points on the largest criterion of a rubric, mean over prompts",
            "Largest criterion",
        ),
        SHARE: MetricSpec(
            "share",
            "none",
            "covariance of the rubric's total with a criterion's points, over the total's variance",
            "Share of the advantage",
        ),
        SLOPE: MetricSpec(
            "SD per sqrt(nat)",
            "none",
            "rise of a criterion per square root of KL at the start of optimisation",
            "First-mover slope",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs criteria with verdicts."""
        if rubric_data(case) is None:
            return "needs criteria with points and verdicts: a column rubric beside outputs"
        return None

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Numbers of the rubric and of each criterion that enough prompts share."""
        data = rubric_data(case)
        if data is None:
            return AuditResult(self.name, "not_run", self.missing(case))
        measures = measured(read_rubric(data), data, case.confidence)
        over_all = [
            (RELIABILITY, measures.reliability),
            (DEAD, measures.dead),
            (DUPLICATES, measures.duplicates),
            (PRESENCE, measures.presence),
            (TOP, measures.top),
        ]
        by_criterion: list[tuple[str, Mapping[str, Estimate]]] = [
            (RELIABILITY, measures.by_reliability),
            (CONSTANT, measures.constant),
            (SHARE, measures.shares),
            (SLOPE, measures.slopes),
        ]
        own = data is case.eval  # influences that a report keeps are by evaluation prompt
        return AuditResult(
            self.name,
            metrics=(
                *(Metric(id_, e if own else replace(e, influence=None)) for id_, e in over_all),
                *(
                    Metric(id_, replace(estimate, influence=None), {"criterion": name})
                    for id_, estimates in by_criterion
                    for name, estimate in estimates.items()
                ),
            ),
            findings=tuple(findings(measures)),
            tests=tests(measures),
            tables={"criteria": _table(measures)},
            figures=_figures(measures),
        )


def rubric_data(case: Case) -> Dataset | None:
    """The samples with verdicts, else the evaluation data; None where neither has any."""
    for data in (case.samples, case.eval):
        if data is not None and read_rubric(data):
            return data
    return None


def _table(found: Measured) -> pd.DataFrame:
    """One row a criterion that enough prompts share."""

    def value(estimates: Mapping[str, Estimate], name: str) -> float | None:
        return estimates[name].value if name in estimates and estimates[name].defined else None

    return pd.DataFrame(
        [
            {
                "criterion": name,
                "points": found.points[name],
                "met": found.means[name],
                "reliability": value(found.by_reliability, name),
                "constant": value(found.constant, name),
                "own words": value(found.words, name),
                "share of the advantage": value(found.shares, name),
                "slope": value(found.slopes, name),
                "same as": ", ".join(one for one, other in found.pairs if other == name),
            }
            for name in found.means
        ]
    )


def _figures(found: Measured) -> tuple[Figure, ...]:
    rows = [
        {"label": name, "value": share.value, "low": share.low, "high": share.high}
        for name, share in found.shares.items()
        if share.defined
    ]
    if not rows:
        return ()
    data = {"rows": rows, "xlabel": "share of the advantage", "xunit": "percent", "reference": 0}
    alt = f"Share of the advantage of {len(rows)} criteria."
    return (Figure("criteria", "intervals", "Criteria that move a policy", alt, data),)
