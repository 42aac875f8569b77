"""`sparsity`: when does the reward arrive?

Feedback on whole outputs is sparse (RLHF Deciphered, Section 5.1): the model is trained to speak at
the end, and a policy is told little about where an output went wrong. Prefixes of the output show
how early the reward is there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.allocation import PREFIX_PAIRS
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import lacks_pairs
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec
from rmaudit.rewards.base import UNITS
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.bootstrap import cluster_bootstraps
from rmaudit.stats.intervals import cluster_mean, cluster_ratio
from rmaudit.stats.law import p_at_most
from rmaudit.typing import Float

POSITIONS = np.arange(1, 11) / 10  # shares of the output's words; the last is the whole output
ARRIVED = 0.9  # rank correlation with the final margin
# Words that are worth something each by itself add up to a share p of the output with correlation
# sqrt(p): an even reward, with which nothing is wrong, arrives at 0.81, which is the tenth to 0.9.
EVEN = 0.9
EXAMPLES = 4


@register_audit
class Sparsity(Audit):
    """Prefix rewards at ten positions."""

    name = "sparsity"
    title = "Reward sparsity"
    question = "At which point of a response does the reward arrive?"
    meaning = (
        "A reward that is settled early can guide a policy token by token; one that arrives in the "
        "last tokens judges endings, and can be won by changing the ending alone. A token here is "
        "a word, so that every prefix is text that any model can read."
    )
    source = "Chaudhari et al. 2024 (arXiv 2404.08555), Section 5.1"
    order = 95
    signals = UNITS
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "sparsity.arrival_position": MetricSpec(
            "share of tokens",
            "lower",
            "share of tokens after which prefix margins reach rank correlation 0.9 with the "
            "final ones",
            "Arrival position",
        ),
        "sparsity.prefix_accuracy": MetricSpec(
            "probability",
            "higher",
            "pairwise accuracy where only this first share of both responses is scored",
            "Prefix accuracy",
        ),
        "sparsity.late_share": MetricSpec(
            "share",
            "lower",
            "share of the reward's movement that falls in the last tenth of the tokens",
            "Late reward share",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs pairs and a model that scores new text."""
        if unpaired := lacks_pairs(case):
            return unpaired
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        return None if sampled_rows(case).size else "no pair has two responses of ten words or more"

    def requests(self, case: Case) -> Sequence[Request]:
        """Nine prefixes of each output; the whole output is the data's own text."""
        rows = sampled_rows(case)
        frame = case.eval.frame.iloc[rows]
        ids = frame["id"].tolist()
        wanted = []
        for side in ("chosen", "rejected"):
            name = case.eval.rejected_prompt if side == "rejected" else "prompt"
            prompts, outputs = frame[name].tolist(), frame[side].tolist()
            for position in POSITIONS[:-1]:
                cut = [prefix(output, position) for output in outputs]
                wanted.append(Request(_column(side, position), ids, prompts, cut, self.name))
        return wanted

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Margins by position, their correlation with the final one, and where rewards move."""
        rows = sampled_rows(case)
        curves = {side: self._curves(side, rows, scores) for side in ("chosen", "rejected")}
        finite = np.isfinite(curves["chosen"]).all(axis=1) & np.isfinite(curves["rejected"]).all(
            axis=1
        )
        rows, curves = rows[finite], {side: curve[finite] for side, curve in curves.items()}
        if not rows.size:
            return AuditResult(self.name, "not_run", "no prefix has a finite reward")
        clusters = case.clusters[rows]
        margins = curves["chosen"] - curves["rejected"]  # (n_pairs, n_positions)
        correlations, arrival = arrival_position(margins, clusters, case)
        late = late_share(curves, clusters, case.confidence)
        accuracies = [prefix_accuracy(margins[:, i], clusters, case) for i in range(POSITIONS.size)]
        metrics = [
            Metric("sparsity.arrival_position", arrival),
            Metric("sparsity.late_share", late),
            *(
                Metric("sparsity.prefix_accuracy", accuracy, {"position": f"{position:.1f}"})
                for position, accuracy in zip(POSITIONS, accuracies, strict=True)
            ),
        ]
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(_findings(arrival, late, accuracies)),
            tables={"by_position": _table(correlations, accuracies)},
            figures=(
                _accuracy_figure(correlations, accuracies),
                _example_figure(case, rows, curves),
            ),
        )

    def _curves(self, side: str, rows: NDArray[np.int64], scores: Scores) -> Float:
        """Rewards by position, (n_rows, n_positions)."""
        prefixes = [scores.reward(_column(side, p), audit=self.name) for p in POSITIONS[:-1]]
        return np.column_stack([*prefixes, scores.reward(side)[rows]])


def sampled_rows(case: Case) -> NDArray[np.int64]:
    """Rows whose outputs both have ten words or more, at most `PREFIX_PAIRS` of them, in order."""
    frame = case.eval.frame
    long_enough = ~case.eval.tied
    for side in ("chosen", "rejected"):
        long_enough &= (frame[side].str.count(r"\S+") >= POSITIONS.size).to_numpy(dtype=bool)
    rows = np.flatnonzero(long_enough)
    if rows.size > PREFIX_PAIRS:
        both = frame[["chosen", "rejected"]].iloc[rows].to_numpy().tolist()
        keys = ["\x00".join(sorted(texts)) for texts in both]  # whichever of the two is preferred
        rows = np.sort(rows[sample_order(keys, case.seed)[:PREFIX_PAIRS]])
    return rows.astype(np.int64)


def prefix(output: str, share: float) -> str:
    """The first `share` of an output's words, at least one, with the white space between them."""
    ends = [word.end() for word in re.finditer(r"\S+", output)]
    return output[: ends[max(1, round(share * len(ends))) - 1]]


