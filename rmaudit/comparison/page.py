"""`comparison.html`: the page of a comparison, and its summary for notebooks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from markupsafe import Markup

from rmaudit._version import __version__
from rmaudit.report.page import asset, fill
from rmaudit.report.wording import (
    BETTER,
    MOST_DIGITS,
    axis_unit,
    change_unit,
    digits,
    number,
    unit_of,
)

if TYPE_CHECKING:
    from rmaudit.comparison.compare import Comparison, Difference, Verdict
    from rmaudit.comparison.league import Board, League, Standing

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
    """A difference in words, both values and it in the units in which the metric is shown."""
    factor, after, value_unit = unit_of(d.id, d.unit)
    _, _, unit = change_unit(d.id, d.unit)
    first, second, change, low, high = (
        factor * n for n in (d.first, d.second, d.difference, d.low, d.high)
    )
    places = 1 if factor > 1 else digits(change, low, high) if math.isfinite(change) else 0

    def shown(value: float) -> str:
        if not math.isfinite(value):
            return ""
        enough = places if factor > 1 else max(places, min(digits(value), MOST_DIGITS))
        return f"{number(value, enough)}{after}"

    before, now = shown(first), shown(second)
    if d.reason is not None:
        return Words(before, now, "", "", "", value_unit, BETTER[d.better])
    sign = "+" if change > 0 else ""
    return Words(
        before,
        now,
        f"{sign}{number(change, places)}",
        f"{number(low, places)} to {number(high, places)}",
        probability(d.p_adjusted),
        unit,
        BETTER[d.better],
    )


def change_words(size: float, metric: str, unit: str) -> str:
    """The size of a difference of two values of a metric, with its unit."""
    factor, _, in_words = change_unit(metric, unit)
    return f"{number(factor * size, 1 if factor > 1 else 3)} {in_words}".strip()


def probability(p: float) -> str:
    """A p-value for people."""
    if not math.isfinite(p):
        return ""
    return "<0.001" if p < 0.001 else number(p, 3)


def render(comparison: Comparison) -> str:
    """The page."""
    return _rendered("comparison.html", comparison)


def summary(comparison: Comparison) -> str:
    """What changed, as a fragment for notebooks."""
    return _rendered("comparison_summary.html", comparison)


def render_league(league: League) -> str:
    """The page of a league table: for each number a figure and the table."""
    from rmaudit.plots import page_svg, to_svg

    figures = [Markup(page_svg(to_svg(figure(board)))) for board in league.boards]  # nosec B704
    view: dict[str, Any] = {
        "league": league,
        "boards": list(zip(league.boards, figures, strict=True)),
        "row": standing_words,
        "detectable": detectable_words,
        "style": Markup(asset("page.css")),  # nosec B704: a file of the package
        "version": __version__,
    }
    return fill("league.html", view)


def figure(board: Board) -> dict[str, Any]:
    """A board as a figure: one row a run, its interval, and its letters."""
    rows = [
        {
            "label": f"{s.name} ({s.letters})" if s.letters else s.name,
            "value": s.value,
            "low": s.low,
            "high": s.high,
        }
        for s in board.standings
    ]
    alt = f"{board.title} of {len(rows)} runs with intervals, the best first."
    unit = axis_unit(board.metric, board.unit)
    data = {"rows": rows, "xlabel": board.title, "xunit": unit}
    return {"name": "league", "kind": "intervals", "title": board.title, "alt": alt, "data": data}


def detectable_words(board: Board) -> str:
    """What difference of two runs would have shown, in a sentence; empty where not known."""
    if not math.isfinite(board.detectable):
        return ""
    size = change_words(board.detectable, board.metric, board.unit)
    return f"A difference of two of these runs would show with 80% power from about {size} on."


def standing_words(standing: Standing, board: Board) -> list[str]:
    """A row of the table: place, name, value, interval, rank, letters; shares in percent."""
    s = standing
    step = [] if s.step is None else [f"{s.step:g}"]
    if not math.isfinite(s.value):
        return ["", s.name, "undefined", s.reason or "", "", "", *step]
    factor, sign, _ = unit_of(board.metric, board.unit)
    places = 1 if factor > 1 else digits(s.value, s.low, s.high)
    value, low, high = (f"{number(factor * n, places)}{sign}" for n in (s.value, s.low, s.high))
    known = math.isfinite(s.low) and math.isfinite(s.high)
    interval = f"{low} to {high}" if known else ""
    ranks = f"{s.rank_low}" if s.rank_low == s.rank_high else f"{s.rank_low} to {s.rank_high}"
    return [f"{s.rank}", s.name, value, interval, ranks, s.letters, *step]


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
    return fill(template, view)
