"""Figures with two numeric axes: curves, histograms, scatter, reliability."""

from __future__ import annotations

from typing import Literal

import numpy as np
from matplotlib.axes import Axes

from rmaudit.plots.gain_lines import END_FONT, END_LINE, label_ends
from rmaudit.plots.kinds import Data, figure_kind, line_height, usual_height
from rmaudit.plots.marks import (
    any_finite,
    legend,
    legend_lines,
    log_axis,
    name_axes,
    note,
    numbers,
    reference,
    size_of,
    whole_numbers,
)
from rmaudit.plots.names import label, lines_of, room, wrap
from rmaudit.plots.style import GRID, LINES, MARKERS, MUTED, SERIES, Style
from rmaudit.typing import Float

ENDS = 0.3  # of the figure's width: names at the ends of lines
MOST_POINTS = 400  # of a scatter: each is some 60 bytes of the page


def _height_with_names(data: Data, style: Style) -> float:
    """A legend of many lines must not take the drawing's place, nor names at ends run out of it."""
    names = [one["name"] for one in data["series"] if one.get("name")]
    lines = legend_lines(names, style) if names else 0
    ends = sum(lines_of(_end(one["end"], style.width)) for one in data["series"] if one.get("end"))
    height = max(usual_height(data, style), 0.6 + END_LINE * ends)
    return height + line_height(style) * max(0, lines - 3)


def _end(name: object, width: float) -> str:
    """The name at the end of a line, wrapped."""
    return wrap(label(name), room(width, END_FONT, ENDS))


def _points_show(data: Data) -> bool:
    """Whether a series has a point with both coordinates."""
    return any(_points(one) for one in data["series"])


def _curves_show(data: Data) -> bool:
    """Whether a series has such a point; of lines alone, one has two."""
    lines = all(one.get("style", "line") == "line" for one in data["series"])
    return any(_points(one) > (1 if lines else 0) for one in data["series"])


def _points(one: Data) -> int:
    return int((np.isfinite(numbers(one["x"])) & np.isfinite(numbers(one["y"]))).sum())


def _histogram_shows(data: Data) -> bool:
    return any_finite(*(s["counts"] for s in data["series"]))


def _reliability_shows(data: Data) -> bool:
    return any_finite([b["accuracy"] for b in data["bins"]])


