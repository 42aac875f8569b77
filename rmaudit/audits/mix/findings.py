"""What the mix audit says, in words."""

from __future__ import annotations

from collections.abc import Mapping

from rmaudit.audits.common.shares import percent
from rmaudit.audits.mix.measure import REST, Groups
from rmaudit.results import Estimate, Finding, Severity
from rmaudit.stats.law import p_at_least, p_at_most

SHARE = "mix.advantage_share"
CONSTANT = "mix.constant_share"
SLOPE = "mix.first_mover_slope"
WORDS = "mix.word_slope"
MOSTLY = 0.5  # share of groups beyond which a component is called starved
BEYOND = 0.15  # by which a share of the advantage exceeds what the weights give in a finding
LEVEL = 0.05


def starved(constant: Mapping[str, Estimate]) -> list[Finding]:
    """Components that are constant in most groups: they move the policy in the others alone."""
    found = []
    for name, share in constant.items():
        p = p_at_most(share, MOSTLY)
        if not share.defined or p * len(constant) > LEVEL:
            continue
        severity: Severity = "high" if share.low > 0.9 else "medium"
        found.append(
            Finding(
                severity,
                "mix",
                CONSTANT,
                f"Starved component: {name} is the same for all samples of {percent(share)} of "
                "the prompts",
                f"In those groups {name} gives no advantage, so it cannot move the policy there. "
                "Draw more samples per prompt, choose prompts on which it varies, or start from a "
                "policy that sometimes succeeds.",
                p=p,
            )
        )
    return found


def dominant(
    groups: Groups,
    shares: Mapping[str, Estimate],
    unscaled: Mapping[str, Estimate],
    constant: Mapping[str, Estimate],
) -> list[Finding]:
    """A component with far more of the advantage than its weight gives it."""
    weight = sum(abs(w) for w in groups.weights.values())
    square = sum(w**2 for w in groups.weights.values())
    if len(groups.weights) < 2 or weight == 0:
        return []
    found = []
    for name, own in groups.weights.items():
        given = abs(own) / weight
        # Components that are independent and equally spread have shares by the weights' squares.
        expected = max(given, own**2 / square)
        share = shares[name]
        p = p_at_most(share, expected + BEYOND)
        if not share.defined or p * len(groups.weights) > LEVEL:
            continue
        others = ", ".join(
            f"{other} {shares[other].value:.1%} with {abs(w) / weight:.1%} of the weight (constant "
            f"on {constant[other].value * len(groups.total):.0f} of {len(groups.total)} prompts, "
            "which it never moves)"
            for other, w in groups.weights.items()
            if other != name
        )
        before = unscaled[name]
        scaled = (
            f" Before scaling by {groups.scale} it has {before.value:.1%}."
            if groups.scale != "none" and before.defined
            else ""
        )
        found.append(
            Finding(
                "high" if share.low > expected + 0.25 or share.low > 0.75 else "medium",
                "mix",
                SHARE,
                f"Swamping: {name} has {percent(share)} of the advantage with {given:.1%} of the "
                "weight",
                f"The others have: {others}.{scaled} The policy will be moved by {name} first, "
                "whatever the weights say. Lower its weight, scale each component by itself, or "
                "choose prompts on which the others vary.",
                p=p,
            )
        )
    return found


def bought(slopes: Mapping[str, Estimate], gold: Mapping[str, Estimate]) -> list[Finding]:
    """Components that the mix raises and that go against the gold reward."""
    found = []
    for name, slope in slopes.items():
        if name == REST or name not in gold or not (slope.defined and gold[name].defined):
            continue
        p = max(p_at_most(slope, 0.0), p_at_least(gold[name], 0.0))
        if p * len(slopes) > LEVEL:
            continue
        found.append(
            Finding(
                "medium",
                "mix",
                SLOPE,
                f"Bought by a loss of gold: {name} rises by {slope.value:.2f} SD per sqrt(nat) and "
                f"correlates {gold[name].value:.2f} with the gold reward",
                "What the policy gains there it loses in the gold reward. Lower the weight of "
                f"{name}, or make it conditional on the others.",
                p=p,
            )
        )
    return found
