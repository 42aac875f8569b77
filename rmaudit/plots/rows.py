"""Figures with one row per label: intervals and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rmaudit.plots.kinds import Data, figure_kind, line_height, usual_height
from rmaudit.plots.marks import label, legend, name_axes, note, nothing, numbers
from rmaudit.plots.style import INK, MUTED, SERIES, Style
from rmaudit.typing import Integers

MOST_ROWS = 60


def _intervals_height(data: Data, style: Style) -> float:
    return 0.75 + line_height(style) * max(2, min(len(data["rows"]), MOST_ROWS))


@figure_kind("intervals", _intervals_height)
def intervals(ax: Axes, data: Data) -> None:
    """One row per label: ``rows`` (label, value, low, high), ``xlabel``, ``reference``.

    Rows may say what was ``expected`` ("lower") and the ``outcome`` (pass, fail or undecided): it
    stands at their right end, and a failed row has another colour and mark.
    """
    rows = data["rows"][:MOST_ROWS]
    value, low, high = (numbers([r[key] for r in rows]) for key in ("value", "low", "high"))
    name_axes(ax, data)
    if not np.isfinite(value).any():
        nothing(ax)
        return
    y = np.arange(len(rows))
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
            (0.01, i),
            xycoords=("axes fraction", "data"),
            va="center",
            color=MUTED,
            fontsize="small",
        )
    if data.get("reference") is not None:
        ax.axvline(float(data["reference"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    ax.set_yticks(y, [label(r["label"]) for r in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    _name_outcomes(ax, rows, y)
    if len(data["rows"]) > len(rows):
        note(ax, f"{len(rows)} of {len(data['rows'])} rows shown")


def _name_outcomes(ax: Axes, rows: Sequence[Mapping[str, Any]], y: Integers) -> None:
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
    labels = [str(text) for text in data["labels"]]
    return len(labels) > 10 or sum(min(len(text), 34) + 2 for text in labels) > 56


def bar_lines(data: Data) -> float:
    """Lines of height that lying bars take."""
    return min(len(data["labels"]), MOST_ROWS) * max(1.0, 0.55 * len(data["series"]) + 0.3)


def _bars_height(data: Data, style: Style) -> float:
    if not lying(data):
        return usual_height(data, style)
    return 0.85 + line_height(style) * max(2, bar_lines(data))


@figure_kind("bars", _bars_height)
def bars(ax: Axes, data: Data) -> None:
    """Groups of bars: ``labels``, ``series`` (name, values, low, high), ``ylabel``, ``reference``.

    They lie on their side where the labels are many or long.
    """
    lie, series = lying(data), data["series"]
    labels = [label(text) for text in data["labels"]][:MOST_ROWS]
    place = np.arange(len(labels), dtype=np.float64)
    width = 0.78 / max(1, len(series))
    drawn = False
    for i, one in enumerate(series):
        values = numbers(one["values"])[: len(labels)]
        at = place + (i - (len(series) - 1) / 2) * width
        drawn = drawn or bool(np.isfinite(values).any())
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
    name_axes(ax, {"xlabel" if lie else "ylabel": data.get("ylabel")})
    if not drawn:
        nothing(ax)
        return
    (ax.set_yticks if lie else ax.set_xticks)(place, labels)
    ax.tick_params(axis="y" if lie else "x", length=0)
    ax.grid(visible=False, axis="y" if lie else "x")
    if lie:
        ax.set_ylim(len(labels) - 0.4, -0.6)
    if data.get("reference") is not None:
        line = ax.axvline if lie else ax.axhline
        line(float(data["reference"]), color=MUTED, lw=0.9, ls=(0, (4, 3)))
    legend(ax, [s.get("name", "") for s in series])
    if len(data["labels"]) > len(labels):
        note(ax, f"{len(labels)} of {len(data['labels'])} shown")