@figure_kind("curves", _height_with_names, _curves_show)
def curves(ax: Axes, data: Data) -> None:
    """Lines, steps or points with intervals.

    ``series`` (name, x, y, low, high, style), ``xscale``, ``yscale``, ``diagonal``,
    ``reference_x``, ``reference_y``. A series may name its ``color`` and its ``line`` by place in
    the palette, so that those that belong together look alike, or have the color "muted"; what
    stands at its ``end`` labels the line itself.
    """
    series = data["series"]
    for i, one in enumerate(series):
        _curve(ax, i, one)
    name_axes(ax, data)
    xs = np.concatenate([numbers(s["x"]) for s in series] or [np.empty(0)])
    ys = np.concatenate([numbers(s["y"]) for s in series] or [np.empty(0)])
    if data.get("xunit") is None and (xs == np.round(xs)).all():  # steps, numbers of runs
        whole_numbers(ax.xaxis)
    if data.get("xscale") == "log":
        log_axis(ax, "x", xs, data.get("xunit"))
    if data.get("yscale") == "log":
        log_axis(ax, "y", ys, data.get("yunit"))
    reference(ax, data)
    if data.get("diagonal"):
        ax.axline((0, 0), (1, 1), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    legend(ax, [s.get("name", "") for s in series])
    ends = [
        (
            float(s["x"][-1]),
            float(s["y"][-1]),
            _end(s["end"], size_of(ax)[0]),
            _color(s.get("color", i)),
        )
        for i, s in enumerate(series)
        if s.get("end") and s["y"][-1] is not None
    ]
    label_ends(ax, ends)


def _curve(ax: Axes, i: int, one: Data) -> None:
    color, x, y = _color(one.get("color", i)), numbers(one["x"]), numbers(one["y"])
    # Beyond the last color the lines shift by one: no two series look alike.
    line = LINES[one.get("line", i + i // len(SERIES)) % len(LINES)]
    low, high = numbers(one.get("low")), numbers(one.get("high"))
    style = one.get("style", "line")
    step: Literal["post"] | None = "post" if style == "step" else None
    if low.size:
        if style == "points":
            ax.vlines(x, low, high, color=color, lw=1.0)
        else:
            ax.fill_between(x, low, high, color=color, alpha=0.18, lw=0, step=step)
    ax.plot(
        x,
        y,
        color=color,
        ls="none" if style == "points" else line,
        marker=MARKERS[i % len(MARKERS)] if style == "points" or x.size == 1 else None,
        drawstyle="steps-post" if step else "default",
        label=label(one.get("name", "")) or None,
    )


def _color(place: int | str) -> str:
    return MUTED if isinstance(place, str) else SERIES[place % len(SERIES)]


@figure_kind("histogram", _height_with_names, _histogram_shows)
def histogram(ax: Axes, data: Data) -> None:
    """Counts between edges: ``series`` (name, edges, counts), ``reference_x``."""
    series = [s for s in data["series"] if len(s["counts"])]
    for i, one in enumerate(series):
        color, edges, counts = (
            SERIES[i % len(SERIES)],
            numbers(one["edges"]),
            numbers(one["counts"]),
        )
        ax.stairs(counts, edges, fill=True, color=color, alpha=0.2, lw=0)
        name = label(one.get("name", "")) or None
        ax.stairs(counts, edges, color=color, ls=LINES[i % len(LINES)], label=name)
    name_axes(ax, data)
    whole_numbers(ax.yaxis)
    ax.set_ylim(bottom=0)
    reference(ax, data)
    legend(ax, [s.get("name", "") for s in series])


@figure_kind("scatter", _height_with_names, _points_show)
def scatter(ax: Axes, data: Data) -> None:
    """Points: ``series`` (name, x, y). Evenly thinned, and said so, beyond `MOST_POINTS`."""
    series = data["series"]
    total = sum(len(s["x"]) for s in series)
    every = max(1, -(-total // MOST_POINTS))
    for i, one in enumerate(series):
        x, y = numbers(one["x"])[::every], numbers(one["y"])[::every]
        ax.plot(
            x,
            y,
            ls="none",
            marker=MARKERS[i % len(MARKERS)],
            color=SERIES[i % len(SERIES)],
            alpha=0.6,
            mew=0,
            label=label(one.get("name", "")) or None,
        )
    name_axes(ax, data)
    reference(ax, data)
    legend(ax, [s.get("name", "") for s in series])
    if every > 1:
        note(ax, f"one in {every} points shown")


def _reliability_height(data: Data, style: Style) -> float:
    return min(style.width, 3.6) * 0.95


@figure_kind("reliability", _reliability_height, _reliability_shows)
def reliability(ax: Axes, data: Data) -> None:
    """Accuracy against stated confidence.

    ``bins`` (confidence, accuracy, low, high, count), ``band`` (x, low, high: where a perfectly
    calibrated model would lie at this n), ``smooth`` (x, y) or None. The bars along the bottom
    show how the counts are spread; the tallest takes an eighth of the height.
    """
    bins = data["bins"]
    x, y = (numbers([b[key] for b in bins]) for key in ("confidence", "accuracy"))
    name_axes(ax, data)
    band, smooth = data.get("band"), data.get("smooth")
    ends = np.concatenate([x, numbers(band["x"])]) if band else x
    left = 0.5 if np.nanmin(ends) >= 0.5 else 0.0
    ax.plot([left, 1], [left, 1], color=MUTED, lw=0.9, ls=(0, (4, 3)), label="perfect")
    if band:
        ax.fill_between(
            numbers(band["x"]),
            numbers(band["low"]),
            numbers(band["high"]),
            color=MUTED,
            alpha=0.2,
            lw=0,
            label="perfect, at this n",
        )
    low, high = (numbers([b[key] for b in bins]) for key in ("low", "high"))
    ax.vlines(x, low, high, color=SERIES[0], lw=1.0)
    ax.plot(x, y, ls="none", marker="o", color=SERIES[0], label="model", zorder=3)
    if smooth:
        ax.plot(numbers(smooth["x"]), numbers(smooth["y"]), color=SERIES[1], label="smooth")
    bottom = max(0.0, float(np.nanmin([left, np.nanmin(np.where(np.isnan(low), y, low))])) - 0.05)
    ax.set_xlim(left - 0.01, 1.01)
    ax.set_ylim(bottom, 1.01)
    _counts(ax, x, numbers([b["count"] for b in bins]), bottom)
    legend(ax, ["model"])


def _counts(ax: Axes, x: Float, counts: Float, bottom: float) -> None:
    tallest = np.nanmax(counts) if np.isfinite(counts).any() else 0
    if tallest <= 0:
        return
    height = (1.01 - bottom) / 8 * counts / tallest
    low, high = ax.get_xlim()
    ax.bar(x, height, width=(high - low) / 60, bottom=bottom, color=GRID, edgecolor=MUTED, lw=0.4)
