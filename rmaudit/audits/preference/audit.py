"""`preference`: does it rank as people do?

Accuracy is the first number of a reward model and the easiest to misread: ties, dependent pairs, an
average over unlike subsets, and rules that read no words all flatter it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.attribute import blind_accuracy, markdown_marks
from rmaudit.audits.common.pairs import (
    MOST_SLICES,
    Margins,
    label_level,
    lacks_labels,
    margins,
    slices,
    standardized,
)
from rmaudit.audits.preference.findings import findings
from rmaudit.audits.preference.strength import by_strength, strength_levels
from rmaudit.audits.preference.style_matrix import (
    DIFFICULTIES,
    StyleMatrix,
    style_figure,
    style_matrix,
    style_table,
)
from rmaudit.audits.preference.views import (
    blind_figure,
    margin_figure,
    pairs_table,
    subset_figure,
    subset_table,
    tie_table,
)
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import EVERY_SIGNAL
from rmaudit.scoring.requests import Scores
from rmaudit.stats.extremes import lowest_mean
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.stats.rank import kendall_tau_b_within, spearman_within
from rmaudit.typing import Float, Mask

Numbers = dict[str, Estimate]


@register_audit
class Preference(Audit):
    """Accuracy and its kin, overall and per subset, beside blind rules."""

    name = "preference"
    title = "Preference accuracy"
    question = "Does the model rank responses as annotators do?"
    meaning = (
        "Accuracy is the share of pairs whose chosen response has the higher reward; equal "
        "rewards count one half. Rankings, ratings and labels count as all their pairs. Read it "
        "beside the blind rules (longer wins, ...) and by subset. The worst subset is the lowest "
        "of several noisy numbers, so its value is too low on average; its interval, made from "
        "those of all subsets at once, holds the true minimum at least as often as it says, and "
        "widens with their number. Subsets whose accuracy has no interval are in neither average."
    )
    source = (
        "Lambert et al. 2024, RewardBench (arXiv 2403.13787); Liu et al. 2024, RM-Bench "
        "(arXiv 2410.16184), Section 3.3"
    )
    order = 30
    signals = EVERY_SIGNAL
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "preference.accuracy": MetricSpec(
            "probability",
            "higher",
            "share of pairs in which the chosen response gets the higher reward; ties count 0.5",
            "Pairwise accuracy",
        ),
        "preference.macro_accuracy": MetricSpec(
            "probability",
            "higher",
            "accuracy averaged over subsets, each counting the same",
            "Macro accuracy",
        ),
        "preference.worst_subset_accuracy": MetricSpec(
            "probability",
            "higher",
            "lowest accuracy of a subset; biased downward",
            "Worst-subset accuracy",
        ),
        "preference.tie_rate": MetricSpec(
            "share",
            "zero",
            "share of labelled pairs whose two rewards are equal",
            "Tie rate",
            "where ties are few its 95% interval is short (93% coverage in simulation of 4 in 200)",
        ),
        "preference.margin_mean": MetricSpec(
            "SD",
            "higher",
            "mean reward of the chosen response minus that of the rejected one",
            "Mean margin",
            "where the reward's spread differs fifty-fold between prompts, few of them decide the "
            "SD that it is in: then the 95% interval holds the value in 76 to 88% of simulations.",
        ),
        "preference.rank_correlation": MetricSpec(
            "-1..1",
            "higher",
            "mean over prompts of Kendall's tau-b (rankings) or Spearman's rho (ratings)",
            "Rank correlation",
        ),
        "preference.style_easy": MetricSpec(
            "probability",
            "higher",
            "accuracy where the chosen response has the fancier style",
            "Style-easy accuracy",
        ),
        "preference.style_normal": MetricSpec(
            "probability",
            "higher",
            "accuracy where both responses have the same style",
            "Style-normal accuracy",
        ),
        "preference.style_hard": MetricSpec(
            "probability",
            "higher",
            "accuracy where the chosen response has the plainer style",
            "Style-hard accuracy",
        ),
        "preference.blind_longer": MetricSpec(
            "probability",
            "none",
            "accuracy of choosing the longer response; equal lengths count 0.5",
            "Blind rule: longer wins",
        ),
        "preference.blind_shorter": MetricSpec(
            "probability",
            "none",
            "accuracy of choosing the shorter response",
            "Blind rule: shorter wins",
        ),
        "preference.blind_markdown": MetricSpec(
            "probability",
            "none",
            "accuracy of choosing the response with more markdown",
            "Blind rule: more markdown wins",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels."""
        return lacks_labels(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """All numbers overall; accuracy, ties and blind rules by subset."""
        ranked = margins(case, scores)
        decided = ranked.decided
        surface = surfaces(decided)
        overall = numbers(decided, surface, case.confidence)
        overall["preference.margin_mean"] = margin_mean(decided, case.confidence)
        if case.eval.type in ("ranking", "rating"):
            overall["preference.rank_correlation"] = rank_correlation(case, ranked)
        masks, left_out = slices(case, "subset")
        subsets = {
            name: numbers(decided.on_rows(rows), surface, case.confidence)
            for name, rows in masks.items()
        }
        overall |= over_subsets(decided, masks, subsets, case.confidence)
        matrix = style_matrix(case, decided)
        styles = {} if isinstance(matrix, str) else difficulties(matrix, masks, case.confidence)
        overall |= styles.get("", {})
        metrics = [Metric(id_, estimate) for id_, estimate in overall.items()]
        for name in subsets:
            by_id = {**subsets[name], **styles.get(name, {})}
            metrics += [Metric(id_, estimate, {"subset": name}) for id_, estimate in by_id.items()]
        metrics += other_slices(case, decided)
        tables = {"pairs": pairs_table(ranked)}
        figures = [margin_figure(ranked), blind_figure(overall)]
        if subsets:
            tables["subsets"] = subset_table(overall, subsets)
            figures.insert(0, subset_figure(overall, subsets))
        levels = strength_levels(case, decided)
        if levels:
            graded, tables["strength"] = by_strength(case, decided, levels)
            metrics += graded
        if ranked.tied.any():
            tables["labelled_ties"] = tie_table(ranked, case.confidence)
        if not isinstance(matrix, str):
            tables["style_matrix"] = style_table(matrix, case.confidence)
            figures.append(style_figure(tables["style_matrix"], matrix.styles))
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(findings(case, ranked, overall, masks, surface, tables, matrix)),
            tables=tables,
            figures=tuple(figures),
            not_run=tuple(not_run(case, matrix, left_out)),
            tests=5,
        )


