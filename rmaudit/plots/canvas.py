"""From the numbers of a figure to a drawing: `draw`, `to_svg`, `to_pdf`."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from rmaudit.errors import SchemaError, nearest
from rmaudit.plots.kinds import FIGURES, Data, FigureKind
from rmaudit.plots.marks import name_axes, nothing
from rmaudit.plots.style import STYLES, Style
from rmaudit.plots.svg import tidy_svg
from rmaudit.results import Figure

KINDS: Mapping[str, FigureKind] = FIGURES
"""What draws each kind of figure on given axes; plugins too."""
_CANVASES = {
    "svg": ("matplotlib.backends.backend_svg", "FigureCanvasSVG"),
    "pdf": ("matplotlib.backends.backend_pdf", "FigureCanvasPdf"),
}


def draw(figure: Figure | Data, ax: Axes | None = None, style: str | Style = "page") -> Drawing:
    """Draw a figure of an audit.

    Parameters
    ----------
    figure
        A `Figure`, or the same as a mapping (one entry of ``figures`` in report.json).
    ax
        Axes to draw on; a figure of the style's width is made if there are none.
    style
        A name in `STYLES`, or a style of your own.

    Returns
    -------
    matplotlib.figure.Figure
        The drawing, free of pyplot's global state.

    Raises
    ------
    SchemaError
        If the kind is unknown or the data does not fit it.
    """
    kind, data = _parts(figure)
    chosen = style_named(style)
    drawer = FIGURES[kind]
    with with_style(chosen):
        drawing = None
        try:
            if ax is None:
                size = (chosen.width, drawer.height(data, chosen))
                drawing = Drawing(figsize=size, layout="constrained")
                ax = drawing.add_subplot()
            if drawer.shows(data):
                drawer.draw(ax, data)
            else:
                name_axes(ax, data)
                nothing(ax)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _misfit(kind, error) from error
        return drawing or ax.get_figure(root=True)  # type: ignore[return-value]


def shows(figure: Figure | Data) -> bool:
    """Whether a figure has anything to show: False where not one of its numbers is finite.

    Raises
    ------
    SchemaError
        If the kind is unknown or the data do not fit it.
    """
    kind, data = _parts(figure)
    drawer = FIGURES[kind]
    try:
        return drawer.shows(data)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _misfit(kind, error) from error


def to_svg(figure: Figure | Data, style: str | Style = "page") -> str:
    """The figure as an SVG of its own: text as text, a title and a description, no dates.

    The same figure gives the same text, on every machine with the same matplotlib.
    """
    out = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    _save(draw(figure, style=style), out, "svg", nothing, style)
    title, alt = _words(figure)
    return tidy_svg(out.getvalue(), title=title, alt=alt)


def to_pdf(figure: Figure | Data, style: str | Style = "neurips") -> bytes:
    """The figure as a PDF for a paper: TrueType fonts embedded, no dates."""
    out = io.BytesIO()
    title, _ = _words(figure)
    facts = {"CreationDate": None, "Creator": None, "Producer": None, "Title": title}
    _save(draw(figure, style=style), out, "pdf", facts, style)
    return out.getvalue()


def to_png(figure: Figure | Data, style: str | Style = "neurips", dpi: int = 300) -> bytes:
    """The figure as a PNG, for slides and for places that take nothing else."""
    out = io.BytesIO()
    drawing = draw(figure, style=style)
    _save(drawing, out, "png", {"Software": None, "Title": _words(figure)[0]}, style, dpi=dpi)
    return out.getvalue()


def to_paper_svg(figure: Figure | Data, style: str | Style = "neurips") -> str:
    """The figure as an SVG that needs no font: letters as outlines, for papers and slides."""
    chosen, out = style_named(style), io.StringIO()
    drawing = draw(figure, style=chosen)
    with with_style(chosen), rc_context({"svg.fonttype": "path"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        drawing.savefig(out, format="svg", metadata=nothing)
    return out.getvalue()


def _save(
    drawing: Drawing,
    out: Any,
    ending: str,
    metadata: Data,
    style: str | Style,
    **options: Any,
) -> None:
    with with_style(style_named(style)):
        _lay_out(drawing, ending)
        drawing.savefig(out, format=ending, metadata=dict(metadata), **options)


def _lay_out(drawing: Drawing, ending: str) -> None:
    """Place the axes for a format, once: a layout left to `savefig` costs a drawing of its own."""
    engine = drawing.get_layout_engine()
    if engine is None or ending not in _CANVASES:
        return
    module, name = _CANVASES[ending]
    getattr(import_module(module), name)(drawing)  # its widths of text are what the layout asks for
    engine.execute(drawing)
    drawing.set_layout_engine(None)


@contextmanager
def with_style(style: Style) -> Iterator[None]:
    """Matplotlib's settings of a style, for as long as it is drawn with."""
    with rc_context(style.rc()), warnings.catch_warnings():
        # Prompts come in every script; a box for a missing glyph is no fault of the audit.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def style_named(style: str | Style) -> Style:
    """A style by its name; a style as it is."""
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise SchemaError(f"no figure style is named {style!r}; {nearest(style, STYLES)}")
    return STYLES[style]


def _misfit(kind: str, error: Exception) -> SchemaError:
    return SchemaError(f"figure of kind {kind!r} has data that do not fit it ({error!r})")


def _parts(figure: Figure | Data) -> tuple[str, Data]:
    if isinstance(figure, Figure):
        return figure.kind, figure.data
    return str(figure["kind"]), figure["data"]


def _words(figure: Figure | Data) -> tuple[str, str]:
    if isinstance(figure, Figure):
        return figure.title, figure.alt
    return str(figure.get("title", "")), str(figure.get("alt", ""))
