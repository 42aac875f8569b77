"""`annotators`: one score for many people.

A scalar reward averages over annotators who disagree (Casper et al. 2023, Section 3.2.2; RLHF
Deciphered, Section 5). Votes say how much they do, how far any model could agree with one of them,
and whom the reward follows least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import rankdata

from rmaudit.audits.base import Audit, example, grade, register_audit
from rmaudit.audits.common.pairs import halves
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec, NotRun
from rmaudit.scoring.requests import Scores
from rmaudit.stats.agreement import krippendorff_alpha, noise_ceiling, vote_counts
from rmaudit.stats.bootstrap import cluster_bootstrap, cluster_sums, jackknife_influence
from rmaudit.stats.deviations import total_deviation
from rmaudit.stats.extremes import lowest_mean
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.typing import Float, Integers

SMALLEST_GROUP = 30  # votes; fewer say nothing about an annotator
BINS = 15  # equal-mass bins of vote_ece, as in `calibration`
CONTESTED = 20  # items kept in the table
# On a row whose majority is a tie, the sides are those of the source.
SIDES = {"response_1": "chosen", "response_2": "rejected"}


@dataclass(frozen=True)
class Votes:
    """One entry a vote."""

    label: NDArray[Any]  # (n_votes,)
    item: Integers  # evaluation row, (n_votes,)
    groups: Mapping[str, NDArray[Any]]  # by attribute: who voted, (n_votes,) each
    numeric: bool


@register_audit
class Annotators(Audit):
    """Agreement among annotators, and of the reward with each of them."""

    name = "annotators"
    title = "Annotators"
    question = "Whose preferences does the reward follow, and where do annotators disagree?"
    meaning = (
        "Alpha is agreement beyond chance. The noise ceiling is how often the other annotators' "
        "majority predicts a left-out one: a model far above it has learnt this data's noise. "
        "On split items a confident reward is wrong about somebody."
    )
    source = (
        "Krippendorff 2011; Casper et al. 2023 (arXiv 2307.15217), Section 3.2.2; "
        "Chaudhari et al. 2024 (arXiv 2404.08555), Section 5"
    )
    order = 90
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "annotators.alpha": MetricSpec(
            "alpha", "none", "agreement of the annotators beyond chance", "Krippendorff's alpha"
        ),
        "annotators.noise_ceiling": MetricSpec(
            "probability",
            "none",
            "accuracy with which the other annotators' majority predicts a left-out annotator",
            "Noise ceiling",
        ),
        "annotators.accuracy_unanimous": MetricSpec(
            "probability", "higher", "accuracy where all annotators agree", "Accuracy, unanimous"
        ),
        "annotators.accuracy_split": MetricSpec(
            "probability",
            "higher",
            "accuracy for the majority where annotators disagree",
            "Accuracy, split",
        ),
        "annotators.worst_group_accuracy": MetricSpec(
            "probability",
            "higher",
            "accuracy for the annotator group with the lowest; the value is biased downward",
            "Worst-group accuracy",
        ),
        "annotators.vote_ece": MetricSpec(
            "probability",
            "zero",
            "calibration error of sigmoid(margin) against the vote share, less what noise adds",
            "Vote calibration error",
        ),
        "annotators.margin_agreement_correlation": MetricSpec(
            "-1..1",
            "higher",
            "rank correlation of |margin| with the annotators' agreement",
            "Margin-agreement correlation",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs votes."""
        if "annotator_votes" not in case.eval.frame:
            return "needs a column annotator_votes in --eval, one label per annotator"
        return None if collect(case).label.size else "no row of --eval has a vote"

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Agreement among people; then, for pairs, the reward's agreement with them."""
        votes = collect(case)
        pairs = case.eval.type == "preference"
        also = ("chosen", "rejected") if pairs else ()
        categories, counts = vote_counts(votes.label, votes.item, len(case.eval), also=also)
        values = categories.astype(np.float64) if votes.numeric else None
        alpha = krippendorff_alpha(
            counts,
            values,
            case.clusters,
            swapped=swapped(categories, counts) if pairs else None,
            rng=case.rng("annotators.alpha"),
            resamples=case.resamples,
            confidence=case.confidence,
        )
        ceiling = noise_ceiling(counts, case.clusters, confidence=case.confidence)
        metrics = [
            Metric("annotators.alpha", alpha),
            Metric("annotators.noise_ceiling", ceiling),
        ]
        contested, examples = _contested(case, counts, categories)
        tables = {"contested": contested}
        if not pairs:
            lacking = NotRun("agreement of the reward with the votes", "preference pairs")
            return AuditResult(self.name, metrics=tuple(metrics), tables=tables, not_run=(lacking,))
        margin = scores.reward("chosen") - scores.reward("rejected")
        model = _against_model(case, votes, margin)
        groups, worst = groups_of(case, votes, margin)
        tables |= {"by_annotator": group_table(groups)} if groups else {}
        return AuditResult(
            self.name,
            metrics=(*metrics, *model, Metric("annotators.worst_group_accuracy", worst)),
            findings=tuple(_findings(model, ceiling, groups, examples)),
            tests=2,
            tables=tables,
            figures=(_figure(model, ceiling),),
        )


