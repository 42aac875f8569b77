"""Colours, and the sizes and fonts of the page and of the venues' papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Okabe & Ito 2008, "Color Universal Design", without black and yellow (too faint on white).
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
# Roles. Each has a hex of its own, so that the page can give it another colour in the dark.
INK = "#1c2530"
MUTED = "#65717e"
GRID = "#dfe4ea"
SURFACE = "#ffffff"
# Heat maps keep their colours in the dark: the text in a cell is chosen for its cell.
LOW_TO_HIGH = ("#eef4f9", "#9cc3df", "#2f7fb5", "#0b4a75")
BELOW_TO_ABOVE = ("#b54a00", "#f0a572", "#f6f6f4", "#86b9da", "#08629b")
CELL_DARK, CELL_LIGHT = "#111820", "#fbfbfb"


@dataclass(frozen=True, slots=True)
class Style:
    """One place that figures go to: width in inches, font size in points, serif or not."""

    width: float
    font_size: float
    serif: bool
    line_width: float = 1.1

    def rc(self) -> Any:
        """Settings for `matplotlib.rc_context`: what differs from the defaults."""
        small = self.font_size - 0.5
        return {
            "font.family": ["STIXGeneral"] if self.serif else ["DejaVu Sans"],
            "font.size": self.font_size,
            "axes.labelsize": self.font_size,
            "xtick.labelsize": small,
            "ytick.labelsize": small,
            "legend.fontsize": small,
            "legend.frameon": False,
            "legend.handlelength": 2.2,
            "lines.linewidth": self.line_width,
            "lines.markersize": 3.2,
            "text.color": INK,
            "text.parse_math": False,  # a "$" in a prompt is a dollar
            "text.usetex": False,
            "axes.edgecolor": MUTED,
            "axes.labelcolor": INK,
            "axes.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.facecolor": "none",
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "xtick.color": MUTED,
            "ytick.color": MUTED,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "xtick.major.width": 0.6,
            "ytick.major.width": 0.6,
            "xtick.major.size": 2.5,
            "ytick.major.size": 2.5,
            "figure.facecolor": SURFACE,
            "savefig.facecolor": SURFACE,
            "svg.fonttype": "none",  # text as text: small, searchable, read aloud
            "svg.hashsalt": "rmaudit",  # the same figure is the same file
            "pdf.fonttype": 42,  # what the venues' checks ask for
        }


STYLES = {
    "page": Style(4.6, 8.5, serif=False, line_width=1.3),
    "neurips": Style(5.5, 8.0, serif=True),
    "icml": Style(3.25, 7.5, serif=True),
    "icml-wide": Style(6.75, 8.0, serif=True),
    "acl": Style(3.03, 7.5, serif=True),
    "acl-wide": Style(6.3, 8.0, serif=True),
}
"""`page`, and the text widths of NeurIPS (one column), ICML and ACL (one and two columns)."""