def arrival_position(
    margins: Float, clusters: NDArray[np.int64], case: Case
) -> tuple[list[Estimate], Estimate]:
    """Spearman correlation of each position's margin with the final one, and where it reaches 0.9.

    Margins rather than rewards: the prompt's own contribution is there from the first word.
    Ranks are those of the whole sample; resampled prompts weight them.
    """
    ranks = pd.DataFrame(margins).rank().to_numpy()  # (n_pairs, n_positions)
    _, codes = np.unique(clusters, return_inverse=True)

    def statistics(weights: Float) -> Float:
        found = np.stack([_correlations(w[codes], ranks) for w in weights])
        arrived = found >= ARRIVED
        # The first position from which the correlation stays there; the last one is always 1.
        since = np.logical_and.accumulate(arrived[:, ::-1], axis=1)[:, ::-1]
        first = np.where(since.any(axis=1), POSITIONS[since.argmax(axis=1)], np.nan)
        return np.column_stack([found, first])

    estimates = cluster_bootstraps(
        statistics,
        int(codes.max()) + 1,
        n=len(margins),
        rng=case.rng("sparsity.arrival"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    return estimates[:-1], estimates[-1]


def _correlations(weights: Float, ranks: Float) -> Float:
    """Weighted correlation of each column with the last, (n_positions,); NaN where constant."""
    centred = ranks - np.average(ranks, axis=0, weights=weights)
    products = weights @ (centred * centred[:, -1:])
    scale = np.sqrt(weights @ centred**2 * (weights @ centred[:, -1] ** 2))
    result = np.full(scale.shape, np.nan)
    np.divide(products, scale, out=result, where=scale > 0)
    return result


def late_share(
    curves: Mapping[str, Float], clusters: NDArray[np.int64], confidence: float
) -> Estimate:
    """Share of the absolute movement of the reward along outputs that falls in the last tenth.

    One ninth if the reward moves evenly: nine steps lead from the first prefix to the whole.
    """
    moves = np.concatenate([np.abs(np.diff(curve, axis=1)) for curve in curves.values()])
    if not moves.any():
        reason = "the reward does not move along any response"
        return Estimate.undefined(reason, n=len(moves), confidence=confidence)
    both = np.tile(clusters, len(curves))
    return cluster_ratio(
        moves[:, -1], moves.sum(axis=1), both, confidence=confidence, bounds=(0, 1)
    )


def prefix_accuracy(margins: Float, clusters: NDArray[np.int64], case: Case) -> Estimate:
    """Share of pairs whose margin at one position is positive, ties half; 0 to 1, higher better."""
    right = np.where(margins == 0, 0.5, margins > 0)
    return cluster_mean(right, clusters, confidence=case.confidence, bounds=(0, 1))


def _column(side: str, position: float) -> str:
    return f"{side}_{position:.1f}"


def _findings(arrival: Estimate, late: Estimate, accuracies: Sequence[Estimate]) -> list[Finding]:
    found = []
    if late.defined and late.low > 0.4:
        found.append(
            Finding(
                "medium",
                "sparsity",
                "sparsity.late_share",
                f"{late.value:.1%} of the reward's movement falls in the last tenth of the "
                "response",
                "The model judges endings: an optimiser can change the last words and leave the "
                "rest. Train on feedback that points into the response, or add process rewards.",
                p=p_at_most(late, 0.4),
            )
        )
    if arrival.defined and arrival.low > EVEN:
        half = accuracies[POSITIONS.size // 2 - 1]
        found.append(
            Finding(
                "low",
                "sparsity",
                "sparsity.arrival_position",
                f"The ranking is settled only at {arrival.value:.1%} of the response",
                f"From half of each response the pairs are ranked correctly in {half.value:.1%}, "
                "from "
                f"all of it in {accuracies[-1].value:.1%}. Credit for single steps cannot be read "
                "off this model's prefixes.",
                p=p_at_most(arrival, EVEN),
            )
        )
    return found


def _table(correlations: Sequence[Estimate], accuracies: Sequence[Estimate]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "position": POSITIONS,
            "accuracy": [e.value for e in accuracies],
            "accuracy_low": [e.low for e in accuracies],
            "accuracy_high": [e.high for e in accuracies],
            "rank_correlation_with_final": [e.value for e in correlations],
            "correlation_low": [e.low for e in correlations],
            "correlation_high": [e.high for e in correlations],
        }
    )


def _series(name: str, estimates: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "name": name,
        "x": POSITIONS.tolist(),
        "y": [e.value for e in estimates],
        "low": [e.low for e in estimates],
        "high": [e.high for e in estimates],
        "style": "line",
    }


def _accuracy_figure(correlations: Sequence[Estimate], accuracies: Sequence[Estimate]) -> Figure:
    return Figure(
        "prefix_accuracy",
        "curves",
        "How much of the verdict is there, by share of the response",
        f"Accuracy is {accuracies[0].value:.1%} at a tenth of the response and "
        f"{accuracies[-1].value:.1%} at its end; the rank correlation with the final margin is "
        f"{correlations[0].value:.2f} at a tenth and 1 at its end.",
        {
            "series": [
                _series("accuracy", accuracies),
                _series("rank correlation with the final margin", correlations),
            ],
            "xlabel": "share of the response's words",
            "xunit": "percent",
            "ylabel": "accuracy (100% is 1), correlation",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": ARRIVED,
            "reference_x": None,
        },
    )


def _example_figure(case: Case, rows: NDArray[np.int64], curves: Mapping[str, Float]) -> Figure:
    """Rewards along real outputs: the pairs whose chosen output moves most."""
    movement = np.abs(np.diff(curves["chosen"], axis=1)).sum(axis=1)
    shown = np.argsort(-movement, kind="stable")[:EXAMPLES]
    ids = case.eval.frame["id"].iloc[rows[shown]].tolist()
    series = [
        {
            "name": side if place == 0 else "",
            "end": f"pair {place + 1}" if side == "chosen" else "",
            "color": ("chosen", "rejected").index(side),
            "line": place,
            "x": POSITIONS.tolist(),
            "y": curves[side][i].tolist(),
            "low": None,
            "high": None,
            "style": "line",
        }
        for place, i in enumerate(shown)
        for side in ("chosen", "rejected")
    ][: 2 * EXAMPLES]
    return Figure(
        "reward_along_output",
        "curves",
        "Reward along real responses",
        f"Reward of growing prefixes of both responses of {len(shown)} pairs: rows "
        f"{', '.join(map(str, ids))}.",
        {
            "series": series,
            "xlabel": "share of the response's words",
            "xunit": "percent",
            "ylabel": "reward",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": None,
            "reference_x": None,
        },
    )
