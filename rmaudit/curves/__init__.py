"""Curves of over-optimisation as tables and figures, and readers of the logs of RL runs."""

from rmaudit.curves.study import (
    COLUMNS,
    METHOD_NAMES,
    Study,
    curve_frame,
    fit_frame,
    gain_figure,
    study,
)

__all__ = [
    "COLUMNS",
    "METHOD_NAMES",
    "Study",
    "curve_frame",
    "fit_frame",
    "gain_figure",
    "study",
]
