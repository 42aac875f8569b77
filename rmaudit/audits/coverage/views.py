"""Figures and findings of the coverage audit."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.pairs import optional
from rmaudit.audits.common.support import Support
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import Estimate, Figure, Finding, Severity
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.support.conformal import LEVEL
from rmaudit.support.two_sample import ToldApart
from rmaudit.typing import Float

MAP_POINTS = 300  # of each data set
MOST_BARS = 20
MOST_NAMED = 5  # gaps in a caption
TOLERATED_SHIFT = 0.6  # AUROC; less is no reason to label anew
LEAST_PAIRS = 10  # of a family, for its accuracy to be named in a finding


def curve(p: Float) -> Figure:
    """Share of the deployment with p at most alpha, against alpha."""
    levels = np.r_[np.linspace(0.01, 0.1, 10), np.linspace(0.15, 1, 18)]
    series = {
        "name": "deployment",
        "x": levels.tolist(),
        "y": [float(np.mean(p <= level)) for level in levels],
        "low": None,
        "high": None,
        "style": "line",
    }
    outside = float(np.mean(p <= LEVEL))
    return Figure(
        "outside_by_level",
        "curves",
        "Deployment prompts outside the support, by level",
        "Share of deployment prompts with a conformal p-value at most alpha. Prompts like the "
        f"feedback lie on or below the diagonal. At 5%: {outside:.1%}.",
        {
            "series": [series],
            "xlabel": "alpha",
            "ylabel": "share with p at most alpha",
            "xunit": "percent",
            "yunit": "percent",
            "xscale": "linear",
            "diagonal": True,
            "reference_y": None,
            "reference_x": LEVEL,
        },
    )


def bars(table: pd.DataFrame) -> Figure:
    """Share of each family in feedback and in deployment."""
    shown = table.head(MOST_BARS)

    def series(name: str) -> dict[str, object]:
        return {
            "name": name,
            "values": shown[f"{name}_share"].tolist(),
            "low": [optional(value) for value in shown[f"{name}_low"]],
            "high": [optional(value) for value in shown[f"{name}_high"]],
        }

    names = table.loc[table["hole"], "family"].tolist()
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    holes = f"{', '.join(names[:MOST_NAMED])}{more}" if names else "none"
    return Figure(
        "families",
        "bars",
        "Subsets in feedback and in deployment",
        f"Share of the {len(shown)} largest subsets in feedback and deployment. Gaps: {holes}.",
        {
            "labels": shown["family"].tolist(),
            "series": [series("feedback"), series("deployment")],
            "ylabel": "share",
            "yunit": "percent",
            "reference": None,
        },
    )


def projection(case: Case, where: Support) -> Figure:
    """Two leading principal components of feedback and deployment."""
    rng = case.rng("coverage map")
    parts = {"feedback": where.feedback, "deployment": where.others["deployment"]}
    some = {name: v[rng.permutation(len(v))[:MAP_POINTS]] for name, v in parts.items()}
    both = np.concatenate(list(some.values()))
    both = both - both.mean(axis=0)
    axes = np.linalg.svd(both, full_matrices=False)[2][:2]
    series = []
    for name, vectors in some.items():
        place = (vectors - np.concatenate(list(some.values())).mean(axis=0)) @ axes.T
        y = place[:, 1] if place.shape[1] > 1 else np.zeros(len(place))
        series.append({"name": name, "x": place[:, 0].tolist(), "y": y.tolist()})
    return Figure(
        "map",
        "scatter",
        "Feedback and deployment on one map",
        "A sample of prompts on the two leading principal components of their vectors.",
        {"series": series, "xlabel": "first component", "ylabel": "second component"},
    )


def hole_findings(
    case: Case, deployment: Dataset, table: pd.DataFrame, families: list[str], p: Float
) -> list[Finding]:
    """One finding a family that is rare in the feedback for certain, the largest five.

    Rarer than in deployment must be certain over all families; of more than low severity are those
    whose share is under a tenth of the deployment's for certain.
    """
    names = np.array(families, dtype=object)
    findings = []
    rare = table[table["hole"] & (table["rarer_p"] <= 1 - case.confidence)]
    for row in rare.head(5).to_dict("records"):
        title = (
            f"Coverage gap in {row['family']}: {row['feedback_share']:.1%} of feedback, "
            f"{row['deployment_share']:.1%} of deployment"
        )
        elsewhere = table.loc[table["family"] != row["family"]].dropna(subset=["accuracy"])
        large = row["hole_certain"] and row["deployment_share"] >= 0.05
        severity: Severity = "medium" if large else "low"
        if row["accuracy_pairs"] >= LEAST_PAIRS and np.isfinite(row["accuracy"]) and len(elsewhere):
            rest = float(np.average(elsewhere["accuracy"], weights=elsewhere["accuracy_pairs"]))
            title += f", accuracy {row['accuracy']:.1%} against {rest:.1%}"
            severity = "high" if large and row["accuracy_high"] < rest else severity
        detail = (
            "The reward model has seen almost none of these prompts, so an optimiser meets its "
            "guesses there. Label the rows of this subset in the table label_next, retrain, and "
            "audit again."
        )
        rows = np.flatnonzero(names == row["family"])
        rows = rows[np.argsort(p[rows], kind="stable")][: case.example_limit]
        shown = tuple(_example(deployment, int(i), p) for i in rows)
        p_value = row["hole_p"] if large else row["rarer_p"]
        findings.append(
            Finding(severity, "coverage", "coverage.holes", title, detail, shown, p_value)
        )
    return findings


def deficit_finding(
    case: Case, deployment: Dataset, kappa: Estimate, distance: Float, p: Float
) -> list[Finding]:
    """More of the deployment lies outside the support than chance allows."""
    if not kappa.defined or kappa.high >= 1 - LEVEL:
        return []
    share = round(1 - kappa.value, 9)  # 0.2425 here and in the figure, not 0.24250000000000005
    title = (
        f"{share:.1%} [{100 * (1 - kappa.high):.1f}, {100 * (1 - kappa.low):.1f}] of the "
        "deployment prompts lie outside the feedback's support, where 5% would be chance"
    )
    detail = "Label prompts of the table label_next, and trust the reward less outside the support"
    rows = np.flatnonzero(p <= LEVEL)
    rows = rows[np.argsort(-distance[rows], kind="stable")][: case.example_limit]
    shown = tuple(_example(deployment, int(i), p) for i in rows)
    severity = grade(1 - LEVEL - kappa.high, 0.05, 0.2)
    p_value = p_at_least(kappa, 1 - LEVEL)
    return [Finding(severity, "coverage", "coverage.kappa", title, f"{detail}.", shown, p_value)]


def shift_finding(
    case: Case, deployment: Dataset, kappa: Estimate, shift: ToldApart
) -> list[Finding]:
    """Deployment differs from the feedback where the distance to it shows no deficit."""
    deficit = kappa.defined and kappa.high < 1 - LEVEL
    if deficit or not shift.auroc.defined or shift.auroc.low <= TOLERATED_SHIFT:
        return []
    low, high = shift.auroc.ci
    title = (
        "Deployment prompts are told from feedback prompts with an AUROC of "
        f"{shift.auroc.value:.2f} ({low:.2f} to {high:.2f}), though they lie no farther from them"
    )
    detail = (
        f"{shift.alike:.1%} of the feedback's prompts look as much like deployment as 95% of "
        "deployment does: the reward model is trusted on the strength of those. Where feedback is "
        "spread widely, every prompt is near some of it, so prompt coverage (kappa) cannot show "
        "this. Label some deployment prompts and compare the accuracy on them."
    )
    order = np.argsort(-np.nan_to_num(shift.score, nan=-np.inf), kind="stable")
    rows = [i for i in order[: case.example_limit] if np.isfinite(shift.score[i])]
    shown = tuple(
        example(
            {key: deployment.frame.iloc[i][key] for key in ("id", "prompt")},
            note="among the easiest to tell from the feedback",
        )
        for i in rows
    )
    p_value = p_at_most(shift.auroc, TOLERATED_SHIFT)
    finding = Finding("low", "coverage", "coverage.shift_auroc", title, detail, shown, p_value)
    return [finding]


def _example(deployment: Dataset, i: int, p: Float) -> dict[str, object]:
    row = deployment.frame.iloc[i]
    note = f"conformal p {p[i]:.3f}" if np.isfinite(p[i]) else ""
    return example({"id": row["id"], "prompt": row["prompt"]}, note=note)
