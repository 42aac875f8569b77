"""Figures for papers: PDF, SVG and PNG at the venues' text widths, and the numbers beside them.

Fonts are embedded (PDF) or drawn as outlines (SVG), colours are those of Okabe & Ito, lines differ
in their dashes too, and no TeX is needed; where it is installed, PGF files come beside them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from rmaudit.errors import UsageError, nearest
from rmaudit.files import csv_frame, write
from rmaudit.overoptimization.rl_curve import RlCurve
from rmaudit.overoptimization.rl_findings import FITS_AT
from rmaudit.overoptimization.study import (
    Studies,
    Study,
    curve_frame,
    fit_frame,
    fit_line,
    has_kl,
)

COMPONENTS = "components"
VENUES = ("neurips", "icml", "icml-wide", "acl", "acl-wide")
METHODS: dict[str, str] = {
    "bon": "Best of n",
    "tilted": "Tilted policy",
    "poisson": "Best of Poisson n",
    "rl": "RL",
    COMPONENTS: "Components of the proxy",
}
XS = ("kl", "sqrt", "log", "step")
MOST_WITH_PROXY = 4  # curves in a figure, beyond which the proxies are left out
MOST_COMPONENTS = 8  # lines in the figure of the components, beyond which it is not drawn
COLUMNS = ("run", "method", "reward", "kl", "step", "gain", "low", "high", "unit")
MARKS = ("run", "method", "kind", "kl", "step", "gain")
SCRIPT = """

if __name__ == "__main__":
    main(Path(__file__).parent, width={width}, font={font}, xs={xs})
"""


def save_figures(
    result: Studies,
    folder: str | Path,
    venues: Sequence[str] = VENUES,
    xs: Sequence[str] = ("kl",),
) -> list[Path]:
    """Write the figures of every method, and the tables and the script that they come from.

    Parameters
    ----------
    result
        Curves.
    folder
        Gets ``curve.csv``, ``fits.csv``, ``gains.csv``, ``marks.csv``, ``figures.py`` and
        ``gain-<method>-<venue>.pdf``, ``.svg``, ``.png`` (and ``.pgf`` where TeX is installed).
        Of runs also ``gain-components-<venue>`` by step, where the proxy has components, and
        ``steps.csv``, where completions are at hand: each step's means with intervals by prompt.
    venues
        Names in `rmaudit.plots.STYLES`: neurips, icml, icml-wide, acl, acl-wide, page.
    xs
        What gains are drawn against: kl, sqrt, log, step; all but kl are in the file's name.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    UsageError
        If a venue or an axis is unknown.
    StoreError
        If the folder cannot be written.
    """
    from rmaudit.plots import STYLES
    from rmaudit.plots.gain_lines import axes_of, gain_axes
    from rmaudit.plots.paper import paper_files

    for names, known, what in ((venues, STYLES, "venue"), (xs, XS, "axis")):
        for name in names:
            if name not in known:
                raise UsageError(f"no {what} is named {name!r}; {nearest(name, known)}")
    folder = Path(folder)
    written = []

    def put(name: str, content: str | bytes) -> None:
        write(folder / name, content)
        written.append(folder / name)

    lines, marks, _ = gain_lines(result)
    put("curve.csv", csv_frame(curve_frame(result.studies, result.confidence)))
    put("fits.csv", csv_frame(fit_frame(result.studies)))
    put("gains.csv", csv_frame(_table(lines)))
    put("marks.csv", csv_frame(pd.DataFrame(marks, columns=list(MARKS))))
    if result.steps is not None:
        put("steps.csv", csv_frame(result.steps))
    style = STYLES[venues[0]] if venues else STYLES["neurips"]
    put("figures.py", script(style.width, style.font_size, xs))
    for method, title in METHODS.items():
        chosen = [line for line in lines if line["method"] == method]
        if not chosen:
            continue
        own = [mark for mark in marks if mark["method"] == method]
        for x in axes_of(method, xs, chosen):
            name = f"gain-{method}" + ("" if x == "kl" or method == COMPONENTS else f"-{x}")
            draw = partial(gain_axes, lines=chosen, marks=own, x=x, unit=chosen[0]["unit"])
            for venue in venues:
                for ending, content in paper_files(draw, venue, f"{title}: gain").items():
                    put(f"{name}-{venue}.{ending}", content)
    return written


def script(width: float, font: float, xs: Sequence[str]) -> str:
    """The drawing code as a file of its own, which needs matplotlib alone."""
    from rmaudit.plots import gain_lines as module

    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    return source + SCRIPT.format(width=width, font=font, xs=tuple(xs))


def gain_lines(result: Studies) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
    """The lines and marks that `rmaudit.plots.gain_lines.gain_axes` draws, and the gains' unit."""
    lines: list[dict[str, Any]] = []
    marks: list[dict[str, Any]] = []
    counts = {m: sum(one.curve.method == m for one in result.studies) for m in METHODS}
    for one in result.studies:
        few = counts[one.curve.method]
        lines.append(_line(one, "gold", result.confidence, weak=False))
        if few <= MOST_WITH_PROXY:
            lines.append(_line(one, "proxy", result.confidence, weak=False))
        if not one.curve.usable.all():
            lines.append(_line(one, "gold", result.confidence, weak=True))
        fit = one.found.fit(one.form)
        if few == 1 and fit.alpha.defined and not fit.lack_of_fit < FITS_AT:
            kl, gain = fit_line(one)
            empty = [None] * len(kl)
            lines.append(_named(one, "fit", kl, empty, gain, empty, empty))
        marks += _marks(one)
    standard = all(one.curve.standard for one in result.studies)
    unit = "SD" if standard else "own units"
    lines = [line | {"unit": unit} for line in lines]
    return lines + _components(result, standard), marks, unit