def surfaces(found: Margins) -> dict[str, Float]:
    """What blind rules look at, per output (m,), by the metric of the rule."""
    length = found.length.astype(np.float64)
    return {
        "preference.blind_longer": length,
        "preference.blind_shorter": -length,
        "preference.blind_markdown": markdown_marks(found.outputs.words),
    }


def numbers(decided: Margins, surface: Mapping[str, Float], confidence: float) -> Numbers:
    """Accuracy, tie rate and what the blind rules score."""
    shares = {
        "preference.accuracy": decided.correct,
        "preference.tie_rate": (decided.margin == 0).astype(np.float64),
    }
    found = {
        id_: cluster_mean(values, decided.cluster, confidence=confidence, bounds=(0, 1))
        for id_, values in shares.items()
    }
    return found | {
        id_: blind_accuracy(decided, amount, confidence) for id_, amount in surface.items()
    }


def margin_mean(decided: Margins, confidence: float) -> Estimate:
    """Mean margin, in SDs of the reward."""
    ones = np.ones(len(decided))
    return standardized(decided.margin, ones, decided.cluster, decided.unit, confidence=confidence)


def rank_correlation(case: Case, found: Margins) -> Estimate:
    """Mean over prompts of the rank correlation of reward and label; from -1 to 1.

    Kendall's tau-b for rankings, by row; Spearman's rho for ratings, by prompt. Prompts in which
    the reward or the label is constant have none and take no part.
    """
    finite = np.flatnonzero(np.isfinite(found.reward))
    ranking = case.eval.type == "ranking"
    context = (found.outputs.row if ranking else found.outputs.prompt)[finite]
    if not finite.size:
        return Estimate.undefined("no finite reward", confidence=case.confidence)
    _, first, codes = np.unique(context, return_index=True, return_inverse=True)
    within = kendall_tau_b_within if ranking else spearman_within
    values = within(found.reward[finite], label_level(case)[finite], codes)
    exists = np.isfinite(values)
    if not exists.any():
        reason = "reward or label is the same for all responses of each prompt"
        return Estimate.undefined(
            reason, n=finite.size, n_clusters=first.size, confidence=case.confidence
        )
    clusters = found.outputs.cluster[finite[first]]
    return cluster_mean(
        values[exists], clusters[exists], confidence=case.confidence, bounds=(-1, 1)
    )


