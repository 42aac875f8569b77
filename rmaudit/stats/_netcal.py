"""The one door to netcal, which loads torch: import this module inside a function, on use."""

from __future__ import annotations

from typing import Any

import numpy as np
from netcal.metrics import ECE, MCE
from numpy.typing import NDArray


def netcal_ece(
    confidence: NDArray[np.float64], correct: NDArray[np.float64], edges: NDArray[np.float64]
) -> float:
    """Expected calibration error of (n,) confidences on given bin edges."""
    return _measure(ECE, confidence, correct, edges)


def netcal_mce(
    confidence: NDArray[np.float64], correct: NDArray[np.float64], edges: NDArray[np.float64]
) -> float:
    """Maximum calibration error of (n,) confidences on given bin edges."""
    return _measure(MCE, confidence, correct, edges)


def _measure(
    metric: Any,
    confidence: NDArray[np.float64],
    correct: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> float:
    class OnEdges(metric):  # type: ignore[misc]
        # netcal's own equal-mass edges coincide where confidences are tied, and it then raises.
        def _prepare_bins(self, X: list[Any], *_: Any, **__: Any) -> list[list[Any]]:
            return [[edges] for _ in X]

    # Detection mode takes the targets as they are; else shares of votes are read as class numbers.
    measure = OnEdges(bins=len(edges) - 1, equal_intervals=False, detection=True).measure
    return float(measure(confidence[:, None], correct))