def _components(result: Studies, standard: bool) -> list[dict[str, Any]]:
    """Gold and the components of the proxy by step, each a line."""
    runs = [one for one in result.studies if isinstance(one.curve, RlCurve) and one.movers]
    lines = []
    standard = standard and all(one.curve.component_sd for one in runs)  # type: ignore[union-attr]
    for one in runs:
        curve = cast(RlCurve, one.curve)
        of = f" ({one.run})" if len(result.studies) > 1 else ""
        gains = {"gold": (curve.gold_windows, curve.gains("gold", result.confidence))}
        for name in [mover.name for mover in one.movers]:
            changes = curve.changes(name, result.confidence, in_sds=standard)
            gains[name] = curve.components[name], changes
        for name, (windows, changes) in gains.items():
            at = windows.place.tolist()
            cells: list[list[Any]]
            cells = [[_finite(curve.kl_at[k]) for k in at], [float(curve.strength[k]) for k in at]]
            for end in ("value", "low", "high"):
                cells.append([_finite(getattr(changes[k], end)) for k in at])
            line = _named(one, "gold", *cells) | {"run": name + of, "method": COMPONENTS}
            lines.append(line | {"unit": "SD" if standard else "own units"})
    return lines if len(lines) <= MOST_COMPONENTS else []


def _named(one: Study, reward: str, *columns: Sequence[Any]) -> dict[str, Any]:
    names = ("kl", "step", "gain", "low", "high")
    start = {"run": one.run, "method": one.curve.method, "reward": reward}
    return start | dict(zip(names, map(list, columns), strict=True))


def _line(one: Study, which: Any, confidence: float, *, weak: bool) -> dict[str, Any]:
    curve = one.curve
    usable = ~curve.usable if weak else curve.usable
    places = np.flatnonzero(usable & np.isfinite(curve.raw(which)))
    gains = curve.gains(which, confidence)
    ends = [(None, None) if weak else (gains[k].low, gains[k].high) for k in places]
    steps = [float(curve.strength[k]) if curve.method == "rl" else None for k in places]
    return _named(
        one,
        "weak" if weak else which,
        [_finite(curve.kl_at[k]) for k in places],
        steps,
        [gains[k].value for k in places],
        [_finite(low) for low, _ in ends],
        [_finite(high) for _, high in ends],
    )


def _marks(one: Study) -> list[dict[str, Any]]:
    gold = _line(one, "gold", 0.95, weak=False)
    if not gold["gain"]:
        return []
    best = int(np.argmax(gold["gain"]))
    start = {"run": one.run, "method": one.curve.method}
    at = {name: gold[name][best] for name in ("kl", "step", "gain")}
    marks = [start | {"kind": "peak"} | at]
    safe, step = one.found.safe_kl, one.found.safe_strength
    if safe.defined and safe.value > 0:
        gain = float(np.interp(safe.value, gold["kl"], gold["gain"]))
        at = {"kl": safe.value, "step": step.value if one.curve.method == "rl" else None}
        marks.append(start | {"kind": "safe"} | at | {"gain": gain})
    elif step.defined and not has_kl(one.curve):
        gain = float(np.interp(step.value, gold["step"], gold["gain"]))
        marks.append(start | {"kind": "safe", "kl": None, "step": step.value, "gain": gain})
    return marks


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _table(lines: Sequence[dict[str, Any]]) -> pd.DataFrame:
    rows = [
        [line["run"], line["method"], line["reward"], *cells, line["unit"]]
        for line in lines
        for cells in zip(*(line[n] for n in ("kl", "step", "gain", "low", "high")), strict=True)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
