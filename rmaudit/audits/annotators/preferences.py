"""The reward's agreement with the votes behind preference pairs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from rmaudit.audits.annotators.votes import Votes
from rmaudit.case import Case
from rmaudit.results import Estimate, Metric
from rmaudit.stats.bootstrap import cluster_bootstrap, cluster_sums, jackknife_influence
from rmaudit.stats.deviations import total_deviation
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Float, Integers

BINS = 15  # equal-mass bins of vote_ece, as in `calibration`


def against_votes(case: Case, votes: Votes, margin: Float) -> list[Metric]:
    """Accuracy on unanimous and split items, vote calibration, margin against agreement."""
    chosen = np.bincount(votes.item, votes.label == "chosen", len(case.eval))
    rejected = np.bincount(votes.item, votes.label == "rejected", len(case.eval))
    decided = (chosen + rejected > 0) & np.isfinite(margin) & ~case.eval.tied
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
    from scipy.stats import rankdata

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

    resampled = cluster_bootstrap(
        statistic,
        len(sums),
        n=x.size,
        rng=case.rng("annotators.rank_correlation"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    return replace(resampled, influence=jackknife_influence(statistic, clusters))
