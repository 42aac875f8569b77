"""Calibration: does sigmoid(margin) mean what it says?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits._calibration_views import (
    diagram_figure,
    diagram_table,
    forest,
    murphy_table,
    subset_table,
    temperature_figure,
)
from rmaudit.audits.base import Audit, grade
from rmaudit.audits.pairs import LABELLED, Margins, margins, near_end, pair_examples
from rmaudit.case import Case
from rmaudit.registry import register_audit
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec, NotRun
from rmaudit.scoring.requests import Scores
from rmaudit.stats.binning import binned_calibration
from rmaudit.stats.calibration import (
    brier_score,
    fold,
    negative_log_likelihood,
    overconfidence,
    temperature,
)
from rmaudit.stats.reliability import reliability_diagram

Float = NDArray[np.float64]
Integers = NDArray[np.int64]

NOTICEABLE = 0.01  # a difference of probability that is worth a word
MEDIUM, HIGH = 0.05, 0.10
NO_PAIRS = "no pair with a preferred output and finite rewards"


@dataclass(frozen=True)
class Pairs:
    """The pairs that calibration is measured on, (n,) each."""

    found: Margins  # decided, with finite rewards
    targets: Float  # share of the votes for either output that are for the chosen one
    votes: Integers  # how many votes those are; one where the label is all there is

    @property
    def margins(self) -> Float:
        """Reward of the chosen output minus the other's."""
        return self.found.margin

    @property
    def clusters(self) -> Integers:
        """Codes of the unit of resampling."""
        return self.found.cluster

    @property
    def rows(self) -> Integers:
        """Places in the evaluation data."""
        return self.found.row

    def take(self, keep: NDArray[np.bool_]) -> Pairs:
        """The same on some pairs."""
        return Pairs(self.found.take(keep), self.targets[keep], self.votes[keep])


@register_audit
class Calibration(Audit):
    """Whether `sigmoid(margin)` is the probability that the chosen output is the preferred one."""

    name = "calibration"
    title = "Calibration"
    question = "When the model is 90 % sure of a preference, is it right nine times in ten?"
    meaning = (
        "A reward model trained on pairs claims that an output is preferred with probability "
        "sigmoid(margin). Over-confidence is the mean claim minus the share that is right; the "
        "temperature is what margins should be divided by (above 1: over-confident). Binned ECE "
        "and MCE are positive even for a perfect model, so read the debiased one; the intervals "
        "of binned and smooth errors and of the resolution are approximate: nominal 95 % covered "
        "92 to 99 % in simulation at 200 to 2,000 prompts. The one after temperature takes the "
        "fit as given."
    )
    source = (
        "Guo et al. 2017 (arXiv 1706.04599); Kumar et al. 2019 (1909.10155); Blasiok & Nakkiran "
        "2023 (2309.12236); Murphy 1973"
    )
    order = 40
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "calibration.ece": MetricSpec(
            "probability", "zero", "expected calibration error, 15 equal-mass bins; biased upward"
        ),
        "calibration.ece_debiased": MetricSpec(
            "probability", "zero", "expected calibration error less what noise adds to it"
        ),
        "calibration.smooth_ece": MetricSpec(
            "probability", "zero", "calibration error by kernel smoothing, without bins"
        ),
        "calibration.mce": MetricSpec(
            "probability", "zero", "largest calibration error of a bin; biased upward"
        ),
        "calibration.brier": MetricSpec("-", "lower", "mean squared error of the probability"),
        "calibration.brier_reliability": MetricSpec(
            "-", "lower", "part of the Brier score that is miscalibration"
        ),
        "calibration.brier_resolution": MetricSpec(
            "-", "higher", "part of the Brier score that telling pairs apart takes off"
        ),
        "calibration.nll": MetricSpec("-", "lower", "mean negative log-likelihood, in nats"),
        "calibration.overconfidence": MetricSpec(
            "probability", "zero", "mean confidence minus share correct; positive: too sure"
        ),
        "calibration.temperature": MetricSpec(
            "-", "one", "what margins should be divided by; above 1: over-confident"
        ),
        "calibration.ece_after_temperature": MetricSpec(
            "probability", "zero", "ECE after temperature scaling, fitted on other prompts"
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels that compare outputs."""
        if case.eval.type not in LABELLED:
            return f"needs labels ({', '.join(LABELLED)}) in --eval, not {case.eval.type} data"
        return None

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Calibration overall and per subset."""
        pairs, counts = collect(case, scores)
        overall = measure_pairs(pairs, case, "all")
        metrics = [Metric(id_, estimate) for id_, estimate in overall.items()]
        tables = {"pairs": counts}
        figures: list[Figure] = []
        not_run = []
        by_subset: dict[str, Pairs] = {}
        if "annotator_votes" not in case.eval.frame:
            needs = "a column annotator_votes in --eval, one label per annotator"
            not_run.append(NotRun("calibration against shares of votes", needs))
        if "subset" in case.eval.frame:
            by_subset = subsets(case, pairs)
            estimates = {name: measure_pairs(p, case, name) for name, p in by_subset.items()}
            metrics += [
                Metric(id_, estimate, {"subset": name})
                for name, found in estimates.items()
                for id_, estimate in found.items()
            ]
            tables["subsets"] = subset_table(estimates)
            figures += forest(estimates)
        else:
            not_run.append(NotRun("calibration per subset", "a column subset in --eval"))
        if pairs.margins.size and np.unique(pairs.clusters).size > 1:
            diagram = reliability_diagram(
                pairs.margins,
                pairs.clusters,
                targets=pairs.targets,
                votes=pairs.votes,
                rng=case.rng("calibration.reliability"),
                confidence=case.confidence,
            )
            tables["reliability"] = diagram_table(diagram)
            tables["brier"] = murphy_table(pairs.targets, overall)
            fitted = overall["calibration.temperature"]
            curve = temperature_figure(pairs.margins, pairs.targets, fitted)
            figures = [diagram_figure(diagram), *figures, curve]
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(find(case, pairs, overall, by_subset)),
            tables=tables,
            figures=tuple(figures),
            not_run=tuple(not_run),
        )


