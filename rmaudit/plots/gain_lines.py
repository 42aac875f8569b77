"""Gains of proxy and gold reward against KL, with labels at the lines and peak and safe KL marked.

This file needs matplotlib alone. `rmaudit overopt` draws with it, and writes it as ``figures.py``
beside ``gains.csv`` and ``marks.csv``: run it there, and change what you like.
"""

from __future__ import annotations

import csv
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

Line = Mapping[str, Any]  # run, method, reward, and lists: kl, step, gain, low, high
Mark = Mapping[str, Any]  # run, method, kind ("peak", "safe"), kl, step, gain

# Okabe & Ito 2008, in an order whose greys differ; dashes differ too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 3)), (0, (7, 2)), "-")
MARKERS = ("o", "s", "D", "^", "P", "X", "*")
PROXY_DASH = (0, (4, 2))
FIT_DASH = (0, (1, 1.2))
NAMES = {"gold": "gold", "proxy": "proxy", "fit": "fitted", "weak": "too few samples"}
XLABELS = {
    "kl": "KL from the initial policy (nats)",
    "sqrt": "square root of the KL from the initial policy (nats)",
    "log": "KL from the initial policy (nats, log scale)",
    "step": "training step",
}
END_FONT = 8.0  # points: names at the ends of lines
END_LINE = 1.25 * END_FONT / 72  # inches that a line of them takes
MOST_LETTERS = 26  # of a line of a run's name
LEAST_KL = 1e-3  # nats: smaller ones have no place on a logarithmic axis


def gain_axes(
    ax: Axes,
    lines: Sequence[Line],
    marks: Sequence[Mark] = (),
    *,
    x: str = "kl",
    unit: str = "SD",
) -> Axes:
    """Draw gains on axes that are given, and return them.

    Parameters
    ----------
    ax
        Of your own figure.
    lines
        One per reward and run; of "reward" gold, proxy and fit. An empty low or high: no band.
    marks
        The measured peak and the safe KL of each run.
    x
        "kl", "sqrt", "log" or "step".
    unit
        Of the gains.
    """
    runs = list(dict.fromkeys((line["run"], line["method"]) for line in lines))
    alone = len(runs) == 1
    proxies = any(line["reward"] == "proxy" for line in lines)
    ends: list[tuple[float, float, str, str]] = []
    for line in lines:
        place = runs.index((line["run"], line["method"]))
        at = [_x(k, s, x) for k, s in zip(line["kl"], line["step"], strict=True)]
        rows: list[tuple[Any, ...]]
        rows = [row for row in zip(at, line["gain"], line["low"], line["high"], strict=True)
                if row[0] is not None and row[1] is not None]  # fmt: skip
        if not rows:
            continue
        color, style, width = _look(line["reward"], place, alone or proxies, alone)
        xs, ys = [row[0] for row in rows], [row[1] for row in rows]
        few = line["reward"] in ("gold", "proxy") and len(rows) <= 12
        told = not alone and line["reward"] == "gold"  # by its marker too: greys are much alike
        ax.plot(xs, ys, color=color, linestyle=style, linewidth=width,
                marker=MARKERS[place % len(MARKERS)] if told else "o" if few else None,
                markersize=3, markevery=1 if few else max(len(rows) // 7, 1),
                zorder=3)  # fmt: skip
        band = [row for row in rows if row[2] is not None and row[3] is not None]
        if band and line["reward"] in ("gold", "proxy"):
            ax.fill_between([r[0] for r in band], [r[2] for r in band], [r[3] for r in band],
                            color=color, alpha=0.18, linewidth=0, zorder=2)  # fmt: skip
        if line["reward"] == "gold" or (alone and line["reward"] in NAMES):
            name = NAMES[line["reward"]]
            name = name if alone else textwrap.fill(_name(line, runs), MOST_LETTERS)
            ends.append((xs[-1], ys[-1], name, color))
    _draw_marks(ax, marks, runs, x, alone)
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=1)
    if x == "log":
        log_axis(ax)
    ax.set_xlabel(XLABELS[x])
    ax.set_ylabel(f"gain ({unit})")
    ax.spines[["top", "right"]].set_visible(False)
    if not alone:
        notes = ["solid: gold, dashed: proxy"] if proxies else []
        notes += ["dot: peak"] * any(mark["kind"] == "peak" for mark in marks)
        notes += ["triangle: safe KL"] * any(mark["kind"] == "safe" for mark in marks)
        ax.set_title("; ".join(notes), loc="left", fontsize="small", color="0.3")
    label_ends(ax, ends)
    return ax


