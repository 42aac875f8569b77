"""`disagreement`: does the reward model know what it does not know?

Members of an ensemble (seeds, checkpoints, other models) agree where the feedback taught them and
part where it did not. That is worth having only if the disagreement falls on the errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import Audit, example
from rmaudit.case import Case
from rmaudit.registry import register_audit
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec, Severity
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.scoring.requests import Scores
from rmaudit.stats.calibration import temperature
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.scale import within_prompt_sd
from rmaudit.stats.uncertainty import (
    area_under_risk_coverage,
    auroc_estimate,
    mutual_information,
    risk_coverage,
    selective_accuracy,
    sign_disagreement,
)

Float = NDArray[np.float64]
COVERAGE = 0.8
CURVE_POINTS = 100


@dataclass(frozen=True)
class Members:
    """Finite, decided pairs; margins of each member in its own within-prompt SDs."""

    margins: Float  # (n_members, n_pairs)
    raw: Float  # the same, unscaled
    rewards: Mapping[str, Float]  # side to (n_members, n_pairs), scaled
    rows: NDArray[np.int64]  # evaluation rows, (n_pairs,)
    clusters: NDArray[np.int64]


@register_audit
class Disagreement(Audit):
    """Spread of an ensemble's margins, and whether it predicts errors."""

    name = "disagreement"
    title = "Ensemble disagreement"
    question = "Does disagreement among members fall on the pairs that are ranked wrongly?"
    meaning = (
        "An AUROC of one half means that disagreement is blind to errors: a worst-case or "
        "variance-penalised aggregate then protects against nothing. Members are put on one scale "
        "by their own within-prompt SD; the information is in nats of temperature-scaled margins."
    )
    source = (
        "Coste et al. 2023 (arXiv 2310.02743), Section 3; Houlsby et al. 2011 (arXiv 1112.5745); "
        "Geifman et al. 2019 (arXiv 1805.08206)"
    )
    order = 80
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "disagreement.margin_sd": MetricSpec("SD", "none", "mean SD of the margin over members"),
        "disagreement.sign_disagreement": MetricSpec(
            "share", "none", "pairs of members that rank a pair differently"
        ),
        "disagreement.mutual_information": MetricSpec(
            "nats", "none", "what a label would tell about which member is right (BALD)"
        ),
        "disagreement.error_auroc": MetricSpec(
            "probability", "higher", "a wrongly ranked pair has more disagreement than a right one"
        ),
        "disagreement.selective_accuracy_80": MetricSpec(
            "probability", "higher", "accuracy on the 80 % of pairs with least disagreement"
        ),
        "disagreement.aurc": MetricSpec("-", "lower", "area under the risk-coverage curve"),
        "disagreement.excess_aurc": MetricSpec("-", "lower", "AURC above that of the best order"),
    }

    def missing(self, case: Case) -> str | None:
        """Needs pairs and two members."""
        if case.eval.type != "preference":
            return f"needs preference pairs; --eval is {case.eval.type} data"
        if len(case.model.members) + len(case.ensemble) < 2:
            return "needs two members or more: an ensemble as --model, or --ensemble MODEL"
        return None

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Spread per pair; then the errors of the members' mean against it."""
        members = collect(case, scores)
        if isinstance(members, str):
            return AuditResult(self.name, "not_run", members)
        spread = members.margins.std(axis=0)  # (n_pairs,); ddof 0, as in every aggregate
        mean = members.margins.mean(axis=0)
        errors = np.where(mean == 0, 0.5, mean < 0)
        c, level = members.clusters, case.confidence
        aurc, excess = area_under_risk_coverage(errors, spread, c, confidence=level)
        signs = sign_disagreement(members.margins)
        metrics = {
            "margin_sd": cluster_mean(spread, c, confidence=level),
            "sign_disagreement": cluster_mean(signs, c, confidence=level, bounds=(0, 1)),
            "mutual_information": _information(members, level),
            "error_auroc": auroc_estimate(spread, errors, c, confidence=level),
            "selective_accuracy_80": selective_accuracy(
                errors, spread, c, COVERAGE, confidence=level
            ),
            "aurc": aurc,
            "excess_aurc": excess,
        }
        return AuditResult(
            self.name,
            metrics=tuple(Metric(f"disagreement.{name}", e) for name, e in metrics.items()),
            findings=tuple(_findings(case, members, metrics, spread, mean)),
            tables={
                "aggregates": _aggregates(members, level),
                "members": _members(members, level),
            },
            figures=(_curve(errors, spread, metrics["selective_accuracy_80"]),),
        )