def collect(case: Case, scores: Scores) -> tuple[Pairs, pd.DataFrame]:
    """The pairs with a preference and finite rewards, and how many of which there were."""
    every = margins(case, scores)
    found = every.decided
    targets, votes = vote_shares(case.eval.frame)
    targets, votes = targets[found.row], votes[found.row]
    pairs = Pairs(found, np.where(votes > 0, targets, 1.0), np.maximum(votes, 1))
    counts = {
        "used": len(found),
        "of these with votes": int((votes > 0).sum()),
        "left out: labelled tie": int(every.tied.sum()),
        "left out: non-finite reward": every.nonfinite,
    }
    return pairs, pd.DataFrame({"what": list(counts), "pairs": list(counts.values())})


def vote_shares(frame: pd.DataFrame) -> tuple[Float, Integers]:
    """Share of votes for the chosen output among votes for either, and their number, (n,) each."""
    if "annotator_votes" not in frame:
        return np.ones(len(frame)), np.zeros(len(frame), dtype=np.int64)
    chosen, either = [], []
    for votes in frame["annotator_votes"]:
        labels = list(votes) if isinstance(votes, list | tuple | np.ndarray) else []
        chosen.append(sum(label == "chosen" for label in labels))
        either.append(chosen[-1] + sum(label == "rejected" for label in labels))
    counts = np.array(either, dtype=np.int64)
    return np.array(chosen) / np.maximum(counts, 1), counts


def subsets(case: Case, pairs: Pairs) -> dict[str, Pairs]:
    """The pairs of each subset, in order of name."""
    names = case.eval.frame["subset"].to_numpy(dtype=object)[pairs.rows]
    named = pd.notna(names)
    return {
        str(name): pairs.take(named & (names == name))
        for name in sorted(set(names[named]), key=str)
    }


