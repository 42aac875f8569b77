"""Small marks inside the page: an interval as a line, and where two texts differ."""

from __future__ import annotations

import difflib
import math
import re

from markupsafe import Markup, escape

from rmaudit.plots import visible
from rmaudit.report.schema import MetricRecord

WIDTH, HEIGHT, MARGIN = 132.0, 16.0, 5.0
MOST_WORDS = 400  # of a text that is compared word by word
ALIKE = 0.5  # similarity from which on marking the differences helps
_CHANCE = ("accuracy", "auroc", "blind_")


def interval_plot(metric: MetricRecord) -> Markup:
    """The interval and its value on a line, with a tick where "no fault" or chance lies.

    Empty where the number is undefined or has no finite interval. It repeats what stands beside
    it in words, so it is hidden from screen readers.
    """
    low, high = metric.ci
    if metric.value is None or low is None or high is None:
        return Markup("")
    reference = _reference(metric)
    first, last = _domain(metric, low, high, reference)

    def x(value: float) -> float:
        place = (min(max(value, first), last) - first) / (last - first)
        return round(MARGIN + place * (WIDTH - 2 * MARGIN), 1)

    middle = HEIGHT / 2
    tick = ""
    if reference is not None:
        at = x(reference)
        tick = f'<path class="tick" d="M{at} 1V{HEIGHT - 1:g}"/>'
    svg = (
        f'<svg class="interval-plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" aria-hidden="true">'
        f'<path class="axis" d="M{MARGIN:g} {middle:g}H{WIDTH - MARGIN:g}"/>{tick}'
        f'<path class="range" d="M{x(low)} {middle:g}H{x(high)}"/>'
        f'<circle cx="{x(metric.value)}" cy="{middle:g}" r="3.2"/></svg>'
    )
    return Markup(svg)  # nosec B704: numbers only


def _reference(metric: MetricRecord) -> float | None:
    if metric.better == "zero":
        return 0.0
    if metric.better == "one":
        return 1.0
    return 0.5 if any(part in metric.id for part in _CHANCE) else None


def _domain(
    metric: MetricRecord, low: float, high: float, reference: float | None
) -> tuple[float, float]:
    ends = [low, high, *([] if reference is None else [reference])]
    if metric.unit in ("probability", "share") and min(ends) >= 0 and max(ends) <= 1:
        return 0.0, 1.0
    if metric.better == "zero":
        reach = max(max(map(abs, ends)), 0.1 if metric.unit == "probability" else 1e-9) * 1.1
        return -reach, reach
    ends.append(0.0)
    first, last = min(ends), max(ends)
    return (first, last * 1.05) if last > first and math.isfinite(last - first) else (0.0, 1.0)


def shorten(text: str, limit: int) -> str:
    """The beginning of a text, and how much of it is left out."""
    return text if len(text) <= limit else text[:limit].rstrip() + _left_out(len(text) - limit)


def _left_out(characters: int) -> str:
    return f" … ({characters:,} more characters in report.json)"


def marked(text: str, other: str, limit: int = 10_000) -> Markup:
    """The first `limit` characters of `text`, the words that `other` lacks marked.

    Both are compared whole: where one of them is cut off is no difference. Plain where the two are
    quite different.
    """
    words, others = (re.findall(r"\S+|\s+", t) for t in (text, other))
    if len(words) > 2 * MOST_WORDS or len(others) > 2 * MOST_WORDS:
        return escape(visible(shorten(text, limit)))
    match = difflib.SequenceMatcher(None, words, others, autojunk=False)
    if match.ratio() < ALIKE:
        return escape(visible(shorten(text, limit)))
    parts, left = [], limit
    for tag, start, end, _, _ in match.get_opcodes():
        shown = "".join(words[start:end])[:left]
        left -= len(shown)
        piece = escape(visible(shown))
        if tag in ("delete", "replace") and piece.strip():
            piece = Markup("<mark>{}</mark>").format(piece)
        parts.append(piece)
    if len(text) > limit:
        parts.append(escape(_left_out(len(text) - limit)))
    return Markup("").join(parts)
