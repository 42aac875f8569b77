"""`annotators`: one score for many people.

A scalar reward averages over annotators who disagree (Casper et al. 2023, Section 3.2.2; RLHF
Deciphered, Section 5). Votes say how much they do, how far any model could agree with one of them,
and whom the reward follows least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from rmaudit.audits.annotators import groups, ratings
from rmaudit.audits.annotators.preferences import against_votes
from rmaudit.audits.annotators.views import concordance_figure, figure, findings
from rmaudit.audits.annotators.votes import Votes, collect, contested_items, swapped
from rmaudit.audits.base import Audit, register_audit
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Metric, MetricSpec, NotRun
from rmaudit.scoring.requests import Scores
from rmaudit.stats.agreement import krippendorff_alpha, noise_ceiling, vote_counts


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
            "lowest accuracy (of ratings: concordance) for an annotator group; biased downward",
            "Worst-group accuracy",
        ),
        "annotators.vote_ece": MetricSpec(
            "probability",
            "zero",
            "calibration error of sigmoid(margin) against the vote share, less what noise adds",
            "Vote calibration error",
        ),
        "annotators.concordance": MetricSpec(
            "probability",
            "higher",
            "how often the reward orders two responses as an annotator who rated both does; within "
            "a prompt where prompts have several responses, else across prompts",
            "Concordance with annotators",
        ),
        "annotators.concordance_ceiling": MetricSpec(
            "probability",
            "none",
            "how often the mean of the other annotators orders two responses as the annotator does",
            "Concordance of annotators",
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
        """Agreement among people; then, of pairs and ratings, the reward's agreement with them."""
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
        contested, examples = contested_items(case, counts, categories)
        people = AuditResult(self.name, metrics=tuple(metrics), tables={"contested": contested})
        against = {"preference": _preferences, "rating": _ratings}.get(case.eval.type)
        if against is None:
            lacking = NotRun("agreement of the reward with the votes", "pairs or ratings")
            return replace(people, not_run=(lacking,))
        rest = against(case, scores, votes, ceiling, examples)
        return replace(
            rest,
            metrics=(*people.metrics, *rest.metrics),
            tables={**people.tables, **rest.tables},
            tests=2,
        )


def _preferences(
    case: Case,
    scores: Scores,
    votes: Votes,
    ceiling: Estimate,
    examples: Sequence[Mapping[str, Any]],
) -> AuditResult:
    """The margin against the votes for either side."""
    margin = scores.reward("chosen") - scores.reward("rejected")
    model = against_votes(case, votes, margin)
    by_group, worst = groups.groups_of(case, votes, margin)
    return AuditResult(
        "annotators",
        metrics=(*model, Metric("annotators.worst_group_accuracy", worst)),
        findings=tuple(findings(model, ceiling, by_group, examples)),
        tables={"by_annotator": groups.group_table(by_group)} if by_group else {},
        figures=(figure(model, ceiling),),
    )


def _ratings(
    case: Case,
    scores: Scores,
    votes: Votes,
    ceiling: Estimate,
    examples: Sequence[Mapping[str, Any]],
) -> AuditResult:
    """The order of rewards against the order that each annotator gave."""
    read = ratings.judged(case, votes)
    if np.isnan(read.value).all():
        return AuditResult(
            "annotators",
            not_run=(NotRun("agreement of the reward with the votes", read.reading),),
        )
    reward = scores.reward("output")[votes.item]
    mine = ratings.concordance(case, votes, read.value, reward)
    others = ratings.others_mean(votes, read.value)
    theirs = ratings.concordance(case, votes, read.value, others)
    concordant, limit = (ratings.estimate(ratings.total(c, case), case) for c in (mine, theirs))
    if "annotator" not in votes.groups:
        limit = Estimate.undefined("needs a column annotators, who voted")
    by_group, worst = ratings.groups_of(case, votes, mine)
    return AuditResult(
        "annotators",
        metrics=(
            Metric("annotators.concordance", concordant),
            Metric("annotators.concordance_ceiling", limit),
            Metric("annotators.worst_group_accuracy", worst),
        ),
        findings=tuple(findings((), ceiling, by_group, examples)),
        tables={"by_annotator": groups.group_table(by_group)} if by_group else {},
        figures=(concordance_figure(concordant, limit, by_group, read.reading),),
    )
