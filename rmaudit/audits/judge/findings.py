"""What the judge audit says, in words."""

from __future__ import annotations

from dataclasses import replace

from rmaudit.audits.base import example, grade
from rmaudit.audits.judge.measure import Measured
from rmaudit.case import Case
from rmaudit.results import Estimate, Finding
from rmaudit.stats.law import p_at_least, p_at_most

FLIPS, UNREADABLE = "judge.order_flip_rate", "judge.unreadable_share"
KEY, CYCLES = "judge.master_key_rate", "judge.cycle_share"
AGREEMENT, LABELS = "judge.self_agreement", "judge.chance_corrected_agreement"
TESTS = 6  # metrics that may raise a finding
LEVEL = 0.05
FLIPPED = 0.10  # close pairs flip for any judge
TOLERATED = 0.02  # of unreadable replies, keys and cycles
STEADY = 0.90  # agreement with itself that a judge of use has


def findings(case: Case, found: Measured) -> list[Finding]:
    """A finding for each number that is beyond what is tolerated, for certain."""
    first = found.first_share >= 0.5
    place = "first" if first else "second"
    share = found.first_share if first else 1 - found.first_share
    said = [
        _rate(
            (found.flips, FLIPPED, FLIPS),
            f"The judge's preference flips with the order of the responses: {_said(found.flips)} "
            "of the pairs",
            f"In {share:.0%} of the flips both orders favour the {place} response. Ask for both "
            "orders and average, or count such pairs as ties.",
            (0.15, 0.30),
            [(row, "both orders favour one place") for row in found.flipped],
        ),
        _rate(
            (found.keys[""], TOLERATED, KEY),
            f"Empty phrases beat the chosen response: {_said(found.keys[''])} of the comparisons",
            "A policy that is trained against this judge can be paid for a phrase without content. "
            "Show the judge what an empty response is worth, or refuse such responses beforehand.",
            (0.05, 0.20),
            [(row, f"{key!r} is rated above the chosen response") for row, key in found.keyed],
        ),
        _rate(
            (found.unreadable, TOLERATED, UNREADABLE),
            f"The judge's reply cannot be read: {_said(found.unreadable)} of the texts",
            "Such texts have no reward. State the format of the reply, or give it more room.",
            (0.05, 0.20),
            [],
        ),
        _rate(
            (found.cycles, TOLERATED, CYCLES),
            f"The judge prefers in circles: {_said(found.cycles)} of the triples",
            "No scalar reward can follow such preferences. Average several repeats.",
            (0.05, 0.20),
            [],
        ),
    ]
    made = [_with_examples(case, *each) for each in said if each is not None]
    return [*made, *_disagreement(found)]


Said = tuple[Finding, list[tuple[int, str]]]


def _rate(
    rate: tuple[Estimate, float, str],
    title: str,
    detail: str,
    bounds: tuple[float, float],
    rows: list[tuple[int, str]],
) -> Said | None:
    estimate, tolerated, metric = rate
    p = p_at_most(estimate, tolerated)
    if p > LEVEL:
        return None
    return Finding(grade(estimate.low, *bounds), "judge", metric, title, detail, p=p), rows


def _with_examples(case: Case, finding: Finding, rows: list[tuple[int, str]]) -> Finding:
    frame = case.eval.frame
    shown = [example(dict(frame.iloc[row]), note=note) for row, note in rows[: case.example_limit]]
    return replace(finding, examples=tuple(shown))


def _disagreement(found: Measured) -> list[Finding]:
    said = []
    p = p_at_least(found.agreement, STEADY)
    if p <= LEVEL:
        said.append(
            Finding(
                grade(1 - found.agreement.high, 0.15, 0.30),
                "judge",
                AGREEMENT,
                f"The judge disagrees with itself: agreement {_number(found.agreement)} when asked "
                "twice (1 is perfect, 0 is chance)",
                "What varies between calls is noise to an optimiser. Average repeats, or lower the "
                "temperature.",
                p=p,
            )
        )
    p = p_at_least(found.labels, 0.0)
    if p <= LEVEL:
        said.append(
            Finding(
                "high",
                "judge",
                LABELS,
                f"The judge contradicts the labels: {_number(found.labels)} (0 is chance)",
                "It prefers the rejected response more often than the chosen one. Look whether the "
                "scale or the labels are reversed.",
                p=p,
            )
        )
    return said


def _said(rate: Estimate) -> str:
    if not rate.defined:
        return "undefined"
    return f"{rate.value:.0%} [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


def _number(estimate: Estimate) -> str:
    if not estimate.defined:
        return "undefined"
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"
