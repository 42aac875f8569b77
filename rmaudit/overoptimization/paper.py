"""Figures for papers: PDF, SVG and PNG at the venues' text widths, and the numbers beside them.

Fonts are embedded (PDF) or drawn as outlines (SVG), colours are those of Okabe & Ito, lines differ
in their dashes too, and no TeX is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.errors import UsageError, nearest
from rmaudit.files import write
from rmaudit.overoptimization.study import Study, gain_figure
from rmaudit.results import Figure

if TYPE_CHECKING:
    from rmaudit.overoptimization.result import Overopt

VENUES = ("neurips", "icml", "icml-wide", "acl", "acl-wide")
METHODS = {"bon": "Best of n", "tilted": "Tilted policy", "rl": "RL"}
MOST_WITH_PROXY = 1  # curves in a figure, beyond which the proxies are left out


def save_figures(result: Overopt, folder: str | Path, venues: Sequence[str] = VENUES) -> list[Path]:
    """Write the figures of every method, and curve.csv and fits.csv beside them.

    Parameters
    ----------
    result
        Curves.
    folder
        Gets ``curve.csv``, ``fits.csv`` and ``gain-<method>-<venue>.pdf``, ``.svg``, ``.png``.
    venues
        Names in `rmaudit.plots.STYLES`: neurips, icml, icml-wide, acl, acl-wide, page.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    UsageError
        If a venue is unknown.
    StoreError
        If the folder cannot be written.
    """
    from rmaudit.plots import STYLES, to_paper_svg, to_pdf, to_png

    for venue in venues:
        if venue not in STYLES:
            raise UsageError(f"no venue is named {venue!r}; {nearest(venue, STYLES)}")
    folder = Path(folder)
    written = []

    def put(name: str, content: str | bytes) -> None:
        write(folder / name, content)
        written.append(folder / name)

    put("curve.csv", result.curve.to_csv(index=False))
    put("fits.csv", result.fits.to_csv(index=False))
    for figure in figures(result.studies, result.confidence):
        for venue in venues:
            name = f"{figure.name}-{venue}"
            put(f"{name}.pdf", to_pdf(figure, venue))
            put(f"{name}.svg", to_paper_svg(figure, venue))
            put(f"{name}.png", to_png(figure, venue))
    return written


def figures(studies: Sequence[Study], confidence: float = 0.95) -> list[Figure]:
    """One figure a method: gold gain against KL, with fit and proxy where there is one curve."""
    drawn = []
    for method, title in METHODS.items():
        chosen = [one for one in studies if one.curve.method == method]
        if not chosen:
            continue
        alone = len(chosen) <= MOST_WITH_PROXY
        drawn.append(
            gain_figure(
                chosen,
                f"gain-{method}",
                f"{title}: gain against KL",
                confidence=confidence,
                with_proxy=alone,
                with_fit=alone,
            )
        )
    return drawn