def collect(case: Case) -> Votes:
    """All votes of the evaluation data, flat.

    Groups are `annotators` (their names), and every column `annotator_<attribute>` that holds a
    list as long as the votes (gender, age, ...): join the demographics to the rows beforehand.
    """
    frame = case.eval.frame
    lists = [_as_list(votes) for votes in frame["annotator_votes"]]
    item = np.repeat(np.arange(len(frame)), [len(votes) for votes in lists])
    flat = [vote for votes in lists for vote in votes]
    cast = np.array([vote is not None and vote == vote for vote in flat], dtype=bool)  # not NaN
    numeric = all(isinstance(v, (int, float)) for v, c in zip(flat, cast, strict=True) if c)
    label = np.array(
        [v if numeric else SIDES.get(str(v), str(v)) for v, c in zip(flat, cast, strict=True) if c]
    )
    groups = {}
    for column in frame.columns:
        attribute = column.removeprefix("annotator_")
        if column != "annotators" and (attribute in (column, "votes")):
            continue
        names = [_as_list(value) for value in frame[column]]
        if [len(n) for n in names] == [len(v) for v in lists]:
            flat_names = np.array([str(name) for row in names for name in row])
            groups["annotator" if column == "annotators" else attribute] = flat_names[cast]
    return Votes(label, item[cast].astype(np.int64), groups, numeric)


def swapped(categories: NDArray[Any], counts: Float) -> Float:
    """Vote counts with chosen and rejected exchanged."""
    sides = np.searchsorted(categories, ["chosen", "rejected"])
    result = counts.copy()
    result[:, sides] = counts[:, sides[::-1]]
    return result


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, np.ndarray)) else []


def _against_model(case: Case, votes: Votes, margin: Float) -> list[Metric]:
    """Accuracy on unanimous and split items, vote calibration, margin against agreement."""
    chosen = np.bincount(votes.item, votes.label == "chosen", len(case.eval))
    rejected = np.bincount(votes.item, votes.label == "rejected", len(case.eval))
    decided = (chosen + rejected > 0) & np.isfinite(margin)
    if "tie" in case.eval.frame:
        decided &= ~case.eval.frame["tie"].to_numpy(dtype=bool)
    share = chosen[decided] / (chosen + rejected)[decided]  # of the votes that prefer one
    margin, clusters = margin[decided], case.clusters[decided]
    # The label is the majority's; a row whose votes contradict its label is taken by its votes.
    right = np.where(margin == 0, 0.5, (margin > 0) == (share > 0.5))
    right = np.where(share == 0.5, 0.5, right)
    unanimous = (share == 0) | (share == 1)
    several = (chosen + rejected)[decided] >= 2
    parts = {"unanimous": unanimous & several, "split": ~unanimous}
    metrics = [
        Metric(
            f"annotators.accuracy_{name}",
            cluster_mean(right[part], clusters[part], confidence=case.confidence, bounds=(0, 1))
            if part.any()
            else Estimate.undefined(f"no {name} item", confidence=case.confidence),
        )
        for name, part in parts.items()
    ]
    agreement = np.maximum(share, 1 - share)
    return [
        *metrics,
        Metric("annotators.vote_ece", vote_ece(margin, share, clusters, case)),
        Metric(
            "annotators.margin_agreement_correlation",
            rank_correlation(np.abs(margin), agreement, clusters, case),
        ),
    ]


