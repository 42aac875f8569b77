"""What the rubric audit says, in words."""

from __future__ import annotations

from dataclasses import replace

from rmaudit.audits.common.shares import percent
from rmaudit.audits.mix.findings import dominant
from rmaudit.audits.mix.measure import REST, advantage_shares
from rmaudit.audits.rubric.measure import Measured
from rmaudit.results import Estimate, Finding, Severity
from rmaudit.stats.law import p_at_least, p_at_most

RELIABILITY, DEAD = "rubric.reliability", "rubric.dead_points_share"
CONSTANT, DUPLICATES = "rubric.constant_share", "rubric.duplicate_points_share"
PRESENCE, TOP = "rubric.presence_only_points_share", "rubric.top_points_share"
SHARE, SLOPE = "rubric.advantage_share", "rubric.first_mover_slope"
RELIABLE = 0.667  # Krippendorff 2004: the lowest agreement on which conclusions may be drawn
NEVER = 0.75  # share of prompts on which a dead criterion is the same for all responses
HALF = 0.50  # of the points on one criterion
LEVEL = 0.05


def tests(found: Measured) -> int:
    """Hypotheses that a finding of medium or high severity may come from."""
    return (
        1
        + 2 * len(found.constant)
        + len(found.by_reliability)
        + len(found.words)
        + (found.pairs_tested)
    )


def findings(found: Measured) -> list[Finding]:
    """Criteria that are unreliable, constant, duplicate or cheaply satisfied."""
    return [
        *_unreliable(found),
        *_dead(found),
        *_duplicates(found),
        *_presence(found),
        *_concentrated(found),
        *_bought_first(found),
    ]


def _unreliable(found: Measured) -> list[Finding]:
    said = []
    for name, alpha in found.by_reliability.items():
        p = p_at_least(alpha, RELIABLE) if alpha.defined else 1.0
        if p * len(found.by_reliability) > LEVEL:
            continue
        severity: Severity = "high" if alpha.high < 0.3 else "medium"
        said.append(
            Finding(
                severity,
                "rubric",
                RELIABILITY,
                f'Unreliable criterion: "{name}" agrees with itself at {_number(alpha)} '
                "(1 is perfect, 0 is chance)",
                "Two verdicts on one response differ. To an optimiser that is noise with weight "
                f"{found.points[name]:g}. Make the criterion more concrete, or average verdicts.",
                p=p,
            )
        )
    return said


def _dead(found: Measured) -> list[Finding]:
    said = []
    for name, share in found.constant.items():
        p = p_at_most(share, NEVER) if share.defined else 1.0
        if p * len(found.constant) > LEVEL:
            continue
        met = found.means[name]
        always = "met by all" if met > 0.95 else "met by none" if met < 0.05 else "the same for all"
        said.append(
            Finding(
                "medium",
                "rubric",
                CONSTANT,
                f'Dead criterion: "{name}" is the same for all responses of {percent(share)} of '
                "the prompts",
                f"It is {always} of the responses there ({met:.1%} meet it), so its "
                f"{found.points[name]:g} points move no policy. Drop it, or make it harder or "
                "easier.",
                p=p,
            )
        )
    return said


def _duplicates(found: Measured) -> list[Finding]:
    return [
        Finding(
            "medium",
            "rubric",
            DUPLICATES,
            f'Duplicate criteria: "{one}" and "{other}" are met by the same responses '
            f"(correlation {_number(r)})",
            f"Together they count {found.points[one] + found.points[other]:g} points for one "
            "thing. Merge them, or say what tells them apart.",
            p=p_at_most(r, 0.8) * max(found.pairs_tested, 1) if r.low < r.value else None,
        )
        for (one, other), r in found.pairs.items()
    ]


def _presence(found: Measured) -> list[Finding]:
    return [
        Finding(
            "medium",
            "rubric",
            PRESENCE,
            f'Presence-only criterion: "{name}" is met where its own words are in the response '
            f"(correlation {_number(r)})",
            f"A policy earns its {found.points[name]:g} points by mentioning them, whatever it "
            "says. Ask for what is said about them, and give points against a false mention.",
            p=p_at_most(r, 0.8) if r.low < r.value else None,
        )
        for name, r in found.words.items()
        if r.defined and r.low >= 0.9
    ]


def _concentrated(found: Measured) -> list[Finding]:
    if not found.top.defined or (p := p_at_most(found.top, HALF)) > LEVEL:
        return []
    return [
        Finding(
            "low",
            "rubric",
            TOP,
            f"Concentrated points: the largest criterion of a rubric holds {percent(found.top)} "
            "of its points",
            "The other criteria can hardly outvote it. See whether that is meant.",
            p=p,
        )
    ]


def _bought_first(found: Measured) -> list[Finding]:
    groups = found.groups
    if groups is None:
        return []
    unscaled = advantage_shares(groups, "none")
    said = [
        replace(each, audit="rubric", metric=SHARE)
        for each in dominant(groups, found.shares, unscaled, found.constant)
    ]
    slopes = {n: s for n, s in found.slopes.items() if s.defined and n != REST}
    if not slopes:
        return said
    first = max(slopes, key=lambda name: slopes[name].value)
    slope, share = slopes[first], found.shares[first]
    said.append(
        Finding(
            "info",
            "rubric",
            SLOPE,
            f'An optimiser buys "{first}" first: {slope.value:.2f} SD per sqrt(nat) '
            f"[{slope.low:.2f}, {slope.high:.2f}]",
            f"It has {share.value:.1%} of the advantage between the responses of a prompt. Next: "
            + ", ".join(
                f'"{name}" {slopes[name].value:.2f}'
                for name in sorted(slopes, key=lambda n: -slopes[n].value)[1:4]
            )
            + ".",
        )
    )
    return said


def _number(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
