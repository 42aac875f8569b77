"""The registry of figure kinds: what draws the data of a figure, and how high it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rmaudit.errors import SchemaError
from rmaudit.plots.style import Style
from rmaudit.registry import Registry

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Data = Mapping[str, Any]
Draw = TypeVar("Draw", bound="Callable[[Axes, Data], None]")
Height = Callable[[Data, Style], float]
Shows = Callable[[Data], bool]


def usual_height(data: Data, style: Style) -> float:
    """Inches of a figure whose data do not ask for more."""
    return min(style.width * 0.6, 3.2)


def line_height(style: Style) -> float:
    """Inches that a row of labels takes."""
    return style.font_size / 72 * 1.75


def always(data: Data) -> bool:
    """That there is something to draw, for kinds that do not say."""
    return True


@dataclass(frozen=True, slots=True)
class FigureKind:
    """How figures of a kind are drawn on axes, their height in inches, and if data show anything.

    Data that show nothing (not one finite number) are not handed to `draw`.
    """

    draw: Callable[[Axes, Data], None]
    height: Height
    shows: Shows = always


FIGURES: Registry[FigureKind] = Registry(
    "figure kind", "rmaudit.plots", "rmaudit.figures", SchemaError
)


def figure_kind(
    name: str, height: Height = usual_height, shows: Shows = always
) -> Callable[[Draw], Draw]:
    """Function decorator: makes what draws on ``(axes, data)`` known as a kind of figure.

    The data are those of a `rmaudit.results.Figure`, plain JSON values; data that do not fit may
    raise KeyError, TypeError, ValueError or IndexError. Plugins: entry points of the group
    ``rmaudit.figures``.
    """

    def register(draw: Draw) -> Draw:
        FIGURES.add(name, FigureKind(draw, height, shows), draw.__module__)
        return draw

    return register