def vote_ece(margin: Float, share: Float, clusters: Integers, case: Case) -> Estimate:
    """Expected calibration error of sigmoid(margin) against the share of votes, folded.

    Sum over 15 equal-mass bins of the confidence max(p, 1 - p) of |mean confidence - mean share|,
    less what noise adds to it: see `rmaudit.stats.deviations.total_deviation`.
    """
    if not margin.size:
        return Estimate.undefined("no item with votes for one side", confidence=case.confidence)
    p = expit(np.abs(margin))
    folded = np.where(margin >= 0, share, 1 - share)
    order = np.argsort(p, kind="stable")
    bins = np.empty(p.size, dtype=np.int64)
    bins[order] = np.arange(p.size) * min(BINS, p.size) // p.size
    residuals = np.eye(bins.max() + 1)[bins] * (p - folded)[:, None]  # (n, n_bins)
    return total_deviation(
        residuals,
        clusters,
        rng=case.rng("annotators.vote_ece"),
        resamples=case.resamples,
        confidence=case.confidence,
    )


def rank_correlation(x: Float, y: Float, clusters: Integers, case: Case) -> Estimate:
    """Spearman's rho over items; ranks are those of the whole sample, weighted by prompt."""
    if x.size < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        reason = "fewer than three items" if x.size < 3 else "margin or agreement is constant"
        return Estimate.undefined(reason, n=x.size, confidence=case.confidence)
    a, b = rankdata(x), rankdata(y)
    _, codes = np.unique(clusters, return_inverse=True)
    sums = cluster_sums(np.column_stack([np.ones(x.size), a, b, a * b, a * a, b * b]), codes)

    def statistic(weights: Float) -> Float:
        n, sa, sb, sab, saa, sbb = (weights @ sums).T
        scale = np.sqrt((saa - sa**2 / n) * (sbb - sb**2 / n))
        result = np.full(n.shape, np.nan)
        np.divide(sab - sa * sb / n, scale, out=result, where=scale > 0)
        return result

    found = cluster_bootstrap(
        statistic,
        len(sums),
        n=x.size,
        rng=case.rng("annotators.rank_correlation"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    return replace(found, influence=jackknife_influence(statistic, clusters))


@dataclass(frozen=True)
class Group:
    """The votes of one annotator, or of one group of them."""

    attribute: str
    name: str
    mine: NDArray[np.bool_]  # among the decided votes, (n,)
    accuracy: Estimate  # of the margin's sign for these votes
    gap: Estimate  # accuracy on the others' votes minus that, allowing for the number of groups

    @property
    def label(self) -> str:
        """The attribute and the name."""
        return f"{self.attribute} {self.name}"


def groups_of(case: Case, votes: Votes, margin: Float) -> tuple[list[Group], Estimate]:
    """Accuracy of the margin's sign for each group's own votes, worst first, and the lowest.

    The lowest of several is picked, so its interval and the gaps hold for all groups at once.
    """
    decisive = np.isin(votes.label, ["chosen", "rejected"]) & np.isfinite(margin[votes.item])
    if "tie" in case.eval.frame:
        # On a majority tie, "chosen" is the first response of the source.
        decisive &= ~case.eval.frame["tie"].to_numpy(dtype=bool)[votes.item]
    signed = margin[votes.item] * np.where(votes.label == "chosen", 1, -1)
    correct = halves(signed[decisive])
    codes = case.clusters[votes.item[decisive]]
    named = [
        (attribute, str(name), names[decisive] == name)
        for attribute, names in votes.groups.items()
        for name in np.unique(names[decisive])
    ]
    named = [group for group in named if group[2].sum() >= SMALLEST_GROUP]
    if not named:
        reason = f"no named annotator or group has {SMALLEST_GROUP} decided votes"
        return [], Estimate.undefined(reason, confidence=case.confidence)
    level = 1 - (1 - case.confidence) / len(named)  # Bonferroni: the worst is picked
    groups = [
        Group(
            attribute,
            name,
            mine,
            cluster_mean(correct[mine], codes[mine], confidence=case.confidence, bounds=(0, 1)),
            _gap(correct, mine, codes, level),
        )
        for attribute, name, mine in named
    ]
    groups.sort(key=lambda group: group.accuracy.value)
    parts = [(correct[group.mine], codes[group.mine]) for group in groups]
    return groups, lowest_mean(parts, case.confidence, "groups")


def _gap(correct: Float, mine: NDArray[np.bool_], codes: Integers, confidence: float) -> Estimate:
    here = mine.astype(np.float64)
    terms = [(1.0, correct * (1 - here), 1 - here), (-1.0, correct * here, here)]
    return cluster_ratios(terms, codes, confidence=confidence, bounds=(-1, 1))


def group_table(groups: Sequence[Group]) -> pd.DataFrame:
    """One row a group, worst first."""
    return pd.DataFrame(
        {
            "attribute": [group.attribute for group in groups],
            "group": [group.name for group in groups],
            "votes": [group.accuracy.n for group in groups],
            "accuracy": [group.accuracy.value for group in groups],
            "low": [group.accuracy.low for group in groups],
            "high": [group.accuracy.high for group in groups],
        }
    )


def _contested(
    case: Case, counts: Float, categories: NDArray[Any]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The items on which annotators agree least, kept rather than averaged away."""
    sizes = counts.sum(axis=1)
    agreement = counts.max(axis=1) / np.maximum(sizes, 1)
    agreement[sizes < 2] = np.inf
    order = np.lexsort((-sizes, agreement))[: min(CONTESTED, int((sizes >= 2).sum()))]
    split = [
        ", ".join(f"{int(counts[i, c])} {categories[c]}" for c in np.flatnonzero(counts[i]))
        for i in order
    ]
    frame = case.eval.frame
    table = pd.DataFrame(
        {"id": frame["id"].iloc[order].tolist(), "agreement": agreement[order], "votes": split}
    )
    examples = [
        example(frame.iloc[i].to_dict(), note=f"votes: {votes}")
        for i, votes in zip(order[: case.example_limit], split, strict=False)
    ]
    return table, examples


def _findings(
    model: Sequence[Metric],
    ceiling: Estimate,
    groups: Sequence[Group],
    examples: Sequence[Mapping[str, Any]],
) -> list[Finding]:
    found = []
    values = {metric.id: metric.estimate for metric in model}
    correlation = values["annotators.margin_agreement_correlation"]
    if correlation.defined and correlation.high < 0.1:
        found.append(
            Finding(
                "medium",
                "annotators",
                "annotators.margin_agreement_correlation",
                f"The reward is as sure on contested items as on agreed ones (correlation "
                f"{correlation.value:.2f})",
                "Its margin add nothing about whether annotators agree. Train on vote shares as "
                "soft "
                "labels, and keep the contested items apart.",
                tuple(examples),
                p_at_least(correlation, 0.1),
            )
        )
    apart = [group for group in groups if group.gap.defined]
    if len(apart) > 1:
        last = max(apart, key=lambda group: group.gap.low)
        if last.gap.low > 0:
            gap = last.gap
            found.append(
                Finding(
                    grade(gap.low, 0.05, 0.30),
                    "annotators",
                    "annotators.worst_group_accuracy",
                    f"{last.label} is served worst: accuracy {last.accuracy.value:.2f}, "
                    f"{100 * gap.value:.0f} points below the others",
                    f"At least {100 * gap.low:.1f} points, allowing for the {len(groups)} groups "
                    "looked at. The others' majority predicts a left-out annotator in "
                    f"{ceiling.value:.0%} of votes. Label more with the group that is served "
                    "worst, or weight its votes.",
                    tuple(examples),
                    min(1.0, len(groups) * min(p_at_most(g.gap, 0.0) for g in apart)),
                )
            )
    return found


def _figure(model: Sequence[Metric], ceiling: Estimate) -> Figure:
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
        "; ".join(f"{row['label']}: {row['value']:.2f}" for row in rows),
        {"rows": rows, "xlabel": "accuracy", "reference": 0.5},
    )
