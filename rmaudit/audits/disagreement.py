"""`disagreement`: does the reward model know what it does not know?

Members of an ensemble (seeds, checkpoints, other models) agree where the feedback taught them and
part where it did not. That is worth having only if the disagreement falls on the errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, get_args

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.pairs import (
    Margins,
    Unit,
    halves,
    lacks_labels,
    margins,
    pair_examples,
    shifted,
)
from rmaudit.audits.common.support import contexts, lacking
from rmaudit.case import Case
from rmaudit.results import (
    AuditResult,
    Estimate,
    Figure,
    Finding,
    Metric,
    MetricSpec,
    NotRun,
    Severity,
)
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.scoring.requests import Scores
from rmaudit.stats.calibration import temperature
from rmaudit.stats.intervals import cluster_mean, cluster_ratios, count_codes
from rmaudit.stats.law import p_at_least
from rmaudit.stats.uncertainty import (
    area_under_risk_coverage,
    auroc_estimate,
    ratio_of_means,
    risk_coverage,
    scaled_information,
    selective_accuracy,
    sign_disagreement,
)
from rmaudit.typing import Float, Integers

COVERAGE = 0.8
MARGIN_SD = "margin SD"
USELESS, WEAK = 0.55, 0.6  # AUROCs that a score which predicts errors must not stay under
CURVE_POINTS = 100


@dataclass(frozen=True)
class Members:
    """Comparisons that every member has finite rewards for; labelled ties are left out."""

    pairs: Margins  # of the audited model
    rewards: Float  # (n_members, m), one per output, in each member's own within-prompt SDs
    units: tuple[Unit, ...]  # those SDs, one per member
    names: tuple[str, ...]

    @property
    def scale(self) -> Float:
        """SD of each member, (n_members,)."""
        return np.array([unit.sd for unit in self.units])

    @cached_property
    def margins(self) -> Float:
        """Margin of each member, (n_members, n_pairs), in its SDs."""
        return self.rewards[:, self.pairs.better] - self.rewards[:, self.pairs.worse]

    @cached_property
    def spread(self) -> Float:
        """SD of the margin over members, (n_pairs,); ddof 0, as in every aggregate."""
        return np.asarray(self.margins.std(axis=0), dtype=np.float64)

    @property
    def clusters(self) -> Integers:
        """Codes of the unit of resampling, (n_pairs,)."""
        return self.pairs.cluster


@register_audit
class Disagreement(Audit):
    """Spread of an ensemble's margins, and whether it predicts errors."""

    name = "disagreement"
    title = "Ensemble disagreement"
    question = "Do the ensemble's members disagree on the pairs that are ranked incorrectly?"
    meaning = (
        "An AUROC of one half means that disagreement does not point to errors: a worst-case or "
        "variance-penalised aggregate then protects against nothing. Members are put on one scale "
        "by their own within-prompt SD; the information is in nats of temperature-scaled margins."
    )
    source = (
        "Coste et al. 2023 (arXiv 2310.02743), Section 3; Houlsby et al. 2011 (arXiv 1112.5745); "
        "Geifman et al. 2019 (arXiv 1805.08206)"
    )
    order = 80
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "disagreement.margin_sd": MetricSpec(
            "SD", "none", "mean SD of the margin over members", "Member SD of the margin"
        ),
        "disagreement.sign_disagreement": MetricSpec(
            "share",
            "none",
            "share of member pairs that rank a pair differently",
            "Sign disagreement",
        ),
        "disagreement.mutual_information": MetricSpec(
            "nats",
            "none",
            "what a label would tell about which member is correct",
            "Mutual information (BALD)",
        ),
        "disagreement.error_auroc": MetricSpec(
            "probability",
            "higher",
            "chance that an incorrectly ranked pair has more disagreement than a correct one",
            "Error-detection AUROC",
        ),
        "disagreement.selective_accuracy_80": MetricSpec(
            "probability",
            "higher",
            "accuracy on the 80% of pairs with the least disagreement",
            "Selective accuracy at 80%",
        ),
        "disagreement.aurc": MetricSpec(
            "-",
            "lower",
            "error rate, averaged over the shares of pairs kept",
            "Area under the risk-coverage curve",
        ),
        "disagreement.excess_aurc": MetricSpec(
            "-", "lower", "AURC minus that of the best possible order", "Excess AURC"
        ),
        "disagreement.outside_inside_ratio": MetricSpec(
            "ratio",
            "none",
            "mean member SD of the margin outside over inside the feedback's support",
            "Disagreement outside / inside",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels and two members."""
        if unlabelled := lacks_labels(case):
            return unlabelled
        if len(case.model.members) + sum(len(model.members) for model in case.ensemble) < 2:
            return (
                "needs two members or more: an ensemble as --model, --ensemble MODEL, or "
                "dropout:PATH, draws of one model"
            )
        return None

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Spread per pair; then the errors of the members' mean against it."""
        members = collect(case, scores)
        if isinstance(members, str):
            return AuditResult(self.name, "not_run", members)
        spread = members.spread
        errors = 1 - halves(members.margins.mean(axis=0))
        c, level = members.clusters, case.confidence
        aurc, excess = area_under_risk_coverage(errors, spread, c, confidence=level)
        signs = sign_disagreement(members.margins)
        areas = {
            name: auroc_estimate(score, errors, c, confidence=level)
            for name, score in scores_of(members).items()
        }
        numbers = {
            "margin_sd": _spread(members, level),
            "sign_disagreement": cluster_mean(signs, c, confidence=level, bounds=(0, 1)),
            "mutual_information": _information(members, level),
            "error_auroc": areas[MARGIN_SD],
            "selective_accuracy_80": selective_accuracy(
                errors, spread, c, COVERAGE, confidence=level
            ),
            "aurc": aurc,
            "excess_aurc": excess,
        }
        lacks: tuple[NotRun, ...] = ()
        if needs := lacking(case):
            lacks = (NotRun("outside_inside_ratio", needs),)
        else:
            numbers["outside_inside_ratio"] = _outside_inside(case, members)
        names = get_args(Aggregate)
        aggregates = [aggregate_rewards(members.rewards, name) for name in names]
        return AuditResult(
            self.name,
            metrics=(
                *(Metric(f"disagreement.{name}", e) for name, e in numbers.items()),
                *(Metric("disagreement.error_auroc", e, {"score": k}) for k, e in areas.items()),
            ),
            findings=tuple(_findings(case, members, numbers, areas)),
            tables={
                "aggregates": _accuracies("aggregate", names, aggregates, members, level),
                "members": _accuracies("member", members.names, members.rewards, members, level),
            },
            figures=(_curve(errors, spread, numbers["selective_accuracy_80"]),),
            not_run=lacks,
        )


def collect(case: Case, scores: Scores) -> Members | str:
    """Decided comparisons on which every member has finite rewards; the reason if there are none.

    Of rankings, ratings and labels, the comparisons are those of `rmaudit.audits.common.pairs`.
    """
    pairs = margins(case, scores).decided
    sides = [request.side for request in case.data_requests]
    rewards = np.concatenate([scores.member_rewards(side) for side in sides], axis=1)
    finite = np.isfinite(rewards).all(axis=0)  # (m,)
    pairs = pairs.take(finite[pairs.better] & finite[pairs.worse])
    if not len(pairs):
        return "no pair has a finite reward from every member"
    distinct = pairs.outputs.distinct(finite)
    units = tuple(pairs.outputs.unit(reward, distinct) for reward in rewards)
    scale = np.array([unit.sd for unit in units])
    names = tuple(scores.member_names) or tuple(f"member {i + 1}" for i in range(len(rewards)))
    if not (scale > 0).all():
        constant = names[int(np.flatnonzero(~(scale > 0))[0])]
        return f"member {constant} gives every response of a prompt the same reward: no scale"
    return Members(pairs, rewards / scale[:, None], units, names)


def scores_of(members: Members) -> dict[str, Float]:
    """Four ways to be unsure of a pair, (n_pairs,) each; higher is less sure.

    Where members have the same noise everywhere its SD says nothing of a pair, and how often they
    part in sign does: no one of the four stands for the ensemble.
    """
    mean, spread = np.abs(members.margins.mean(axis=0)), members.spread
    relative = np.full(len(mean), np.inf)
    np.divide(spread, mean, out=relative, where=mean > 0)
    return {
        MARGIN_SD: spread,
        "sign disagreement": sign_disagreement(members.margins),
        "minus |mean margin|": -mean,
        "margin SD over |mean margin|": relative,
    }


def _spread(members: Members, confidence: float) -> Estimate:
    """Mean SD of the margin over members; the interval includes the error of the members' units.

    A unit moves a pair's SD by the member's part in it, and its logarithm by dV / (2 V), V the
    variance: ratios of totals, that are added for their influence and taken off again.
    """
    spread, scaled = members.spread, members.margins
    centred = scaled - scaled.mean(axis=0)
    part = np.zeros(scaled.shape)  # of each member in the SD, summing to it over members
    np.divide(centred * scaled, len(scaled) * spread, out=part, where=spread > 0)
    squares, freedoms = zip(*(unit.by_cluster for unit in members.units), strict=True)
    weights = -part.mean(axis=1) / (2 * members.scale**2)
    rows, clusters = np.zeros(len(spread)), np.zeros(len(squares[0]))
    terms = [(1.0, np.r_[spread, clusters], np.r_[rows + 1, clusters])]
    terms += [
        (float(weight), np.r_[rows, square], np.r_[rows, freedom])
        for weight, square, freedom in zip(weights, squares, freedoms, strict=True)
    ]
    codes = np.r_[members.clusters, np.arange(len(clusters))]
    found = cluster_ratios(terms, codes, confidence=confidence)
    found = shifted(found, -float(weights @ members.scale**2))
    return replace(found, n=len(spread), n_clusters=count_codes(members.clusters))


def _information(members: Members, confidence: float) -> Estimate:
    """BALD on margins that each member's own temperature has put on the scale of its errors."""
    raw = members.margins * members.scale[:, None]
    temperatures = np.array([temperature(margin, members.clusters).value for margin in raw])
    if not np.isfinite(temperatures).all():
        lacks = members.names[int(np.flatnonzero(~np.isfinite(temperatures))[0])]
        return Estimate.undefined(
            f"member {lacks} has no temperature (no positive mean margin, or no error at all)",
            n=len(members.pairs),
            confidence=confidence,
        )
    return scaled_information(raw / temperatures[:, None], members.clusters, confidence=confidence)


def _outside_inside(case: Case, members: Members) -> Estimate:
    """Mean spread on prompts outside the support over that inside."""
    where = contexts(case, "eval")
    if reason := where.calibration.undefined_reason:
        return Estimate.undefined(reason, n=len(members.pairs), confidence=case.confidence)
    return ratio_of_means(
        members.spread,
        where.outside("eval")[members.pairs.row] > 0,
        members.clusters,
        names=("outside the support", "inside it"),
        confidence=case.confidence,
    )


def _accuracies(
    what: str, names: Iterable[str], rewards: Iterable[Float], members: Members, confidence: float
) -> pd.DataFrame:
    """Accuracy by each of several rewards of every output."""
    rows = []
    for name, reward in zip(names, rewards, strict=True):
        margin = reward[members.pairs.better] - reward[members.pairs.worse]
        e = cluster_mean(halves(margin), members.clusters, confidence=confidence, bounds=(0, 1))
        rows.append({what: name, "accuracy": e.value, "low": e.low, "high": e.high})
    return pd.DataFrame(rows)


def _findings(
    case: Case,
    members: Members,
    metrics: Mapping[str, Estimate],
    areas: Mapping[str, Estimate],
) -> list[Finding]:
    """None of the four scores predicts errors: each must fail by itself, so none is picked."""
    scores = scores_of(members)
    # A score that is the same for all pairs predicts nothing, for certain.
    known = [area for name, area in areas.items() if np.unique(scores[name]).size > 1]
    if not all(area.defined for area in areas.values()):
        return []
    severity: Severity
    if known and all(area.high < USELESS for area in known):
        severity, title, size = "high", "Disagreement does not predict errors", USELESS
    elif all(area.low <= 0.5 or area.high < WEAK for area in known):
        # Weak for certain, or not told from chance: an interval that only holds 0.55 is neither.
        severity, title, size = "low", "Disagreement predicts errors weakly, if at all", WEAK
    else:
        return []
    # Errors on which the members agree most: what no aggregate of them can catch.
    mean = members.margins.mean(axis=0)
    blind = np.where(mean < 0, -members.spread, -np.inf)
    examples = pair_examples(
        case,
        members.pairs,
        blind,
        lambda i: (
            f"all members agree within {members.spread[i]:.2f} SD, and are wrong by "
            f"{-mean[i]:.2f} SD"
        ),
    )
    name, best = max(areas.items(), key=lambda item: item[1].value)
    each = ", ".join(f"{key} {area.value:.2f}" for key, area in areas.items())
    detail = (
        f"AUROC of each score: {each}. Dropping the 20% of pairs with most disagreement leaves an "
        f"accuracy of {metrics['selective_accuracy_80'].value:.1%}. A worst-case or "
        "variance-penalised aggregate can only act where members part: use members that differ in "
        "data, not in seed alone, and label the pairs below."
    )
    title = f"{title}: AUROC at most {best.value:.2f} [{best.low:.2f}, {best.high:.2f}] ({name})"
    # That none is shown to predict is a fact about these data; that all are weak is a claim.
    told = all(area.high < size for area in known)
    p = max((p_at_least(area, size) for area in known), default=0.0) if told else None
    metric = "disagreement.error_auroc"
    return [Finding(severity, "disagreement", metric, title, detail, examples, p)]


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
        f"{errors.mean():.1%}; the surest 80%: {1 - selective.value:.1%}.",
        {
            "series": series,
            "xlabel": "share of pairs kept, least disagreement first",
            "ylabel": "error rate",
            "xunit": "percent",
            "yunit": "percent",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": float(errors.mean()),
            "reference_x": None,
        },
    )