def log_axis(ax: Axes) -> Axes:
    """A logarithmic x axis whose ticks are plain numbers: no text here is read as mathematics."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
    ax.xaxis.set_major_locator(LogLocator(subs=subs))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return ax


def label_ends(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> Axes:
    """Names of lines (x, y, name, colour) in a column at the right, apart; thin lines lead there.

    In a column no name lies on a line, nor on another name, wherever the lines end.
    """
    if not ends:
        return ax
    low, high = ax.get_ylim()
    size = ax.get_window_extent().height / ax.figure.dpi * 72  # points
    line = END_LINE * 72 / max(size, 1) * (high - low)
    order = sorted(range(len(ends)), key=lambda i: ends[i][1])
    ys = [ends[i][1] for i in order]
    heights = [line * (ends[i][2].count("\n") + 1) for i in order]
    for _ in range(50):  # pairs that are too near push each other away
        for k in range(len(ys) - 1):
            lack = (heights[k] + heights[k + 1]) / 2 - (ys[k + 1] - ys[k])
            if lack > 0:
                ys[k] -= lack / 2
                ys[k + 1] += lack / 2
    last = ax.get_xlim()[1]
    for y, i in zip(ys, order, strict=True):
        x, end, name, color = ends[i]
        ax.plot([x, last], [end, y], color=color, linewidth=0.6, linestyle=(0, (1, 1.5)),
                scalex=False, scaley=False, clip_on=False, zorder=1)  # fmt: skip
        ax.annotate(name, (last, y), xytext=(3, 0), textcoords="offset points", va="center",
                    fontsize=END_FONT, linespacing=1.0, color=color,
                    annotation_clip=False)  # fmt: skip
    return ax


def _look(reward: str, place: int, solid: bool, alone: bool) -> tuple[str, Any, float]:
    """Colour, dashes and width: alone proxy and gold differ in colour, else runs do."""
    color = COLORS[place % len(COLORS)]
    if reward == "proxy":
        return (COLORS[1] if alone else color), PROXY_DASH, 1.0
    if reward == "weak":  # points of too few effective samples
        return "0.7", "-", 0.8
    if reward == "fit":
        return ("0.25" if alone else color), FIT_DASH, 1.0
    return color, "-" if solid else DASHES[place % len(DASHES)], 1.5


def _draw_marks(ax: Axes, marks: Sequence[Mark], runs: Sequence[Any], x: str, alone: bool) -> None:
    """The measured peak as a dot, the safe KL as an upright line (alone) or a triangle."""
    for mark in marks:
        if (mark["run"], mark["method"]) not in runs:
            continue
        at = _x(mark["kl"], mark["step"], x)
        if at is None:
            continue
        color = COLORS[runs.index((mark["run"], mark["method"])) % len(COLORS)]
        if mark["kind"] == "peak":
            ax.plot([at], [mark["gain"]], "o", color=color, markersize=4.5, markeredgecolor="white",
                    markeredgewidth=0.8, zorder=4)  # fmt: skip
        elif alone:
            ax.axvline(at, color="0.35", linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
            label = f"safe: step {mark['step']:.0f}" if x == "step" else f"safe KL {mark['kl']:.1f}"
            ax.annotate(label, (at, 0), xycoords=("data", "axes fraction"), xytext=(3, 4),
                        textcoords="offset points", fontsize=7, color="0.35")  # fmt: skip
        else:
            ax.plot([at], [mark["gain"]], "v", color=color, markersize=5, markeredgecolor="white",
                    markeredgewidth=0.6, zorder=4)  # fmt: skip


def _name(line: Line, runs: Sequence[tuple[str, str]]) -> str:
    if len({run for run, _ in runs}) == 1:
        return str(line["method"])
    return str(line["run"]) + (f", {line['method']}" if len({m for _, m in runs}) > 1 else "")


def _x(kl: float | None, step: float | None, x: str) -> float | None:
    value = step if x == "step" else kl
    if value is None or math.isnan(value):
        return None
    if x == "sqrt":
        return math.sqrt(max(value, 0.0))
    return value if x != "log" or value >= LEAST_KL else None


def read_lines(folder: str | Path) -> tuple[list[Line], list[Mark], str]:
    """Lines, marks and the unit of the gains from ``gains.csv`` and ``marks.csv``."""
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    unit = ""
    for row in _rows(Path(folder) / "gains.csv"):
        unit = unit or str(row["unit"])
        key = row["run"], row["method"], row["reward"]
        names = ("kl", "step", "gain", "low", "high")
        start = dict(zip(("run", "method", "reward"), key, strict=True))
        line = lines.setdefault(key, {**start, "unit": row["unit"], **{name: [] for name in names}})
        for name in names:
            line[name].append(row[name])
    return list(lines.values()), _rows(Path(folder) / "marks.csv"), unit or "SD"


def axes_of(method: str, xs: Sequence[str], lines: Sequence[Line]) -> Sequence[str]:
    """What gains are drawn against: components and runs without a KL by step, steps for runs."""
    if method == "components" or not any(kl is not None for line in lines for kl in line["kl"]):
        return ("step",)
    return xs if method == "rl" else [x for x in xs if x != "step"]


def _rows(path: Path) -> list[Mark]:
    """Rows of a table: numbers where a column holds numbers, None where a cell is empty."""
    with path.open(newline="", encoding="utf-8") as file:
        text = ("run", "method", "reward", "kind", "unit")
        return [
            {k: v if k in text else (float(v) if v else None) for k, v in row.items()}
            for row in csv.DictReader(file)
        ]


def main(folder: str | Path, width: float, font: float, xs: Sequence[str] = ("kl",)) -> list[Path]:
    """Draw every method of a folder at a width in inches, as PDF."""
    import matplotlib
    from matplotlib.figure import Figure

    lines, marks, unit = read_lines(folder)
    written = []
    # A "$" in the name of a run is a dollar.
    settings: dict[Any, Any] = {"font.size": font, "pdf.fonttype": 42, "text.parse_math": False}
    with matplotlib.rc_context(settings):
        for method in dict.fromkeys(line["method"] for line in lines):
            chosen = [line for line in lines if line["method"] == method]
            own = [mark for mark in marks if mark["method"] == method]
            unit = str(chosen[0]["unit"])
            for x in axes_of(method, xs, chosen):
                figure = Figure(figsize=(width, min(0.6 * width, 3.2)), layout="constrained")
                gain_axes(figure.add_subplot(), chosen, own, x=x, unit=unit)
                written.append(Path(folder) / f"my-gain-{method}-{x}.pdf")
                figure.savefig(written[-1])
    return written
