"""Figures for papers in every format, from a function that draws on axes."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from rmaudit.plots.canvas import style_named, with_style

Draw = Callable[[Axes], Axes]
TEX = ("xelatex", "pdflatex", "lualatex")
NO_TEX = "no TeX is installed (xelatex, pdflatex, lualatex): no PGF files"


def has_tex() -> bool:
    """Whether PGF files can be made."""
    return any(shutil.which(name) for name in TEX)


def paper_files(draw: Draw, venue: str, title: str) -> dict[str, bytes]:
    """One figure at a venue's text width as pdf, svg and png, and pgf where TeX is installed."""
    style = style_named(venue)
    files = {}
    dates = {"CreationDate": None, "Creator": None, "Producer": None, "Title": title}
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    metadata: dict[str, Any] = {"pdf": dates, "svg": nothing, "png": {"Software": None}}
    endings = ["pdf", "svg", "png", *(["pgf"] if has_tex() else [])]
    # Letters of an SVG are outlines: a paper's reader need not have the font.
    with with_style(style), rc_context({"svg.fonttype": "path"}):
        for ending in endings:
            drawing = Drawing(figsize=(style.width, min(0.6 * style.width, 2.9)),
                              layout="constrained")  # fmt: skip
            draw(drawing.add_subplot())
            out = io.BytesIO()
            options: dict[str, Any] = {"dpi": 300} if ending == "png" else {}
            if ending in metadata:
                options["metadata"] = metadata[ending]
            drawing.savefig(out, format=ending, **options)
            files[ending] = out.getvalue()
    return files
