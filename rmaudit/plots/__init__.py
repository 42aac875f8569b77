"""One function per kind of figure; the only place that imports matplotlib.

matplotlib is imported on first use: `import rmaudit.plots` is free.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rmaudit.plots.style import STYLES, Style
from rmaudit.plots.svg import page_svg
from rmaudit.plots.text import visible

if TYPE_CHECKING:
    from rmaudit.plots.canvas import KINDS, draw, shows, to_paper_svg, to_pdf, to_png, to_svg

__all__ = [
    "KINDS",
    "STYLES",
    "Style",
    "draw",
    "page_svg",
    "shows",
    "to_paper_svg",
    "to_pdf",
    "to_png",
    "to_svg",
    "visible",
]

_LAZY = {
    "KINDS": "rmaudit.plots.canvas",
    "draw": "rmaudit.plots.canvas",
    "shows": "rmaudit.plots.canvas",
    "to_paper_svg": "rmaudit.plots.canvas",
    "to_pdf": "rmaudit.plots.canvas",
    "to_png": "rmaudit.plots.canvas",
    "to_svg": "rmaudit.plots.canvas",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rmaudit.plots' has no attribute {name!r}")