def measure_pairs(pairs: Pairs, case: Case, part: str) -> dict[str, Estimate]:
    """Every metric on these pairs, by id."""
    if pairs.margins.size == 0:
        nothing = Estimate.undefined(NO_PAIRS, confidence=case.confidence)
        return dict.fromkeys(Calibration.metrics, nothing)
    data = (pairs.margins, pairs.clusters)
    binned = binned_calibration(
        *data,
        targets=pairs.targets,
        rng=case.rng(f"calibration.{part}"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    found: dict[str, Estimate] = {}
    for name, statistic in (
        ("brier", brier_score),
        ("nll", negative_log_likelihood),
        ("overconfidence", overconfidence),
        ("temperature", temperature),
    ):
        found[name] = statistic(*data, targets=pairs.targets, confidence=case.confidence)
    return {
        id_: found[name] if (name := id_.partition(".")[2]) in found else getattr(binned, name)
        for id_ in Calibration.metrics
    }


def find(
    case: Case,
    pairs: Pairs,
    overall: Mapping[str, Estimate],
    by_subset: Mapping[str, Pairs],
) -> list[Finding]:
    """Over- or under-confidence overall, in the worst subset, or error that averages out."""
    if not overall["calibration.overconfidence"].defined:
        return []
    findings = []
    bound = near_end(overall["calibration.overconfidence"])
    error = overall["calibration.ece_debiased"]
    if bound > NOTICEABLE:
        findings.append(confidence_finding(case, pairs, overall, bound))
    elif error.low > NOTICEABLE:
        title = f"sigmoid(margin) is off by {points(error.value)} on average, in both directions"
        detail = (
            "Too sure in some ranges and not sure enough in others: a single temperature does not "
            "mend that. Look at the reliability diagram and at the subsets."
        )
        severity = grade(error.low, MEDIUM, HIGH)
        findings.append(Finding(severity, "calibration", "calibration.ece_debiased", title, detail))
    return findings + subset_finding(case, by_subset, bound)


def points(probability: float) -> str:
    """A difference of probabilities in words."""
    return f"{100 * abs(probability):.1f} points"


def confidence_finding(
    case: Case, pairs: Pairs, found: Mapping[str, Estimate], bound: float
) -> Finding:
    """The model claims more, or less, than it keeps."""
    estimate = found["calibration.overconfidence"]
    scale = found["calibration.temperature"]
    cure = "No temperature mends it: " + str(scale.undefined_reason) + "."
    if scale.defined:
        after = found["calibration.ece_after_temperature"]
        cure = f"Dividing margins by {scale.value:.2f} would take the calibration error (ECE) from "
        cure += f"{found['calibration.ece'].value:.3f} to {after.value:.3f}."
    over = estimate.value > 0
    effect = (
        "A policy trained on it is paid in full for differences that are not there."
        if over
        else "Its margins understate what it knows, so a KL weight tuned on them is too strict."
    )
    return Finding(
        grade(bound, MEDIUM, HIGH),
        "calibration",
        "calibration.overconfidence",
        claim(pairs, estimate),
        f"The interval is {100 * estimate.low:.1f} to {100 * estimate.high:.1f} points. "
        f"{effect} {cure}",
        examples(case, pairs, over),
    )


def claim(pairs: Pairs, estimate: Estimate, where: str = "") -> str:
    """What the model claims and what it keeps, in one sentence."""
    claimed, correct = fold(pairs.margins, pairs.targets)
    kind = "Over-confident" if estimate.value > 0 else "Under-confident"
    return (
        f"{kind}{where}: it claims to be right {claimed.mean():.1%} of the time and is in "
        f"{correct.mean():.1%}"
    )


def subset_finding(case: Case, by_subset: Mapping[str, Pairs], overall: float) -> list[Finding]:
    """The subset that is furthest off for certain, if it is clearly worse than the whole."""
    if len(by_subset) < 2:
        return []
    level = 1 - (1 - case.confidence) / len(by_subset)  # Bonferroni: the worst of many is picked
    found = {
        name: overconfidence(p.margins, p.clusters, targets=p.targets, confidence=level)
        for name, p in by_subset.items()
    }
    name = max(found, key=lambda key: near_end(found[key]))
    bound = near_end(found[name])
    if bound <= max(MEDIUM, overall + NOTICEABLE):
        return []
    over = found[name].value > 0
    return [
        Finding(
            grade(bound, MEDIUM, HIGH),
            "calibration",
            "calibration.overconfidence",
            claim(by_subset[name], found[name], f" on {name}"),
            f"At least {points(bound)} off, allowing for {len(by_subset)} subsets looked at. One "
            "temperature for all does not mend a subset: label more of it, or scale it apart.",
            examples(case, by_subset[name], over),
        )
    ]


def examples(case: Case, pairs: Pairs, over: bool) -> tuple[Mapping[str, Any], ...]:
    """The pairs on which the model is most sure and wrong, or least sure and right."""
    claimed, correct = fold(pairs.margins, pairs.targets)
    notes = [
        f"{claim:.1%} sure of its choice, target {target:.2f}"
        for claim, target in zip(claimed, correct, strict=True)
    ]
    fault = claimed - correct if over else correct - claimed
    return pair_examples(case, pairs.found, fault, np.array(notes, dtype=object))
