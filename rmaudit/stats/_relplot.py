"""The one door to relplot: import this module inside a function, on use.

Its kernels and metrics alone: what the package itself loads, pyplot, seaborn and ensembles of
scikit-learn, takes longer than an audit's statistics, and draws nothing here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np

from rmaudit.typing import Float

_PARTS = f"{__name__}_parts"


def _part(name: str) -> ModuleType:
    """A module of relplot, in a package of our own that has no other."""
    if _PARTS not in sys.modules:
        spec = find_spec("relplot")
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError("No module named 'relplot'", name="relplot")
        package = ModuleType(_PARTS)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[_PARTS] = package
    return import_module(f"{_PARTS}.{name}")


def relplot_smooth_ece(confidence: Float, correct: Float) -> tuple[float, float]:
    """Smooth ECE of (n,) confidences and the kernel width that it chose. Deterministic, O(n)."""
    value, width = _part("metrics").smECE(confidence, correct, return_width=True)
    return float(value), float(width)


def relplot_curve(confidence: Float, correct: Float, width: float, at: Float) -> Float:
    """Kernel-smoothed share correct at the confidences `at` (m,), by smoothing the residuals."""
    grid = np.linspace(0, 1, 1001)
    residual, _ = (
        _part("kernels")
        .ReflectedGaussianKernel(max(width, 0.01))
        .smooth(confidence, correct - confidence, grid)
    )
    return np.asarray(at + np.interp(at, grid, residual), dtype=np.float64)
