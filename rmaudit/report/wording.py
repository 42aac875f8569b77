"""How numbers, units and the verdict read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmaudit.report.schema import MetricRecord
from rmaudit.results import SEVERITIES, Better, Severity

if TYPE_CHECKING:
    from rmaudit.report.document import Report

BETTER: dict[Better, str] = {
    "higher": "higher",
    "lower": "lower",
    "zero": "near 0",
    "one": "near 1",
    "none": "",
}
UNITS = {"-": "", "-1..1": "of \u22121 to 1"}
# What the first screen shows, as far as it was measured, in this order.
KEY_NUMBERS = (
    "preference.accuracy",
    "calibration.overconfidence",
    "length.excess_preference",
    "coverage.kappa",
    "coverage.rho",
    "generalization.accuracy_gap",
    "prompt.dependence",
    "robustness.pass_rate",
    "hacking.suffix_success_rate",
    "disagreement.error_auroc",
    "tails.shape",
    "overoptimization.safe_kl",
    "length.padding_effect",
    "annotators.alpha",
)
KEY_LIMIT = 8
MOST_DIGITS = 4


def digits(value: float, low: float | None = None, high: float | None = None) -> int:
    """Decimals worth showing: two figures of the interval's half-width, else three of the value."""
    if low is not None and high is not None and high > low:
        wanted = 1 - math.floor(math.log10((high - low) / 2))
    elif value == 0 or value == round(value):
        wanted = 0
    else:
        wanted = 2 - math.floor(math.log10(abs(value)))
    return max(0, wanted)


def number(value: float | None, decimals: int | None = None) -> str:
    """A number for people: thousands parted, a true minus sign, 3.1e-06 where it is tiny."""
    if value is None:
        return "undefined"
    places = digits(value) if decimals is None else decimals
    if places > MOST_DIGITS and 0 < abs(value) < 10**-MOST_DIGITS * 10:
        return f"{value:.2g}".replace("-", "\u2212")
    text = f"{value:,.{min(places, MOST_DIGITS)}f}"
    zero = float(text.replace(",", "")) == 0
    return (text.removeprefix("-") if zero else text).replace("-", "\u2212")


@dataclass(frozen=True, slots=True)
class Number:
    """A metric as it reads."""

    value: str
    interval: str
    unit: str
    better: str
    n: str
    reason: str | None  # set where the number is undefined


def words(metric: MetricRecord) -> Number:
    """A metric in words: sensible digits, the unit named, the better direction said."""
    unit = UNITS.get(metric.unit, metric.unit)
    n = f"{metric.n:,}" if metric.n else ""
    if metric.n_prompts and metric.n_prompts != metric.n:
        n = f"{n} in {metric.n_prompts:,} prompts"
    better = BETTER[metric.better]
    if metric.value is None:
        return Number("undefined", "", unit, better, n, metric.reason)
    low, high = metric.ci
    places = digits(metric.value, low, high)
    interval = ""
    if low == high == metric.value:
        interval = "exact"
    elif low is not None or high is not None:
        ends = ["unbounded" if end is None else number(end, places) for end in (low, high)]
        interval = f"{ends[0]} to {ends[1]}"
    return Number(number(metric.value, places), interval, unit, better, n, None)


def key_numbers(report: Report) -> list[MetricRecord]:
    """The overall numbers of the first screen: those named above, else the first of each audit."""
    overall = {metric.id: metric for metric in report.metrics() if not metric.slice}
    named = [overall[id_] for id_ in KEY_NUMBERS if id_ in overall]
    if named:
        return named[:KEY_LIMIT]
    first = {id_.partition(".")[0]: metric for id_, metric in reversed(overall.items())}
    return list(reversed(first.values()))[:KEY_LIMIT]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to "can I optimise against this model?", in a few words and then in sentences."""

    tone: Severity
    answer: str
    sentences: tuple[str, ...]
    counts: dict[Severity, int]


def verdict(report: Report) -> Verdict:
    """What the findings say; and what was not measured, which is never passed over."""
    counts: dict[Severity, int] = dict.fromkeys(SEVERITIES, 0)
    for finding in report.findings:
        counts[finding.severity] += 1
    titles = {
        status: [audit.title for audit in report.audits.values() if audit.status == status]
        for status in ("ok", "failed", "not_run")
    }
    tone, answer, first = _answer(counts, titles["ok"])
    sentences = [first]
    if titles["failed"]:
        verb = "audit failed" if len(titles["failed"]) == 1 else "audits failed"
        sentences.append(f"{len(titles['failed'])} {verb} ({', '.join(titles['failed'])}).")
    if titles["not_run"]:
        sentences.append(
            f"{len(titles['not_run'])} of {len(report.audits)} audits did not run: "
            "what was not measured is not known to be safe."
        )
    if titles["failed"] and tone != "high":
        tone, answer = "medium", "Not known."
    return Verdict(tone, answer, tuple(sentences), counts)


def _answer(counts: dict[Severity, int], ran: Sequence[str]) -> tuple[Severity, str, str]:
    high, medium = counts["high"], counts["medium"]
    if not ran:
        return "medium", "Not known.", "No audit ran."
    if high:
        return (
            "high",
            "Not as it stands.",
            f"{_findings(high)} of high severity: what an optimiser would exploit first.",
        )
    if medium:
        return (
            "medium",
            "Only with care.",
            f"No finding of high severity, {medium} of medium: fix or bound "
            f"{'it' if medium == 1 else 'them'} before a long run.",
        )
    return (
        "info",
        "Nothing found against it.",
        f"The {len(ran)} audits that ran found no fault of high or medium severity.",
    )


def _findings(count: int) -> str:
    return "One finding" if count == 1 else f"{count} findings"
