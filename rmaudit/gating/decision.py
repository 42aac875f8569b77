"""One rule against one interval: pass, fail or inconclusive.

Pass if the whole one-sided interval is on the good side of the threshold, fail if it is wholly on
the bad side, else inconclusive, with the prompts that would settle it. Passes need no adjustment:
the report passes only if every rule does (intersection-union test, Berger 1982). Fails are
Holm-adjusted over the rules (`holm`). Bounds and p-values follow the law that the interval was made
with (`rmaudit.stats.law`): with few prompts, Student's and not the normal one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from scipy.special import ndtri

from rmaudit.stats.law import Law

Verdict = Literal["fail", "inconclusive", "pass"]  # worst first


@dataclass(frozen=True, slots=True)
class Decision:
    """What a bound decides. `p_fail` is the p-value against "the threshold is met"."""

    verdict: Verdict
    p_fail: float
    prompts_needed: int | None  # only when inconclusive and more prompts could settle it
    bound: float  # the one-sided bound that decided, or failed to


def decide(
    interval: Law, minimum: float | None, maximum: float | None, confidence: float
) -> Decision:
    """The worse of the two bounds' decisions; a rule with both must pass both."""
    decisions = []
    if minimum is not None:
        decisions.append(
            _decided(
                interval.value - minimum,
                interval.value - interval.lower(confidence),
                interval.upper(confidence) - interval.value,
                interval.p_at_least(minimum),
                interval,
                confidence,
                1,
            )
        )
    if maximum is not None:
        decisions.append(
            _decided(
                maximum - interval.value,
                interval.upper(confidence) - interval.value,
                interval.value - interval.lower(confidence),
                interval.p_at_most(maximum),
                interval,
                confidence,
                -1,
            )
        )
    worst = min(decisions, key=lambda d: get_args(Verdict).index(d.verdict))
    # Two bounds are two chances to fail: Bonferroni within the rule.
    p_fail = min(1.0, len(decisions) * min(d.p_fail for d in decisions))
    return Decision(worst.verdict, p_fail, worst.prompts_needed, worst.bound)


def _decided(
    distance: float,
    toward: float,
    away: float,
    p_fail: float,
    interval: Law,
    confidence: float,
    sign: int,
) -> Decision:
    """Decide by the distance to the good side and the one-sided reach toward the bad and away."""
    value = interval.value
    # A p-value of its own (a count's) may fail where the stated end does not, and the other way.
    if p_fail <= 1 - confidence and distance < 0:
        return Decision("fail", p_fail, None, value + sign * away)
    if distance >= 0 and toward <= distance:
        return Decision("pass", p_fail, None, value - sign * toward)
    reach = toward if distance > 0 else away
    if distance == 0 or reach == 0 or interval.count:
        needed = None  # at the threshold no number of prompts settles it
    elif math.isinf(reach):  # all prompts agree, and are too few for that to be certain
        needed = math.ceil(math.log2(1 / (1 - confidence)))
    else:  # the reach shrinks with the root of the prompts
        needed = math.ceil(interval.n_prompts * (reach / distance) ** 2)
    return Decision("inconclusive", p_fail, needed, value - sign * toward)


def prompts_to_survive(p: float, level: float, n_prompts: int) -> int:
    """Prompts at which a p-value would fall to a level, were the effect what it is now."""
    return math.ceil(n_prompts * float(ndtri(level) / ndtri(p)) ** 2)
