"""The one door to relplot, which loads matplotlib: import this module inside a function, on use."""

from __future__ import annotations

import numpy as np
from relplot.kernels import ReflectedGaussianKernel
from relplot.metrics import smECE

from rmaudit.typing import Float


def relplot_smooth_ece(confidence: Float, correct: Float) -> tuple[float, float]:
    """Smooth ECE of (n,) confidences and the kernel width that it chose. Deterministic, O(n)."""
    value, width = smECE(confidence, correct, return_width=True)
    return float(value), float(width)


def relplot_curve(confidence: Float, correct: Float, width: float, at: Float) -> Float:
    """Kernel-smoothed share correct at the confidences `at` (m,), by smoothing the residuals."""
    grid = np.linspace(0, 1, 1001)
    residual, _ = ReflectedGaussianKernel(max(width, 0.01)).smooth(
        confidence, correct - confidence, grid
    )
    return np.asarray(at + np.interp(at, grid, residual), dtype=np.float64)
