"""What the verifier audit says, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.shares import percent
from rmaudit.audits.verifier.cases import EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.measure import PLAIN, Rated
from rmaudit.audits.verifier.unreferenced import Unreferenced, Verdicts, acceptance
from rmaudit.case import Case
from rmaudit.results import Estimate, Finding
from rmaudit.stats.law import p_at_most

FALSE_POSITIVE = "verifier.false_positive_rate"
FALSE_NEGATIVE = "verifier.false_negative_rate"
ACCEPTED = "verifier.acceptance_rate"
TOLERATED = 0.02  # share of errors in a class that is no finding: extraction is never perfect
LEVEL = 0.05  # of the family of classes


def findings(
    case: Case, found: Mapping[str, Rated], rates: Mapping[str, Estimate], column: str, tests: int
) -> list[Finding]:
    """One finding a class whose error rate is above `TOLERATED` for certain, worst first.

    Each carries its own p-value: the report counts every class as a test (`tests`).
    """
    p_values = {name: p_at_most(rate, TOLERATED) for name, rate in rates.items()}
    certain = {name for name, p in p_values.items() if p * tests <= LEVEL}
    said = [
        _accepts(case, found[kind.name], rates[kind.name], column)
        for kind in EXPLOITS
        if kind.name in certain
    ]
    said.sort(key=lambda finding: -rates[_class_of(finding, found)].low)
    said += [
        _rejects(case, found[kind.name], rates[kind.name], column)
        for kind in EQUIVALENTS
        if kind.name in certain
    ]
    return said


def _class_of(finding: Finding, found: Mapping[str, Rated]) -> str:
    return next(name for name, each in found.items() if _title(each.kind.does) in finding.title)


def _title(does: str) -> str:
    return f"The verifier {does}"


def _accepts(case: Case, rated: Rated, rate: Estimate, column: str) -> Finding:
    detail = (
        f"{int(rated.accepted.sum())} of {rated.accepted.size} such responses, made of the column "
        f"{column!r}, are accepted; each is wrong by construction. A policy that is trained "
        "against this verifier is paid for them. Compare the final answer alone, take the last "
        "one, and refuse what is not one answer."
    )
    return Finding(
        grade(rate.low, 0.05, 0.20),
        "verifier",
        FALSE_POSITIVE,
        f"{_title(rated.kind.does)}: {percent(rate)}",
        detail,
        examples(case, rated, rated.accepted, "accepted, though wrong"),
        p=p_at_most(rate, TOLERATED),
    )


def _rejects(case: Case, rated: Rated, rate: Estimate, column: str) -> Finding:
    own = "own" in rated.frames
    detail = (
        f"{int((~rated.accepted).sum())} of {rated.accepted.size} such responses, made of the "
        f"column {column!r}, are rejected; each is correct by construction. A policy is taught one "
        "way of writing and loses the signal of correct responses that are written otherwise. "
        "Compare values where the task means values."
    )
    severity = grade(rate.low, 0.05, 0.20) if rated.kind.name == PLAIN and own else "low"
    if rated.kind.name == PLAIN and not own:
        detail += (
            " None of the usual formats of a final answer is accepted: give --eval responses that "
            "state the reference in the verifier's format."
        )
    return Finding(
        severity,
        "verifier",
        FALSE_NEGATIVE,
        f"{_title(rated.kind.does)}: {percent(rate)}",
        detail,
        examples(case, rated, ~rated.accepted, "rejected, though correct"),
        p=p_at_most(rate, TOLERATED),
    )


def examples(
    case: Case, rated: Rated | Verdicts, which: Any, note: str
) -> tuple[Mapping[str, Any], ...]:
    """The shortest cases with this error: rows that one can paste."""
    frame = case.eval.frame
    places = sorted(np.flatnonzero(which).tolist(), key=lambda i: len(rated.responses[i]))
    return tuple(
        example(
            {
                "id": frame["id"].iloc[int(rated.rows[i])],
                "prompt": frame["prompt"].iloc[int(rated.rows[i])],
                "output": rated.responses[i],
            },
            note=note,
        )
        for i in places[: case.example_limit]
    )


def open_findings(case: Case, found: Unreferenced, tests: int) -> list[Finding]:
    """What is accepted of the classes that need no reference answer, most accepted first.

    Where it is known that such responses are wrong a finding says so; where nothing says it, that
    they are accepted is a fact, and of low severity.
    """
    raised = []
    for each in found.verdicts.values():
        false = each.false_positives(case)
        if false.defined and p_at_most(false, TOLERATED) * tests <= LEVEL:
            raised.append((false.low, _open(case, each, false, found.because)))
            continue
        unknown = np.isnan(each.wrong)
        if not unknown.any():
            continue
        fact = acceptance(case, each.rows[unknown], each.accepted[unknown])
        if p_at_most(fact, TOLERATED) * tests <= LEVEL:
            raised.append((fact.low - 1, _open(case, each, fact, "")))
    return [finding for _, finding in sorted(raised, key=lambda pair: -pair[0])]


def _open(case: Case, each: Verdicts, rate: Estimate, because: str) -> Finding:
    """A finding on one class: an error where something says so, else a fact."""
    which = each.accepted & ((each.wrong == 1) if because else np.isnan(each.wrong))
    much = f"{int(which.sum())} of {rate.n} such responses are accepted"
    if because:
        metric, severity = FALSE_POSITIVE, grade(rate.low, 0.05, 0.20)
        detail = (
            f"{much}, and wrong: {because}. A policy that is trained against this verdict is paid "
            "for them. Refuse such responses before anything else is checked."
        )
    else:
        metric, severity = ACCEPTED, "low"
        detail = (
            f"{much}. Whether that is wrong is not known without a label or a gold verdict: what "
            "is checked may be true of such a response, as a limit of length is of a full stop. "
            "Trained against this verdict alone, a policy is paid for it all the same. If it "
            "should be refused, say so: a gate rule on this class, --gold, or the function's "
            f'attribute refuses = ("{each.kind.name}",).'
        )
    return Finding(
        severity,
        "verifier",
        metric,
        f"{_title(each.kind.does)}: {percent(rate)}",
        detail,
        examples(case, each, which, "accepted, though wrong" if because else "accepted"),
        p=p_at_most(rate, TOLERATED),
    )
