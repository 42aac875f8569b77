"""The numbers of a reliability diagram: what the model claims against how often it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmaudit.results import Estimate
from rmaudit.stats.binning import BINS, bin_codes, equal_mass_edges
from rmaudit.stats.calibration import fold
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Array, Float

_CELLS = 4_000_000  # simulated answers held at once
_NORMAL = 20_000  # answers, beyond which their sum is normal to any digit that is shown
_POINTS = 60  # of the smooth curve


@dataclass(frozen=True, slots=True)
class ReliabilityDiagram:
    """One entry a bin, (n_bins,), in order of confidence; the curve has its own points."""

    confidence: Float  # mean confidence of the bin
    accuracy: tuple[Estimate, ...]  # share correct, with the bin's interval
    count: NDArray[np.int64]  # pairs
    band_low: Float  # where a perfectly calibrated model's share correct lies
    band_high: Float
    curve_x: Float  # kernel-smoothed share correct, (60,)
    curve_y: Float


def reliability_diagram(
    margins: Array,
    clusters: Array,
    *,
    rng: np.random.Generator,
    targets: Array | None = None,
    votes: Array | None = None,
    bins: int = BINS,
    simulations: int = 1000,
    confidence: float = 0.95,
) -> ReliabilityDiagram:
    """Bins of the folded set with a consistency band, and the smooth curve of relplot.

    Parameters
    ----------
    margins, clusters, targets
        As in `binned_calibration`; at least one row.
    rng, simulations, confidence
        Of the band: in each simulation every vote is right with the probability that the model
        claims; the band holds the central part of a bin's shares correct (Broecker & Smith 2007).
    votes
        Annotators a pair, (n,); one by default.
    """
    from rmaudit.stats._relplot import relplot_curve, relplot_smooth_ece

    claimed, correct = fold(margins, targets)
    codes = np.asarray(clusters, dtype=np.int64)
    edges = equal_mass_edges(claimed, bins)
    place = bin_codes(claimed, edges)
    used = np.unique(place)
    trials = np.ones(claimed.size, np.int64) if votes is None else np.asarray(votes, np.int64)
    parts = [np.flatnonzero(place == bin_) for bin_ in used]
    shares = [_simulated(claimed[rows], trials[rows], simulations, rng) for rows in parts]
    low, high = np.quantile(shares, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    accuracy = [
        cluster_mean(correct[rows], codes[rows], confidence=confidence, bounds=(0.0, 1.0))
        for rows in parts
    ]
    count = np.bincount(place)[used]
    _, width = relplot_smooth_ece(claimed, correct)
    x = np.linspace(claimed.min(), claimed.max(), _POINTS)
    return ReliabilityDiagram(
        confidence=np.bincount(place, claimed)[used] / count,
        accuracy=tuple(accuracy),
        count=count.astype(np.int64),
        band_low=low,
        band_high=high,
        curve_x=x,
        curve_y=np.clip(relplot_curve(claimed, correct, width, x), 0.0, 1.0),
    )


def _simulated(
    claimed: Float, trials: NDArray[np.int64], simulations: int, rng: np.random.Generator
) -> Float:
    """Share correct of a bin in each simulation, (simulations,)."""
    if claimed.size > _NORMAL:
        variance = float(np.sum(claimed * (1 - claimed) / trials))
        return rng.normal(float(claimed.mean()), math.sqrt(variance) / claimed.size, simulations)
    total = np.zeros(simulations)
    step = max(1, _CELLS // simulations)
    for start in range(0, claimed.size, step):
        p, k = claimed[start : start + step, None], trials[start : start + step, None]
        if (k == 1).all():  # one draw of a uniform is much cheaper than a binomial one
            total += (rng.random((p.size, simulations), dtype=np.float32) < p).sum(axis=0)
        else:
            total += (rng.binomial(k, p, size=(p.size, simulations)) / k).sum(axis=0)
    return total / claimed.size
