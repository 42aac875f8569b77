"""`comparison.html`: the page of a comparison, and its summary for notebooks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from markupsafe import Markup

from rmaudit._version import __version__
from rmaudit.report.page import asset, environment
from rmaudit.report.wording import BETTER, MOST_DIGITS, UNITS, digits, number

if TYPE_CHECKING:
    from rmaudit.comparison.compare import Comparison, Difference, Verdict

TITLES: dict[Verdict, str] = {
    "worse": "Worse",
    "changed": "Changed, neither direction better",
    "better": "Better",
    "no difference": "No difference beyond chance",
    "not compared": "Not compared",
}


@dataclass(frozen=True, slots=True)
class Words:
    """A difference as it reads."""

    first: str
    second: str
    difference: str
    interval: str
    p: str
    unit: str
    better: str


def words(d: Difference) -> Words:
    """A difference in words: sensible digits, its sign, the unit named."""
    unit, better = UNITS.get(d.unit, d.unit), BETTER[d.better]
    if d.reason is not None:
        return Words("", "", "", "", "", unit, better)
    places = digits(d.difference, d.low, d.high)
    sign = "+" if d.difference > 0 else ""
    return Words(
        number(d.first, max(places, min(digits(d.first), MOST_DIGITS))),
        number(d.second, max(places, min(digits(d.second), MOST_DIGITS))),
        f"{sign}{number(d.difference, places)}",
        f"{number(d.low, places)} to {number(d.high, places)}",
        probability(d.p_adjusted),
        unit,
        better,
    )


def probability(p: float) -> str:
    """A p-value for people."""
    if not math.isfinite(p):
        return ""
    return "< 0.001" if p < 0.001 else number(p, 3)


def render(comparison: Comparison) -> str:
    """The page."""
    return _rendered("comparison.html", comparison)


def summary(comparison: Comparison) -> str:
    """What changed, as a fragment for notebooks."""
    return _rendered("comparison_summary.html", comparison)


def _rendered(template: str, comparison: Comparison) -> str:
    from rmaudit.comparison.compare import Verdict

    view: dict[str, Any] = {
        "comparison": comparison,
        "groups": {verdict: comparison.of(verdict) for verdict in get_args(Verdict)},
        "titles": TITLES,
        "words": words,
        "style": Markup(asset("page.css")),  # nosec B704: a file of the package
        "version": __version__,
    }
    return environment(0).get_template(template).render(view)
