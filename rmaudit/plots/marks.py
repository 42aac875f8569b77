"""What the figures share: numbers with gaps, labels, legends, reference lines, log axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from rmaudit.plots.names import fit, label, lines_of, room, start_words, widest_line, wrap
from rmaudit.plots.style import MUTED, Style
from rmaudit.typing import Float

AXIS = 0.85  # of the figure's width: an axis label
LEGEND = 0.8  # of the figure's width: a legend above a drawing that begins at the left
LONGEST_TICK = 8  # letters of a number at an axis, from which on it is written as 1.5e-07
LEGEND_MARK = 7  # letters that a legend's line and gaps take


def numbers(values: Sequence[float | None] | None) -> Float:
    """Floats, (n,); None is a gap."""
    return np.array([math.nan if v is None else float(v) for v in values or ()], dtype=np.float64)


_AXIS_UNITS = {"percent": "%", "points": ""}


def size_of(ax: Axes) -> tuple[float, float]:
    """Width of the figure in inches and font size of its names in points."""
    width = float(ax.figure.get_figure(root=True).get_figwidth())
    return width, float(rcParams["ytick.labelsize"])


class _OwnNumbers(ScalarFormatter):
    """Each number as it is: no power of ten stands apart, where a legend may lie on it."""

    def __init__(self) -> None:
        super().__init__(useOffset=False)
        self.set_scientific(False)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """One label."""
        text: str = super().__call__(x, pos)
        return text if len(text) <= LONGEST_TICK else f"{x:.3g}".replace("-", "\u2212")


def _as_unit(unit: str) -> Callable[[float, object], str]:
    sign = _AXIS_UNITS[unit]
    return lambda value, _: f"{100 * value:.3g}{sign}".replace("-", "\u2212")


def name_axes(ax: Axes, data: Mapping[str, Any], share: float = AXIS) -> None:
    """Axis labels, as they stand, in lines that take a share of the figure's width or height.

    ``xunit``, ``yunit`` "percent" or "points": values are shares or differences of them.
    """
    for side, unit in ((ax.xaxis, data.get("xunit")), (ax.yaxis, data.get("yunit"))):
        if unit is not None:
            side.set_major_formatter(_as_unit(unit))
        elif isinstance(side.get_major_formatter(), ScalarFormatter):
            side.set_major_formatter(_OwnNumbers())
    width, font_size = size_of(ax)
    height = float(ax.figure.get_figure(root=True).get_figheight())
    for axis, words, inches in (
        (ax.xaxis, data.get("xlabel"), width * share),
        (ax.yaxis, data.get("ylabel"), height * AXIS),
    ):
        axis.label.set_parse_math(False)
        axis.set_label_text(wrap(label(words or ""), room(inches, font_size, 1.0)))


def whole_numbers(axis: Axis) -> None:
    """Ticks of an axis of counts."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def label_lines(words: object, width: float, font_size: float, share: float = AXIS) -> int:
    """How many lines a label of the x-axis takes."""
    return lines_of(wrap(label(words or ""), room(width * share, font_size, 1.0)))


def name_rows(ax: Axes, places: Float, names: Sequence[str], start: str) -> None:
    """Wrapped names of rows, and above them what was taken from the start of all."""
    ax.set_yticks(places, list(names))
    for text in ax.get_yticklabels():
        text.set_linespacing(1.0)
    if start:
        ax.annotate(
            start_words(start, names),
            (0, 1),
            xycoords="axes fraction",
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            va="bottom",
            color=MUTED,
            fontsize="small",
            annotation_clip=False,
        )


def legend(ax: Axes, names: Sequence[str], share: float = LEGEND) -> None:
    """Above the drawing, where it hides nothing; none where an axis says the same."""
    handles, shown = ax.get_legend_handles_labels()
    if not handles or not any(names) or shown in ([ax.get_xlabel()], [ax.get_ylabel()]):
        return
    width, font_size = size_of(ax)
    shown, start = legend_names(shown, width * share, font_size)
    made = ax.legend(
        handles,
        shown,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=legend_columns(shown, width * share, font_size),
        borderaxespad=0.2,
        columnspacing=1.4,
        title=start_words(start, shown) or None,
        title_fontsize="small",
        alignment="left",
    )
    made.get_title().set_color(MUTED)


def legend_names(names: Sequence[object], width: float, font_size: float) -> tuple[list[str], str]:
    """Names that fit into a column of a legend, and the start that was taken from all."""
    return fit(names, room(width, font_size, 1.0) - LEGEND_MARK)


def legend_columns(names: Sequence[str], width: float, font_size: float) -> int:
    """How many names fit side by side in a width in inches."""
    longest = max(widest_line(name) for name in names)
    return max(1, min(len(names), room(width, font_size, 1.0) // (longest + LEGEND_MARK)))


def legend_lines(names: Sequence[object], style: Style, share: float = LEGEND) -> int:
    """Lines of height that a legend takes in a figure of a style."""
    width, font_size = style.width * share, style.font_size - 0.5
    shown, start = legend_names(names, width, font_size)
    rows = -(-len(shown) // legend_columns(shown, width, font_size))
    return rows * max(lines_of(name) for name in shown) + bool(start)


def reference(ax: Axes, data: Mapping[str, Any]) -> None:
    """Dashed lines at `reference_x`, `reference_y`."""
    if data.get("reference_x") is not None:
        ax.axvline(float(data["reference_x"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    if data.get("reference_y") is not None:
        ax.axhline(float(data["reference_y"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)


def log_axis(ax: Axes, which: str, values: Float, unit: str | None = None) -> None:
    """A log scale with plain numbers, or in a unit; linear where nothing is positive."""
    positive = values[values > 0]
    if positive.size == 0:
        return
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    decades = math.log10(positive.max() / positive.min())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)))
    axis.set_minor_locator(NullLocator())
    plain = FuncFormatter(lambda value, _: f"{value:,.6g}")
    axis.set_major_formatter(plain if unit is None else _as_unit(unit))


def note(ax: Axes, words: str) -> None:
    """A remark below the label of the x-axis: what was left out."""
    ax.set_xlabel(f"{ax.get_xlabel()}\n{words}".strip())


def any_finite(*columns: Sequence[Any] | None) -> bool:
    """Whether one of some columns of numbers holds a finite one."""
    return any(bool(np.isfinite(numbers(column)).any()) for column in columns)


def nothing(ax: Axes) -> None:
    """Said in words where there is nothing to draw."""
    ax.annotate(
        "no data", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=MUTED
    )
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
