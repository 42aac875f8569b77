"""What the figures share: numbers with gaps, labels, legends, reference lines, log axes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from rmaudit.plots.style import MUTED
from rmaudit.plots.text import one_line
from rmaudit.typing import Float

LABEL = 34  # characters of a label, at most


def numbers(values: Sequence[float | None] | None) -> Float:
    """Floats, (n,); None is a gap."""
    return np.array([math.nan if v is None else float(v) for v in values or ()], dtype=np.float64)


def label(text: object, limit: int = LABEL) -> str:
    """Untrusted words on one short line."""
    # matplotlib hides what begins with an underscore from legends; an invisible joiner stops it.
    line = one_line(text, limit)
    return f"\u2060{line}" if line.startswith("_") else line


def name_axes(ax: Axes, data: Mapping[str, Any]) -> None:
    """Axis labels, as they stand."""
    for axis, words in ((ax.xaxis, data.get("xlabel")), (ax.yaxis, data.get("ylabel"))):
        axis.label.set_parse_math(False)
        axis.set_label_text(label(words or "", 70))


def legend(ax: Axes, names: Sequence[str]) -> None:
    """Above the drawing, where it hides nothing; none where an axis says the same."""
    handles, shown = ax.get_legend_handles_labels()
    if not handles or not any(names) or shown in ([ax.get_xlabel()], [ax.get_ylabel()]):
        return
    columns = legend_columns(shown, ax.figure.get_figure(root=True).get_figwidth())
    ax.legend(
        handles,
        shown,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        borderaxespad=0.2,
        columnspacing=1.4,
    )


def legend_columns(names: Sequence[str], width: float) -> int:
    """How many names fit side by side in a width in inches."""
    room = int(width * 13)  # characters
    return max(1, min(len(names), room // (max(len(name) for name in names) + 7)))


def reference(ax: Axes, data: Mapping[str, Any]) -> None:
    """Dashed lines at `reference_x`, `reference_y`."""
    if data.get("reference_x") is not None:
        ax.axvline(float(data["reference_x"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)
    if data.get("reference_y") is not None:
        ax.axhline(float(data["reference_y"]), color=MUTED, lw=0.9, ls=(0, (4, 3)), zorder=1)


def log_axis(ax: Axes, which: str, values: Float) -> None:
    """A log scale with plain numbers; linear where nothing is positive."""
    positive = values[values > 0]
    if positive.size == 0:
        return
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    decades = math.log10(positive.max() / positive.min())
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def note(ax: Axes, words: str) -> None:
    """A remark in the corner: what was left out."""
    ax.annotate(
        words,
        (1, 1.01),
        xycoords="axes fraction",
        ha="right",
        va="bottom",
        color=MUTED,
        fontsize="small",
    )


def nothing(ax: Axes) -> None:
    """Said in words where there is nothing to draw."""
    ax.annotate(
        "no data", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center", color=MUTED
    )
    ax.grid(visible=False)
    ax.set_xticks([])
    ax.set_yticks([])