def collect(case: Case, scores: Scores) -> Members | str:
    """Pairs on which every member has a finite reward; the reason if there are none."""
    chosen, rejected = scores.member_rewards("chosen"), scores.member_rewards("rejected")
    usable = np.isfinite(chosen).all(axis=0) & np.isfinite(rejected).all(axis=0)
    if "tie" in case.eval.frame:
        usable &= ~case.eval.frame["tie"].to_numpy(dtype=bool)
    if not usable.any():
        return "no pair has a finite reward from every member"
    chosen, rejected = chosen[:, usable], rejected[:, usable]
    clusters = case.clusters[usable]
    both = np.tile(clusters, 2)
    scale = np.array(
        [within_prompt_sd(np.r_[a, b], both) for a, b in zip(chosen, rejected, strict=True)]
    )
    if not (scale > 0).all():
        constant = int(np.flatnonzero(~(scale > 0))[0]) + 1
        return f"member {constant} gives every output of a prompt the same reward: no scale"
    return Members(
        (chosen - rejected) / scale[:, None],
        chosen - rejected,
        {"chosen": chosen / scale[:, None], "rejected": rejected / scale[:, None]},
        np.flatnonzero(usable),
        clusters,
    )


def _information(members: Members, confidence: float) -> Estimate:
    """BALD on margins that each member's own temperature has put on the scale of its errors."""
    temperatures = np.array([temperature(margin, members.clusters).value for margin in members.raw])
    if not np.isfinite(temperatures).all():
        lacking = int(np.flatnonzero(~np.isfinite(temperatures))[0]) + 1
        return Estimate.undefined(
            f"member {lacking} has no temperature (no positive mean margin, or no error at all)",
            n=members.rows.size,
            confidence=confidence,
        )
    information = mutual_information(members.raw / temperatures[:, None])
    return cluster_mean(information, members.clusters, confidence=confidence)


def _accuracy(margin: Float, clusters: NDArray[np.int64], confidence: float) -> Estimate:
    right = np.where(margin == 0, 0.5, margin > 0)
    return cluster_mean(right, clusters, confidence=confidence, bounds=(0, 1))


def _aggregates(members: Members, confidence: float) -> pd.DataFrame:
    """Accuracy under each aggregate of the members' rewards."""
    rows = []
    for name in get_args(Aggregate):
        margin = aggregate_rewards(members.rewards["chosen"], name) - aggregate_rewards(
            members.rewards["rejected"], name
        )
        e = _accuracy(margin, members.clusters, confidence)
        rows.append({"aggregate": name, "accuracy": e.value, "low": e.low, "high": e.high})
    return pd.DataFrame(rows)


def _members(members: Members, confidence: float) -> pd.DataFrame:
    rows = []
    for i, margin in enumerate(members.margins):
        e = _accuracy(margin, members.clusters, confidence)
        rows.append({"member": i + 1, "accuracy": e.value, "low": e.low, "high": e.high})
    return pd.DataFrame(rows)


def _findings(
    case: Case,
    members: Members,
    metrics: Mapping[str, Estimate],
    spread: Float,
    mean: Float,
) -> list[Finding]:
    area = metrics["error_auroc"]
    if not area.defined:
        return []
    # Errors on which the members agree most: what no aggregate of them can catch.
    wrong = np.flatnonzero(mean < 0)
    blind = wrong[np.argsort(spread[wrong], kind="stable")][: case.example_limit]
    examples = tuple(
        example(
            case.eval.frame.iloc[members.rows[i]].to_dict(),
            note=f"all members agree within {spread[i]:.2f} SD, and are wrong by {-mean[i]:.2f} SD",
        )
        for i in blind
    )
    detail = (
        f"Dropping the 20 % of pairs with most disagreement leaves an accuracy of "
        f"{metrics['selective_accuracy_80'].value:.2f}. A worst-case or variance-penalised "
        "aggregate can only act where members part: use members that differ in data, not in seed "
        "alone, and label the pairs below."
    )
    severity: Severity
    if area.high < 0.55:
        severity, title = "high", "Disagreement does not predict errors"
    elif area.low < 0.55:
        severity, title = "low", "Disagreement predicts errors weakly, if at all"
    else:
        return []
    title = f"{title}: AUROC {area.value:.2f} [{area.low:.2f}, {area.high:.2f}]"
    return [Finding(severity, "disagreement", "disagreement.error_auroc", title, detail, examples)]


def _curve(errors: Float, spread: Float, selective: Estimate) -> Figure:
    n = errors.size
    points = np.unique(np.linspace(1, n, min(CURVE_POINTS, n)).round().astype(int))
    curves = {
        "kept by disagreement": risk_coverage(errors, spread),
        "best possible order": risk_coverage(errors, errors),
    }
    series = [
        {
            "name": name,
            "x": (points / n).tolist(),
            "y": curve[points - 1].tolist(),
            "low": None,
            "high": None,
            "style": "line",
        }
        for name, curve in curves.items()
    ]
    return Figure(
        "risk_coverage",
        "curves",
        "Error rate when the least certain pairs are set aside",
        f"Error rate against the share of pairs kept, least disagreement first. All pairs: "
        f"{errors.mean():.2f}; the surest 80 %: {1 - selective.value:.2f}.",
        {
            "series": series,
            "xlabel": "share of pairs kept, least disagreement first",
            "ylabel": "error rate",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": float(errors.mean()),
            "reference_x": None,
        },
    )
