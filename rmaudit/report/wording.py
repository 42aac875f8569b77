"""How numbers and units read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from rmaudit.report.schema import MetricRecord
from rmaudit.results import Better

BETTER: dict[Better, str] = {
    "higher": "higher",
    "lower": "lower",
    "zero": "near 0",
    "one": "near 1",
    "none": "",
}
UNITS = {
    "-": "",
    "-1..1": "",
    "0..1": "",
    "0..2": "",
    "alpha": "",
    "n": "",
    "ratio": "",
    "count": "",
    "step": "",
    "beta": "",
    "SD": "reward SD",
    "SD per doubling": "reward SD per doubling",
    "reward": "reward units",
    "nats": "nats",
}
METHODS = {"bon": "best of n", "tilted": "tilting", "rl": "RL"}
COUNTS = ("n", "count")
ROUNDING = 1e-6  # reward SD under which a number is what 32-bit arithmetic leaves of zero
SHARES = ("probability", "share", "share of tokens")
# Differences of two shares: signed, in percentage points.
DIFFERENCES = (
    *("_gap", "excess_preference", "_deficit", "calibration.overconfidence"),
    *("region_gap", "detectable_difference", ".overconfidence"),
)
AUROCS = ("auroc", "shift_detectable")
MINUS = "\u2212"
MOST_DIGITS = 4
# A quotation, kept as it is, or the hyphen before a negative number.
_NEGATIVE = re.compile(r"""\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)|(?<![^\s(\[/=,:])-(?=\d)""")
# What is shown where an id, a column or a table keeps an older word.
SHOWN = {"ledger": "coverage", "output": "response", "outputs": "responses"}
PHRASES = {
    "texts_a_call": "texts per call",
    "k": "words added",
    "reward_by_length.x": "doublings of the prompt's mean length",
    "accuracy_by_length.x": "doublings, chosen against the other",
}
LARGE = 10**15  # from which on a number is no longer written out


def digits(value: float, low: float | None = None, high: float | None = None) -> int:
    """Decimals worth showing: two figures of the interval's half-width, else three of the value."""
    if low is not None and high is not None and high > low:
        wanted = 1 - math.floor(math.log10((high - low) / 2))
    elif value == 0 or value == round(value):
        wanted = 0
    else:
        wanted = 2 - math.floor(math.log10(abs(value)))
    return max(0, wanted)


def minus(sentence: str) -> str:
    """A sentence with a true minus sign before its negative numbers, as tables have it.

    Ranges (3-5), dates, options (--limit), names (GPT-4) and quoted texts keep their hyphens.
    """
    return _NEGATIVE.sub(lambda found: MINUS if found[0] == "-" else found[0], sentence)


def heading(name: str, table: str = "") -> str:
    """The name of a table, a table's column or a fact as shown.

    "share_of_outputs" is "share of responses".
    """
    words = name.replace("_", " ").split(" ")
    return (
        PHRASES.get(f"{table}.{name}")
        or PHRASES.get(name)
        or " ".join(SHOWN.get(word, word) for word in words)
    )


def number(value: float | None, decimals: int | None = None) -> str:
    """A number for people: thousands parted, a true minus sign; else 3.1e-06, 1.00e+18."""
    if value is None:
        return "undefined"
    places = digits(value) if decimals is None else decimals
    if places > MOST_DIGITS and 0 < abs(value) < 10**-MOST_DIGITS * 10:
        return f"{value:.2g}".replace("-", MINUS)
    if math.inf > abs(value) >= LARGE:  # integers of any length, too
        return f"{Decimal(value):.3g}".replace("-", MINUS)
    text = f"{value:,.{min(places, MOST_DIGITS)}f}"
    zero = float(text.replace(",", "")) == 0
    return (text.removeprefix("-") if zero else text).replace("-", MINUS)


@dataclass(frozen=True, slots=True)
class Number:
    """A metric as it reads."""

    value: str
    interval: str
    unit: str
    better: str
    n: str
    reason: str | None  # set where the number is undefined


def is_difference(metric_id: str) -> bool:
    """Whether a metric is a difference of two shares, which reads in points."""
    return metric_id.endswith(DIFFERENCES)


def slice_words(slice_: Mapping[str, str]) -> str:
    """A slice as it reads: "urgent symptom", "best of n"."""
    return ", ".join(_slice_word(k, v) for k, v in slice_.items())


def _slice_word(key: str, value: str) -> str:
    """Our own names as words; those of the data as they are."""
    if key == "attribute":
        return value.replace("_", " ")
    return METHODS.get(value, value) if key == "method" else value


def unit_of(metric_id: str, unit: str) -> tuple[float, str, str]:
    """How a metric's values are shown: (factor, what follows a value, the unit in words).

    Shares in percent, their differences in points; an AUROC as it is written in the field, 0.50.
    """
    if metric_id.endswith(AUROCS):
        return 1.0, "", ""
    if unit in SHARES:
        return (100.0, "", "points") if is_difference(metric_id) else (100.0, "%", "")
    return 1.0, "", UNITS.get(unit, unit)


def axis_unit(metric_id: str, unit: str) -> str | None:
    """In what an axis shows a metric: "percent", "points", or None where in its own unit."""
    factor, after, _ = unit_of(metric_id, unit)
    return None if factor == 1 else "percent" if after else "points"


def change_unit(metric_id: str, unit: str) -> tuple[float, str, str]:
    """As `unit_of`, of the difference of two values: shares differ by points, not by percent."""
    factor, after, in_words = unit_of(metric_id, unit)
    return (factor, "", "points") if after == "%" else (factor, after, in_words)


def words(metric: MetricRecord) -> Number:
    """A metric in words: sensible digits, the unit named, the better direction said."""
    factor, after, unit = unit_of(metric.id, metric.unit)
    n = f"{metric.n:,}" if metric.n else ""
    if metric.n_prompts and metric.n_prompts != metric.n:
        n = f"{n} in {metric.n_prompts:,} prompt{'s' if metric.n_prompts > 1 else ''}"
    elif metric.n_prompts and metric.n_prompts > 1:
        n = f"{n} prompts"
    better = BETTER[metric.better]
    if metric.value is None:
        return Number("undefined", "", unit, better, n, metric.reason)
    value = metric.value * factor
    low, high = (None if end is None else end * factor for end in metric.ci)
    if metric.unit.startswith("SD") and all(abs(e or 0) < ROUNDING for e in (value, low, high)):
        value = 0.0
        low, high = (None if end is None else 0.0 for end in (low, high))
    # A share has one decimal everywhere, as in the titles of findings.
    places = 1 if factor == 100 else digits(value, low, high)
    if metric.unit in COUNTS and all(e is None or e == round(e) for e in (value, low, high)):
        places = 0
    signed = unit == "points" and not metric.id.endswith("detectable_difference")  # that is a size
    sign = "+" if signed and value > 0 else ""
    interval = ""
    if low == high == value and "bound" in metric.method:
        interval = "lower bound"  # as the safe KL of a log
    elif low == high == value and (metric.method == "exact" or metric.unit in COUNTS):
        interval = "exact"
    elif low is not None or high is not None:
        ends = ["unbounded" if e is None else number(e, places) + after for e in (low, high)]
        interval = f"{ends[0]} to {ends[1]}"
    return Number(f"{sign}{number(value, places)}{after}", interval, unit, better, n, None)
