"""Heat maps: a number per cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap, Normalize
from numpy.typing import NDArray

from rmaudit.plots.kinds import Data, figure_kind, line_height
from rmaudit.plots.marks import name_axes, name_rows, numbers, size_of
from rmaudit.plots.names import (
    fit,
    label,
    lines_of,
    longest_piece,
    room,
    start_words,
    widest_line,
    wrap,
)
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

ROWS = 0.36  # of the figure's width: the names of rows
AXIS = 0.6  # an axis label below the cells
TURN = 55  # degrees that names of columns are turned by where they do not fit side by side
TURNED = 60  # letters of a line of a turned name: a second would lie on its neighbour
MOST_LINES = 3  # of a name of a column that is not turned
MOST_NUMBERS = 200  # cells whose numbers are written into them, at most, where they fit


@dataclass(frozen=True, slots=True)
class _Names:
    """Names of rows and columns as they are drawn, and what was taken from the start of all."""

    rows: list[str]
    columns: list[str]
    row_start: str
    column_start: str
    turned: bool
    cell: float  # letters of a name that a cell is wide

    @property
    def row_lines(self) -> int:
        """Lines that the longest name of a row takes."""
        return max((lines_of(name) for name in self.rows), default=1)

    def column_height(self, font_size: float) -> float:
        """Inches below the cells that names of columns need beyond one line."""
        if self.turned:
            longest = max(widest_line(name) for name in self.columns)
            return 0.56 * font_size / 72 * longest * math.sin(math.radians(TURN))
        return 1.2 * font_size / 72 * (max(lines_of(name) for name in self.columns) - 1)


def _names(data: Data, width: float, font_size: float) -> _Names:
    rows, row_start = fit(data["rows"], room(width, font_size, ROWS))
    columns = [label(name) for name in data["columns"]]
    widest = max((widest_line(name) for name in rows), default=0)
    free = room(width, font_size, 0.92) - widest  # letters below the cells
    cell = free / max(1, len(columns))
    most = int(cell) - 1  # letters of a column's name that is not turned
    upright, start = fit(columns, max(1, most))
    lines = max((lines_of(name) for name in upright), default=1)
    if (
        lines <= MOST_LINES
        and longest_piece([name.removeprefix(start) for name in columns]) <= most
    ):
        return _Names(rows, upright, row_start, start, turned=False, cell=cell)
    columns = [wrap(name.removeprefix(start), TURNED) for name in columns]
    return _Names(rows, columns, row_start, start, turned=True, cell=cell)


def _heatmap_height(data: Data, style: Style) -> float:
    names = _names(data, style.width, style.font_size - 0.5)
    line = line_height(style)
    row = 1.25 + 0.6 * (names.row_lines - 1)
    return (
        0.9
        + row * line * max(2, len(names.rows))
        + (names.column_height(style.font_size) if names.columns else 0.0)
        + (line if names.row_start else 0.0)
    )


def _heatmap_shows(data: Data) -> bool:
    return bool(np.isfinite(_values(data)).any())


def _values(data: Data) -> Float:
    """The values of the cells, (n_rows, n_columns); a ValueError where they are not as many."""
    values: Float = np.array([numbers(row) for row in data["values"]]).reshape(
        len(data["rows"]), len(data["columns"])
    )
    return values


@figure_kind("heatmap", _heatmap_height, _heatmap_shows)
def heatmap(ax: Axes, data: Data) -> None:
    """``rows`` and ``columns`` (labels), ``values`` (None: empty), ``unit``, ``center``.

    With a ``center`` the colours part there, orange below and blue above; else darker is more.
    """
    values = _values(data)
    name_axes(ax, data, AXIS)
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(values),
        edgecolors=SURFACE,
        linewidth=1.0,
        **_colors(values, data.get("center")),
    )
    names = _names(data, *size_of(ax))
    _ticks(ax, data, names)
    written = _numbers(values)
    if values.size <= MOST_NUMBERS and max(map(len, written.flat)) <= names.cell:
        _write(ax, mesh, values, written)
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


def _ticks(ax: Axes, data: Data, names: _Names) -> None:
    ax.set_xticks(
        np.arange(len(names.columns)) + 0.5,
        names.columns,
        rotation=TURN if names.turned else 0,
        ha="right" if names.turned else "center",
        rotation_mode="anchor" if names.turned else "default",
    )
    name_rows(ax, np.arange(0.5, len(names.rows)), names.rows, names.row_start)
    words = [data.get("xlabel") or "", start_words(names.column_start, names.columns)]
    name_axes(ax, {**data, "xlabel": "; ".join(word for word in words if word)}, AXIS)
    ax.invert_yaxis()
    ax.grid(visible=False)
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _numbers(values: Float) -> NDArray[np.str_]:
    """The numbers as they are written into cells; a dash for none."""
    finite = values[np.isfinite(values)]
    whole = bool((finite == np.round(finite)).all())
    spread = float(np.abs(finite).max())
    digits = (
        0 if whole or spread >= 100 else max(0, 2 - max(0, math.floor(math.log10(spread or 1))))
    )
    # Adding 0.0 makes a plain zero of what rounds to minus zero.
    written = [
        "\u2013"
        if np.isnan(value)
        else f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "\u2212")
        for value in values.flat
    ]
    return np.array(written).reshape(values.shape)


def _write(ax: Axes, mesh: QuadMesh, values: Float, written: NDArray[np.str_]) -> None:
    for (i, j), value in np.ndenumerate(values):
        color = MUTED
        if not np.isnan(value):
            red, green, blue, _ = mesh.cmap(mesh.norm(np.asarray(value)))
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.55
            color = CELL_LIGHT if dark else CELL_DARK
        size = None if np.isnan(value) else "small"
        text = ax.text(j + 0.5, i + 0.5, str(written[i, j]), color=color, fontsize=size)
        text.set(ha="center", va="center")
