"""Figures with one row per label: intervals and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rmaudit.plots.kinds import Data, figure_kind, line_height, usual_height
from rmaudit.plots.marks import (
    LEGEND,
    any_finite,
    label_lines,
    legend,
    legend_lines,
    name_axes,
    name_rows,
    note,
    numbers,
    size_of,
)
from rmaudit.plots.names import cells, fit, label, room, row_places, row_units
from rmaudit.plots.style import INK, MUTED, SERIES, SURFACE, Style
from rmaudit.typing import Float

MOST_ROWS = 60
NAMES = 0.42  # of the figure's width: the names of rows
BESIDE_OUTCOMES = 0.34  # the same where outcomes stand at the right
REST = 0.45  # an axis label and a legend beside them


def _row_names(data: Data, width: float, font_size: float) -> tuple[list[str], str]:
    """Names of the rows of intervals, wrapped, and the start that was taken from all."""
    rows = data["rows"][:MOST_ROWS]
    share = BESIDE_OUTCOMES if any(row.get("outcome") for row in rows) else NAMES
    return fit([row["label"] for row in rows], room(width, font_size, share))


def _intervals_height(data: Data, style: Style) -> float:
    names, start = _row_names(data, style.width, style.font_size - 0.5)
    lines = max(2.0, sum(row_units(names))) + bool(start)
    below = label_lines(data.get("xlabel"), style.width, style.font_size, REST) - 1
    return 0.75 + line_height(style) * (lines + 0.7 * below)


def _intervals_show(data: Data) -> bool:
    return any_finite([row["value"] for row in data["rows"]])


@figure_kind("intervals", _intervals_height, _intervals_show)
def intervals(ax: Axes, data: Data) -> None:
    """One row per label: ``rows`` (label, value, low, high), ``xlabel``, ``xunit``, ``reference``.

    Rows may say what was ``expected`` ("lower") and the ``outcome`` (pass, fail or undecided): it
    stands at their right end, and a failed row has another colour and mark.
    """
    rows = data["rows"][:MOST_ROWS]
    value, low, high = (numbers([r[key] for r in rows]) for key in ("value", "low", "high"))
    name_axes(ax, data, REST)
    names, start = _row_names(data, *size_of(ax))
    y, end = row_places(names)
    outcome = np.array([row.get("outcome", "") for row in rows])
    for which, color, mark in (
        (~np.isin(outcome, ("fail", "undecided")), SERIES[0], "o"),
        (outcome == "undecided", MUTED, "o"),
        (outcome == "fail", SERIES[1], "s"),
    ):
        if not which.any():
            continue
        ax.hlines(y[which], low[which], high[which], color=color, lw=1.6)
        ax.plot(value[which], y[which], ls="none", marker=mark, color=color, ms=4)
    for i in np.flatnonzero(np.isnan(value)):
        ax.annotate(
            "undefined",
            (0.01, y[i]),
            xycoords=("axes fraction", "data"),
            va="center",
            color=MUTED,
            fontsize="small",
            bbox={"facecolor": SURFACE, "edgecolor": "none", "pad": 1},  # over the line of zero
        )
    if data.get("reference") is not None:
        ax.axvline(float(data["reference"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    name_rows(ax, y, names, start)
    ax.set_ylim(end - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _name_outcomes(ax, rows, y)
    if len(data["rows"]) > len(rows):
        note(ax, f"{len(rows)} of {len(data['rows'])} rows shown")


def _name_outcomes(ax: Axes, rows: Sequence[Mapping[str, Any]], y: Float) -> None:
    """What was expected of each row and whether it came, at the right; nothing where none is."""
    if not any(row.get("outcome") for row in rows):
        return
    right = ax.secondary_yaxis("right")
    words = [
        f"{row.get('expected', '')}: {row['outcome']}" if row.get("outcome") else "" for row in rows
    ]
    right.set_yticks(y, [label(each) for each in words])
    right.tick_params(length=0)
    right.spines["right"].set_visible(False)
    for text, row in zip(right.get_yticklabels(), rows, strict=True):
        text.set_color(SERIES[1] if row.get("outcome") == "fail" else MUTED)


def lying(data: Data) -> bool:
    """Whether bars lie, because their labels would not fit side by side."""
    labels = [label(text) for text in data["labels"]]
    return len(labels) > 10 or sum(cells(text) + 2 for text in labels) > 56


def _bar_names(data: Data, width: float, font_size: float) -> tuple[list[str], str]:
    names = data["labels"][:MOST_ROWS]
    if lying(data):
        return fit(names, room(width, font_size, NAMES))
    return [label(name) for name in names], ""


def _bar_group(data: Data) -> float:
    """Lines of height that the bars of one label take."""
    return max(1.0, 0.55 * len(data["series"]) + 0.3)


def _bars_height(data: Data, style: Style) -> float:
    if not lying(data):
        return usual_height(data, style)
    names, start = _bar_names(data, style.width, style.font_size - 0.5)
    below = label_lines(data.get("ylabel"), style.width, style.font_size, REST) - 1
    named = [one["name"] for one in data["series"] if one.get("name")]
    above = max(0, legend_lines(named, style, REST) - 1) if named else 0
    lines = max(2.0, sum(row_units(names)) * _bar_group(data)) + bool(start)
    return 0.85 + line_height(style) * (lines + 0.7 * (below + above))


def _bars_show(data: Data) -> bool:
    return any_finite(*(one["values"] for one in data["series"]))


@figure_kind("bars", _bars_height, _bars_show)
def bars(ax: Axes, data: Data) -> None:
    """Groups of bars: ``labels``, ``series`` (name, values, low, high), ``ylabel``, ``yunit``,
    ``reference``.

    They lie on their side where the labels are many or long.
    """
    lie, series = lying(data), data["series"]
    labels, start = _bar_names(data, *size_of(ax))
    place, end = row_places(labels)
    width = 0.78 / max(1, len(series))
    for i, one in enumerate(series):
        values = numbers(one["values"])[: len(labels)]
        at = place + (i - (len(series) - 1) / 2) * width
        options: dict[str, Any] = {
            "color": SERIES[i % len(SERIES)],
            "label": label(one.get("name", "")) or None,
        }
        if lie:
            ax.barh(at, values, height=width * 0.92, **options)
        else:
            ax.bar(at, values, width=min(width * 0.92, 0.5), **options)
        if one.get("low"):
            low, high = numbers(one["low"])[: len(labels)], numbers(one["high"])[: len(labels)]
            (ax.hlines if lie else ax.vlines)(at, low, high, color=INK, lw=1.0)
    side = "x" if lie else "y"
    names = {f"{side}{part}": data.get(f"y{part}") for part in ("label", "unit")}
    name_axes(ax, names, REST)
    if lie:
        name_rows(ax, place, labels, start)
        ax.set_ylim(end - 0.4, -0.6)
    else:
        ax.set_xticks(place, labels)
    ax.tick_params(axis="y" if lie else "x", length=0)
    ax.grid(visible=False, axis="y" if lie else "x")
    if data.get("reference") is not None:
        line = ax.axvline if lie else ax.axhline
        line(float(data["reference"]), color=MUTED, lw=0.9, ls=(0, (4, 3)))
    legend(ax, [s.get("name", "") for s in series], REST if lie else LEGEND)
    if len(data["labels"]) > len(labels):
        note(ax, f"{len(labels)} of {len(data['labels'])} shown")
