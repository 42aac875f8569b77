"""Findings and the figure of the annotators audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmaudit.audits.annotators.groups import Group
from rmaudit.audits.base import grade
from rmaudit.results import Estimate, Figure, Finding, Metric
from rmaudit.stats.law import p_at_least, p_at_most

SHOWN_GROUPS = 10


def findings(
    model: Sequence[Metric],
    ceiling: Estimate,
    groups: Sequence[Group],
    examples: Sequence[Mapping[str, Any]],
) -> list[Finding]:
    """Margins unrelated to agreement, and the group that is served worst."""
    rows = []
    values = {metric.id: metric.estimate for metric in model}
    correlation = values.get("annotators.margin_agreement_correlation")
    if correlation and correlation.defined and correlation.high < 0.1:
        rows.append(
            Finding(
                "medium",
                "annotators",
                "annotators.margin_agreement_correlation",
                f"The reward is as sure on contested items as on agreed ones (correlation "
                f"{correlation.value:.2f})",
                "Its margins do not follow how far annotators agree. Train on vote shares as "
                "soft labels, and keep the contested items apart.",
                tuple(examples),
                p_at_least(correlation, 0.1),
            )
        )
    apart = [group for group in groups if group.gap.defined]
    if len(apart) > 1:
        last = max(apart, key=lambda group: group.gap.low)
        if last.gap.low > 0:
            gap = last.gap
            rows.append(
                Finding(
                    grade(gap.low, 0.05, 0.30),
                    "annotators",
                    "annotators.worst_group_accuracy",
                    f"{last.label} is served worst: accuracy {last.accuracy.value:.1%}, "
                    f"{100 * gap.value:.1f} points below the others",
                    f"At least {100 * gap.low:.1f} points, allowing for the {len(groups)} groups "
                    "looked at. The others' majority predicts a left-out annotator in "
                    f"{ceiling.value:.1%} of votes. Label more with the group that is served "
                    "worst, or weight its votes.",
                    tuple(examples),
                    min(1.0, len(groups) * min(p_at_most(g.gap, 0.0) for g in apart)),
                )
            )
    return rows


def figure(model: Sequence[Metric], ceiling: Estimate) -> Figure:
    """Accuracy on unanimous and on split items beside the noise ceiling."""
    shown = [m for m in model if m.id.startswith("annotators.accuracy") and m.estimate.defined]
    rows = [
        {
            "label": f"model, {m.id.removeprefix('annotators.accuracy_')} items",
            "value": m.estimate.value,
            "low": m.estimate.low,
            "high": m.estimate.high,
        }
        for m in shown
    ]
    if ceiling.defined:
        rows.append(
            {
                "label": "noise ceiling (annotators)",
                "value": ceiling.value,
                "low": ceiling.low,
                "high": ceiling.high,
            }
        )
    return Figure(
        "agreement",
        "intervals",
        "Where annotators agree, does the reward?",
        "; ".join(f"{row['label']}: {row['value']:.1%}" for row in rows),
        {"rows": rows, "xlabel": "accuracy", "xunit": "percent", "reference": 0.5},
    )


def concordance_figure(
    model: Estimate, ceiling: Estimate, groups: Sequence[Group], reading: str
) -> Figure:
    """The reward's concordance, that of the other annotators, and the groups it serves worst."""
    named = [("reward, all annotators", model), ("other annotators' mean", ceiling)]
    named += [(f"reward, {group.label}", group.accuracy) for group in groups[:SHOWN_GROUPS]]
    rows = [
        {"label": label, "value": e.value, "low": e.low, "high": e.high}
        for label, e in named
        if e.defined
    ]
    return Figure(
        "agreement",
        "intervals",
        "Does the reward order responses as each annotator does?",
        f"Share of an annotator's comparisons that are ordered alike; {reading}.",
        {"rows": rows, "xlabel": "concordance", "xunit": "percent", "reference": 0.5},
    )