def over_subsets(
    decided: Margins,
    masks: Mapping[str, Mask],
    subsets: Mapping[str, Numbers],
    confidence: float,
) -> Numbers:
    """Macro and worst-subset accuracy, over the subsets whose accuracy has an interval."""
    usable = [name for name in masks if subsets[name]["preference.accuracy"].defined]
    names = ("preference.macro_accuracy", "preference.worst_subset_accuracy")
    if not usable:
        reason = "no column subset in --eval"
        if masks:
            reason = "no subset has pairs of several prompts"
        nothing = Estimate.undefined(reason, n=len(decided), confidence=confidence)
        return dict.fromkeys(names, nothing)
    terms = []
    for name in usable:
        here = masks[name][decided.row].astype(np.float64)
        terms.append((1 / len(usable), decided.correct * here, here))
    macro = cluster_ratios(terms, decided.cluster, confidence=confidence, bounds=(0, 1))
    parts = [decided.on_rows(masks[name]) for name in usable]
    return dict(
        zip(
            names,
            (macro, lowest_mean([(p.correct, p.cluster) for p in parts], confidence)),
            strict=True,
        )
    )


def difficulties(
    matrix: StyleMatrix, masks: Mapping[str, Mask], confidence: float
) -> dict[str, Numbers]:
    """Easy, normal and hard averages by subset ("" for the whole); none without three levels."""
    if not matrix.graded:
        return {}
    parts = {"": matrix, **{name: matrix.on_rows(rows) for name, rows in masks.items()}}
    return {
        part: {f"preference.style_{d}": m.difficulty(d, confidence) for d in DIFFICULTIES}
        for part, m in parts.items()
        if part == "" or len(m.crossed)
    }


def other_slices(case: Case, decided: Margins) -> list[Metric]:
    """Accuracy by family and by style."""
    metrics = []
    for column in ("family", "style"):
        for name, rows in slices(case, column)[0].items():
            part = decided.on_rows(rows)
            accuracy = cluster_mean(
                part.correct, part.cluster, confidence=case.confidence, bounds=(0, 1)
            )
            metrics.append(Metric("preference.accuracy", accuracy, {column: name}))
    return metrics


def not_run(case: Case, matrix: StyleMatrix | str, left_out: int) -> list[NotRun]:
    """The parts that lacked something."""
    absent = []
    if "subset" not in case.eval.frame:
        absent.append(NotRun("accuracy per subset", "a column subset in --eval"))
    if left_out:
        needs = f"fewer subsets: the {MOST_SLICES} largest are shown, {left_out} are not"
        absent.append(NotRun("accuracy on small subsets", needs))
    if isinstance(matrix, str):
        absent.append(NotRun("style matrix", matrix))
    elif not matrix.graded:
        needs = "the three styles concise, detailed plain and detailed markdown"
        absent.append(NotRun("easy, normal and hard averages", needs))
    if case.eval.type not in ("ranking", "rating"):
        absent.append(NotRun("rank correlation", "rankings or ratings in --eval"))
    return absent
