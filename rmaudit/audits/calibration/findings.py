"""What the calibration audit says of a fault, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rmaudit.audits.base import grade
from rmaudit.audits.calibration.pairs import Pairs
from rmaudit.audits.common.pairs import near_end, pair_examples
from rmaudit.case import Case
from rmaudit.results import Estimate, Finding
from rmaudit.stats.binning import binned_calibration
from rmaudit.stats.calibration import fold, overconfidence, temperature
from rmaudit.stats.law import p_at_least, p_at_most, p_within
from rmaudit.stats.multiple import finding_level

NOTICEABLE = 0.01  # a difference of probability that is worth a word
NOTICEABLE_FACTOR = 1.1  # of margins: about as much
NOTICEABLE_ERROR = 0.025  # on average, whatever its direction: its lower end is not exact
MEDIUM, HIGH = 0.05, 0.10
TEMPERATURE = "calibration.temperature"
FACTORS = (2.0, 4.0)  # medium and high


def find(
    case: Case,
    pairs: Pairs,
    overall: Mapping[str, Estimate],
    by_subset: Mapping[str, Pairs],
) -> list[Finding]:
    """Over- or under-confidence overall, in the worst subset, or error that averages out.

    Near chance a temperature is hardly known, and the mean claim is the stronger test. Where
    margins are tiny or huge it is the weaker: those claim the same at any temperature. An error in
    both directions may hide from either, and a subset from all three. These are one question
    asked in three or four ways: they share the chance of one false finding, and their p-values are
    adjusted for it (Bonferroni by weight). The temperature, the best test of a wrong scale, has
    half; the others share the rest.
    """
    if not overall["calibration.overconfidence"].defined:
        return []
    shares = {TEMPERATURE: 0.5}
    other = 0.5 / (3 if len(by_subset) > 1 else 2)
    level = finding_level(case.confidence)
    allowed = other * level
    data = (pairs.margins, pairs.clusters)
    mean = overconfidence(*data, targets=pairs.targets, confidence=1 - allowed)
    scale = temperature(*data, targets=pairs.targets, confidence=1 - shares[TEMPERATURE] * level)
    error = overall["calibration.ece_debiased"]
    off = is_off(error, allowed)
    findings = []
    if near_end(mean) > NOTICEABLE:
        findings.append(mean_finding(case, pairs, overall, mean))
    elif near_factor(scale) > NOTICEABLE_FACTOR and not (
        off and is_off(error_after(case, pairs, scale), allowed)
    ):
        findings.append(scale_finding(case, pairs, overall, scale))
    elif off:
        findings.append(error_finding(error))
    findings += subset_finding(case, by_subset, near_end(mean), allowed)
    return [
        replace(f, p=min(1.0, f.p / shares.get(f.metric, other)))
        for f in findings
        if f.p is not None
    ]


def error_after(case: Case, pairs: Pairs, scale: Estimate) -> Estimate:
    """The calibration error that is left after temperature scaling."""
    return binned_calibration(
        pairs.margins / scale.value,
        pairs.clusters,
        targets=pairs.targets,
        rng=case.rng("calibration.divided"),
        resamples=case.resamples,
        confidence=case.confidence,
    ).ece_debiased


def is_off(error: Estimate, allowed: float) -> bool:
    """Whether a calibration error is above what is noticeable, with such a chance of a mistake."""
    return p_at_most(error, NOTICEABLE_ERROR) <= allowed


def error_finding(error: Estimate) -> Finding:
    """It is wrong in both directions, which the mean claim and one factor do not show."""
    return Finding(
        grade(error.low, MEDIUM, HIGH),
        "calibration",
        "calibration.ece_debiased",
        f"sigmoid(margin) is off by {points(error.value)} on average, in both directions",
        "Overconfident in some ranges and underconfident in others: a single temperature does not "
        "mend that. Look at the reliability diagram and at the subsets.",
        p=p_at_most(error, NOTICEABLE_ERROR),
    )


def near_factor(scale: Estimate) -> float:
    """The factor that margins are off by at least; 1 if the interval holds 1 or is undefined."""
    return max(scale.low, 1 / scale.high, 1.0) if scale.defined else 1.0


def points(probability: float) -> str:
    """A difference of probabilities in words."""
    return f"{100 * abs(probability):.1f} points"


def mean_finding(
    case: Case, pairs: Pairs, overall: Mapping[str, Estimate], mean: Estimate
) -> Finding:
    """The model claims more, or less, than it keeps."""
    over = mean.value > 0
    return Finding(
        grade(near_end(mean), MEDIUM, HIGH),
        "calibration",
        "calibration.overconfidence",
        claim(pairs, mean),
        f"The {mean.confidence:.1%} interval (other claims are tested too) is "
        f"{100 * mean.low:.1f} to {100 * mean.high:.1f} points. {remedy(overall, over)}",
        examples(case, pairs, over),
        p_within(mean, NOTICEABLE),
    )


def scale_finding(
    case: Case, pairs: Pairs, overall: Mapping[str, Estimate], scale: Estimate
) -> Finding:
    """Margins are off by a factor, though the mean claim is not off for certain."""
    over = scale.value > 1
    kind, size = ("Overconfident", "large") if over else ("Underconfident", "small")
    factor = scale.value if over else 1 / scale.value
    return Finding(
        grade(near_factor(scale), *FACTORS),
        "calibration",
        TEMPERATURE,
        f"{kind}: margins are too {size} for the labels by a factor of {factor:.3g}",
        f"The temperature that fits the labels is {scale.value:.3g}, with a {scale.confidence:.1%} "
        f"interval (other claims are tested too) of {scale.low:.3g} to {scale.high:.3g}; a "
        f"calibrated model has 1. {remedy(overall, over)}",
        examples(case, pairs, over),
        min(
            1.0,
            2 * min(p_at_most(scale, NOTICEABLE_FACTOR), p_at_least(scale, 1 / NOTICEABLE_FACTOR)),
        ),
    )


def remedy(overall: Mapping[str, Estimate], over: bool) -> str:
    """What over- or under-confidence does to a policy, and whether a temperature mends it."""
    effect = (
        "A policy trained on it gets full reward for differences that are not there."
        if over
        else "Its margins understate what it knows, so a KL weight tuned on them is too strict."
    )
    scale, after = overall["calibration.temperature"], overall["calibration.ece_after_temperature"]
    if not scale.defined:
        return f"{effect} No temperature mends it: {scale.undefined_reason}."
    if not after.defined:
        return f"{effect} Whether a temperature mends it is not known: {after.undefined_reason}."
    return (
        f"{effect} Dividing margins by {scale.value:.2f} would take the calibration error (ECE) "
        f"from {overall['calibration.ece'].value:.3f} to {after.value:.3f}."
    )


def claim(pairs: Pairs, estimate: Estimate, where: str = "") -> str:
    """What the model claims and what it keeps, in one sentence."""
    claimed, correct = fold(pairs.margins, pairs.targets)
    kind = "Overconfident" if estimate.value > 0 else "Underconfident"
    return f"{kind}{where}: mean confidence {claimed.mean():.1%}, accuracy {correct.mean():.1%}"


def subset_finding(
    case: Case, by_subset: Mapping[str, Pairs], overall: float, allowed: float
) -> list[Finding]:
    """The subset that is furthest off for certain, if it is clearly worse than the whole."""
    if len(by_subset) < 2:
        return []
    level = 1 - allowed / len(by_subset)  # Bonferroni: the worst of many is picked
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
            min(1.0, len(by_subset) * p_within(found[name], MEDIUM)),
        )
    ]


def examples(case: Case, pairs: Pairs, over: bool) -> tuple[Mapping[str, Any], ...]:
    """The pairs on which the model is most sure and wrong, or least sure and right."""
    claimed, correct = fold(pairs.margins, pairs.targets)
    return pair_examples(
        case,
        pairs.found,
        claimed - correct if over else correct - claimed,
        lambda i: f"{claimed[i]:.1%} sure of its choice; the labels agree in {correct[i]:.1%}",
    )
