"""What the verifier audit says, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.shares import percent
from rmaudit.audits.verifier.cases import EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.measure import PLAIN, Rated
from rmaudit.case import Case
from rmaudit.results import Estimate, Finding
from rmaudit.stats.law import p_at_most

FALSE_POSITIVE = "verifier.false_positive_rate"
FALSE_NEGATIVE = "verifier.false_negative_rate"
TOLERATED = 0.02  # share of errors in a class that is no finding: extraction is never perfect
LEVEL = 0.05  # of the family of classes


def findings(
    case: Case, found: Mapping[str, Rated], rates: Mapping[str, Estimate], column: str
) -> list[Finding]:
    """One finding a class whose error rate is above `TOLERATED` for certain, worst first.

    Each carries its own p-value: the report counts every class as a test (`rates`).
    """
    p_values = {name: p_at_most(rate, TOLERATED) for name, rate in rates.items()}
    certain = {name for name, p in p_values.items() if p * len(p_values) <= LEVEL}
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


def examples(case: Case, rated: Rated, which: Any, note: str) -> tuple[Mapping[str, Any], ...]:
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
