"""`generalization`: how far does the reward model err outside what people judged?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy.special import expit

from rmaudit.audits.base import Audit, grade, one_question, register_audit
from rmaudit.audits.common.pairs import (
    Margins,
    lacks_labels,
    margins,
    optional,
    pair_examples,
)
from rmaudit.audits.common.support import contexts, lacking
from rmaudit.audits.generalization.inflation import inflation
from rmaudit.audits.generalization.performance_gap import (
    gap_figure,
    gap_findings,
    gap_lacks,
    gap_metrics,
    gap_requests,
    gap_table,
    gaps,
)
from rmaudit.audits.generalization.regions import (
    LEAST_PROMPTS,
    region_findings,
    region_metrics,
    search,
)
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec, NotRun
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_mean, count_codes
from rmaudit.stats.law import p_at_most
from rmaudit.stats.uncertainty import auroc_estimate
from rmaudit.support.conformal import Calibration, Terms, threshold_ratios
from rmaudit.typing import Float

WAYS = 3  # accuracy, inflation and regions: of one question


@register_audit
class Generalization(Audit):
    """Errors inside and outside the support of the feedback."""

    name = "generalization"
    title = "Generalization"
    question = "Does the model rank as well outside the feedback's support as inside?"
    meaning = (
        "Inside: no farther from the feedback than 95% of the feedback held out from it. "
        "A gap in accuracy or calibration is the error that coverage only threatens. Inflation is "
        "reward for being unlike the feedback beyond what the labels bear out. Weak regions are "
        "looked for on one half of the prompts and tested on the other: they need no feedback."
    )
    source = "Chaudhari et al. 2024 (arXiv 2404.08555), Sections 5.1 and 6.2"
    order = 70
    metrics: ClassVar = {
        "generalization.accuracy_in": MetricSpec(
            "probability",
            "higher",
            "accuracy on prompts inside the feedback's support",
            "Accuracy inside the support",
        ),
        "generalization.accuracy_out": MetricSpec(
            "probability",
            "higher",
            "accuracy on prompts outside the feedback's support",
            "Accuracy outside the support",
        ),
        "generalization.accuracy_gap": MetricSpec(
            "probability",
            "zero",
            "accuracy inside minus outside the feedback's support",
            "Out-of-distribution accuracy gap",
        ),
        "generalization.calibration_gap": MetricSpec(
            "probability",
            "zero",
            "overconfidence outside minus inside the feedback's support",
            "Out-of-distribution overconfidence gap",
        ),
        "generalization.error_distance_auroc": MetricSpec(
            "probability",
            "none",
            "chance that an incorrectly ranked pair is farther from the feedback than a "
            "correctly ranked one",
            "Error-distance AUROC",
        ),
        "generalization.reward_inflation": MetricSpec(
            "SD",
            "zero",
            "reward of responses outside the support beyond what their labels justify",
            "Reward inflation",
        ),
        "generalization.delta_j": MetricSpec(
            "gold SD",
            "zero",
            "gold reward lost by optimising the model instead of the gold reward",
            "Performance gap",
        ),
        "generalization.delta_j_outside": MetricSpec(
            "gold SD",
            "zero",
            "the performance gap on prompts outside the feedback's support",
            "Performance gap outside the support",
        ),
        "generalization.region_accuracy": MetricSpec(
            "probability",
            "higher",
            "accuracy on a region of the prompts that was found on the other half of them",
            "Accuracy in a weak region",
        ),
        "generalization.region_gap": MetricSpec(
            "probability", "zero", "accuracy elsewhere minus in that region", "Weak-region gap"
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels and feedback."""
        if unlabelled := lacks_labels(case):
            return unlabelled
        searched = count_codes(case.clusters) >= 4 * LEAST_PROMPTS  # regions need labels alone
        return None if searched else lacking(case)

    def requests(self, case: Case) -> Sequence[Request]:
        """The policy's samples, where they have gold rewards."""
        return gap_requests(case) if lacking(case) is None else ()

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Accuracy, over-confidence and reward by support; error against distance."""
        ranked = margins(case, scores)
        decided = ranked.decided
        regions = with_regions(case, decided)
        if needs := lacking(case):
            # Weak regions need labels alone.
            if not regions.metrics:
                return AuditResult(self.name, "not_run", needs)
            return replace(regions, not_run=(NotRun("inside and outside the support", needs),))
        where = contexts(case, "eval")
        distance = where.distances["eval"]
        numbers = by_support(decided, distance, where.calibration, case.confidence)
        numbers["error_distance_auroc"] = auroc_estimate(
            distance[decided.row], 1 - decided.correct, decided.cluster, confidence=case.confidence
        )
        numbers["reward_inflation"] = inflation(case, ranked)
        deciles = by_distance(decided, distance, case.confidence)
        lacks = [
            NotRun(name, estimate.undefined_reason)
            for name, estimate in numbers.items()
            if estimate.undefined_reason
        ]
        measured = AuditResult(
            self.name,
            metrics=(
                *(Metric(f"generalization.{name}", e) for name, e in numbers.items()),
                *regions.metrics,
            ),
            findings=one_question(
                (*findings(case, decided, where.outside("eval"), numbers), *regions.findings), WAYS
            ),
            tables={"accuracy_by_distance": deciles},
            figures=(figure(deciles),),
            not_run=tuple(lacks),
        )
        return with_gap(measured, case, scores)


def with_regions(case: Case, decided: Margins) -> AuditResult:
    """The weak regions alone."""
    tested = search(case, decided)
    return AuditResult(
        Generalization.name,
        metrics=tuple(region_metrics(tested)),
        findings=tuple(region_findings(case, decided, tested)),
        tests=1,
    )


def with_gap(measured: AuditResult, case: Case, scores: Scores) -> AuditResult:
    """The result with the performance gap, or with what that needs."""
    needs = gap_lacks(case)
    if needs is not None:
        return replace(measured, not_run=(*measured.not_run, NotRun("delta_j", needs)))
    where = contexts(case, "samples")
    found = gaps(case, scores)
    outside = None if where.calibration.undefined_reason else where.outside("samples")
    table = gap_table(case, found, outside)
    return replace(
        measured,
        metrics=(*measured.metrics, *gap_metrics(case, found, outside)),
        findings=(*measured.findings, *gap_findings(case, found, outside)),
        tests=measured.tests + 1,
        tables={**measured.tables, "performance_gap": table},
        figures=(*measured.figures, gap_figure(table)),
    )


def by_support(
    decided: Margins, distance: Float, calibration: Calibration, confidence: float
) -> dict[str, Estimate]:
    """Accuracy inside and outside, the gap, and the gap in over-confidence.

    Over-confidence is the mean of ``sigmoid(|margin|)`` less the accuracy. `distance` is that of
    each evaluation row's prompt, (n_rows,); the intervals know that where the support ends is
    estimated.
    """
    far = distance[decided.row]  # (n_pairs,)
    over = expit(np.abs(decided.margin)) - decided.correct
    reason = None
    outside = calibration.outside(far)
    for side, name in ((0, "inside"), (1, "outside")):
        prompts = int(np.unique(decided.cluster[outside == side]).size)
        if prompts < 2 and not calibration.undefined_reason:
            reason = f"{prompts} evaluation prompts lie {name} the support: two are needed"

    def of(*parts: tuple[float, Float, bool], low: float, high: float = 1.0) -> Estimate:
        def terms_at(threshold: float) -> Terms:
            inside = (far <= threshold).astype(np.float64)
            sides = {True: inside, False: 1 - inside}
            return [(weight, values * sides[side], sides[side]) for weight, values, side in parts]

        bounds = (low, high)
        return threshold_ratios(
            terms_at, calibration, decided.cluster, confidence=confidence, bounds=bounds
        )

    correct = decided.correct
    numbers = {
        "accuracy_in": of((1.0, correct, True), low=0.0),
        "accuracy_out": of((1.0, correct, False), low=0.0),
        "accuracy_gap": of((1.0, correct, True), (-1.0, correct, False), low=-1.0),
        # Over-confidence is between -1/2 and 1.
        "calibration_gap": of((1.0, over, False), (-1.0, over, True), low=-1.5, high=1.5),
    }
    if reason is None:
        return numbers
    return {
        name: e
        if e.defined
        else Estimate.undefined(reason, n=e.n, n_clusters=e.n_clusters, confidence=confidence)
        for name, e in numbers.items()
    }


def by_distance(decided: Margins, distance: Float, confidence: float) -> pd.DataFrame:
    """Accuracy in tenths of the comparisons by distance of the prompt to the feedback."""
    far = distance[decided.row]
    columns = ["distance", "accuracy", "low", "high", "pairs"]
    if not len(far):
        return pd.DataFrame(columns=columns)
    edges = np.unique(np.quantile(far, np.linspace(0, 1, 11)))
    tenth = np.clip(np.searchsorted(edges, far, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for code in np.unique(tenth):
        part = tenth == code
        e = cluster_mean(
            decided.correct[part], decided.cluster[part], confidence=confidence, bounds=(0, 1)
        )
        rows.append((float(far[part].mean()), e.value, e.low, e.high, int(part.sum())))
    return pd.DataFrame(rows, columns=columns)


def figure(deciles: pd.DataFrame) -> Figure:
    """Accuracy against distance."""
    series = {
        "name": "accuracy",
        "x": deciles["distance"].tolist(),
        "y": [optional(value) for value in deciles["accuracy"]],
        "low": [optional(value) for value in deciles["low"]],
        "high": [optional(value) for value in deciles["high"]],
        "style": "points",
    }
    return Figure(
        "accuracy_by_distance",
        "curves",
        "Accuracy by distance to the feedback",
        "Accuracy in tenths of the comparisons, by the prompt's distance to the feedback.",
        {
            "series": [series],
            "xlabel": "mean distance to the nearest feedback prompts",
            "ylabel": "accuracy",
            "yunit": "percent",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": 0.5,
            "reference_x": None,
        },
    )


def findings(
    case: Case, decided: Margins, outside: Float, numbers: dict[str, Estimate]
) -> list[Finding]:
    """A gap in accuracy, and reward for the unknown, where the interval excludes none."""
    said = []
    gap, out, inner = (numbers[f"accuracy_{part}"] for part in ("gap", "out", "in"))
    if gap.defined and gap.low > 0:
        wrong = (outside[decided.row] > 0) & (decided.margin < 0)
        worst = np.where(wrong, -decided.margin, -np.inf)
        said.append(
            Finding(
                grade(gap.low, 0.03, 0.1),
                "generalization",
                "generalization.accuracy_gap",
                f"Outside the support of the feedback accuracy is {out.value:.1%}, "
                f"inside {inner.value:.1%}",
                "Label prompts like those below (coverage: label_next) and retrain; until then, "
                "do not optimise against the reward there.",
                pair_examples(case, decided, worst),
                p_at_most(gap, 0.0),
            )
        )
    inflated = numbers["reward_inflation"]
    if inflated.defined and inflated.low > 0:
        said.append(
            Finding(
                grade(inflated.low, 0.1, 0.3),
                "generalization",
                "generalization.reward_inflation",
                f"Reward inflation: responses outside the support get {inflated.value:.2f} SD "
                f"[{inflated.low:.2f}, {inflated.high:.2f}] too much",
                "The reward pays that much more for them than the labels bear out. An optimiser "
                "moves toward what the reward model has not seen: label such responses.",
                p=p_at_most(inflated, 0.0),
            )
        )
    return said
