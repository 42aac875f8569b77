"""Heat maps: a number per cell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize

from rmaudit.plots.kinds import Data, figure_kind, line_height
from rmaudit.plots.marks import label, name_axes, nothing, numbers
from rmaudit.plots.style import (
    BELOW_TO_ABOVE,
    CELL_DARK,
    CELL_LIGHT,
    LOW_TO_HIGH,
    MUTED,
    SURFACE,
    Style,
)
from rmaudit.typing import Float

MOST_NUMBERS = 200  # cells whose numbers are written into them, at most


def _heatmap_height(data: Data, style: Style) -> float:
    return 0.9 + 1.25 * line_height(style) * max(2, len(data["rows"]))


@figure_kind("heatmap", _heatmap_height)
def heatmap(ax: Axes, data: Data) -> None:
    """``rows`` and ``columns`` (labels), ``values`` (None: empty), ``unit``, ``center``.

    With a ``center`` the colours part there, orange below and blue above; else darker is more.
    """
    values = np.array([numbers(row) for row in data["values"]]).reshape(
        len(data["rows"]), len(data["columns"])
    )  # (n_rows, n_columns)
    name_axes(ax, data)
    if not np.isfinite(values).any():
        nothing(ax)
        return
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(values),
        edgecolors=SURFACE,
        linewidth=1.0,
        **_colors(values, data.get("center")),
    )
    _ticks(ax, data)
    if values.size <= MOST_NUMBERS:
        _write(ax, mesh, values)
        unit = data.get("unit") or ""
        if unit not in ("", "-"):
            ax.set_title(f"in {label(unit)}", loc="right", fontsize="small", color=MUTED)
    else:
        bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.7)
        bar.set_label(label(data.get("unit") or ""))
        bar.outline.set_visible(False)


def _colors(values: Float, center: float | None) -> dict[str, Any]:
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    stops: tuple[str, ...]
    if center is None:
        stops, span = LOW_TO_HIGH, (low, high if high > low else low + 1)
    else:
        reach = max(abs(high - center), abs(low - center)) or 1.0
        stops, span = BELOW_TO_ABOVE, (center - reach, center + reach)
    return {
        # 25 shades: as many as an eye tells apart, and few shapes in the legend of colours
        "cmap": LinearSegmentedColormap.from_list("rmaudit", stops, N=25),
        "norm": Normalize(*span),
    }


def _ticks(ax: Axes, data: Data) -> None:
    columns = [label(text, 22) for text in data["columns"]]
    turned = sum(len(text) + 2 for text in columns) > 52
    ax.set_xticks(
        np.arange(len(columns)) + 0.5,
        columns,
        rotation=40 if turned else 0,
        ha="right" if turned else "center",
        rotation_mode="anchor" if turned else "default",
    )
    ax.set_yticks(np.arange(len(data["rows"])) + 0.5, [label(text, 28) for text in data["rows"]])
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _write(ax: Axes, mesh: QuadMesh, values: Float) -> None:
    finite = values[np.isfinite(values)]
    whole = bool((finite == np.round(finite)).all())
    spread = float(np.abs(finite).max())
    digits = (
        0 if whole or spread >= 100 else max(0, 2 - max(0, math.floor(math.log10(spread or 1))))
    )
    for (i, j), value in np.ndenumerate(values):
        if np.isnan(value):
            ax.text(j + 0.5, i + 0.5, "–", ha="center", va="center", color=MUTED)
            continue
        red, green, blue, _ = mesh.cmap(mesh.norm(np.asarray(value)))
        dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.55
        ax.text(
            j + 0.5,
            i + 0.5,
            f"{value:,.{digits}f}".replace("-", "\u2212"),
            ha="center",
            va="center",
            color=CELL_LIGHT if dark else CELL_DARK,
            fontsize="small",
        )
