r"""Calibration errors over equal-mass bins, and the smooth one, all on the same resamples.

Bins are cut once, on the data; a resample changes what is in them. Each statistic is a function of
per-prompt sums in the bins, kept as one sparse matrix, so a chunk of resamples costs one product.

With share :math:`w_b`, mean confidence :math:`c_b` and share correct :math:`a_b` of bin b:

- ECE :math:`\sum w_b |a_b - c_b|`, MCE :math:`\max |a_b - c_b|` (Naeini et al. 2015); as netcal.
- debiased ECE: twice the ECE less its expectation were :math:`a_b` redrawn from a normal of
  its own variance :math:`v_b` (Kumar et al. 2019, arXiv 1909.10155: the estimator for the l1
  error), in closed form; :math:`v_b` is cluster-robust and equals :math:`a_b (1 - a_b) / n_b`
  with one pair a prompt. Its bias is small and its sign free: it may be below zero.
- smooth ECE (Blasiok & Nakkiran 2023, arXiv 2309.12236): relplot's; the bootstrap keeps the
  kernel width.
- reliability :math:`\sum w_b (a_b - c_b)^2` and resolution :math:`\sum w_b (a_b - 1/2)^2`
  (Murphy 1973), on the bins and their mirror images of the symmetrised set; the uncertainty
  is the mean of :math:`(t - 1/2)^2`, 1/4 without votes. What is left of the Brier score is
  the spread within bins (Stephenson et al. 2008).
- after temperature: the temperature of a prompt is fitted on the other folds' prompts; the
  interval takes it as given.

Intervals are those of `deviation_interval`, for the population's value on the same bins; they
are widened to hold the value where that is above any plausible truth, as the plain ECE of a
calibrated model is.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack

from rmaudit.results import Estimate
from rmaudit.stats.bootstrap import jackknife_influence, resample_weights, tail_probability
from rmaudit.stats.calibration import cross_fitted_margins, fold
from rmaudit.stats.deviations import (
    METHOD,
    Size,
    absolute_sum,
    debiased_absolute_sum,
    deviation_interval,
    largest_absolute,
    square_sum,
)
from rmaudit.typing import Array, Float

BINS = 15
NO_TEMPERATURE = "the temperature is undefined on some fold of the prompts"
SIZES: dict[str, Size] = {
    "weighted": absolute_sum,
    "root": square_sum,
    "away": square_sum,
    "after": absolute_sum,
    "smoothed": absolute_sum,
}
# Beyond so many prompts, resamples draw blocks of random prompts: as good an interval (of so many
# blocks the standard error is known to 1 %, less than resampling itself adds), at a flat cost.
_MOST_PROMPTS, _BLOCKS = 10_000, 5_000
_GRID = (201, 2001)  # fewest and most points on which residuals are smoothed
_KEPT = 400  # of these, about how many are kept


@dataclass(frozen=True, slots=True)
class BinnedCalibration:
    """Errors defined above, as probabilities; zero is best, but for the resolution."""

    ece: Estimate
    mce: Estimate
    ece_debiased: Estimate
    smooth_ece: Estimate
    brier_reliability: Estimate
    brier_resolution: Estimate  # higher is better
    ece_after_temperature: Estimate


def equal_mass_edges(confidence: Array, bins: int = BINS) -> Float:
    """Edges of bins with equally many pairs, from 0 to 1, (at most bins + 1,).

    Quantiles of the confidences (n,), as in netcal; coinciding edges, where many confidences are
    equal, are merged. A bin holds its lower edge and not its upper one, but for the last.
    """
    edges = np.quantile(confidence, np.linspace(0, 1, bins + 1))
    inner = edges[1:-1]
    apart = np.diff(np.r_[0.0, inner]) > 1e-12
    return np.asarray(np.r_[0.0, inner[apart & (inner < 1 - 1e-12)], 1.0])


def bin_codes(confidence: Array, edges: Float) -> NDArray[np.int64]:
    """The bin of each confidence, (n,)."""
    return np.searchsorted(edges[1:-1], confidence, side="right").astype(np.int64)


def binned_calibration(
    margins: Array,
    clusters: Array,
    *,
    rng: np.random.Generator,
    targets: Array | None = None,
    bins: int = BINS,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> BinnedCalibration:
    """ECE, MCE, debiased and smooth ECE, Murphy's Brier split, and ECE after temperature scaling.

    Undefined for fewer than two prompts; after temperature scaling also where no temperature fits.

    Parameters
    ----------
    margins, clusters, targets
        (n,) each: finite margins, prompt codes, shares of votes for the chosen response (1 where
        they are left out).
    rng
        Source of randomness of the bootstrap and of the folds of the temperature.
    bins, resamples, confidence
        Number of equal-mass bins of the confidence ``max(p, 1 - p)``, number of bootstrap draws,
        confidence level of the two-sided intervals.
    """
    claimed, correct = fold(margins, targets)
    clusters = np.asarray(clusters, dtype=np.int64)
    codes = np.unique(clusters, return_inverse=True)[1]
    n_clusters = int(codes.max()) + 1 if codes.size else 0
    undefined = partial(
        Estimate.undefined, n=claimed.size, n_clusters=n_clusters, confidence=confidence
    )
    if n_clusters < 2:
        return BinnedCalibration(
            *[undefined("one prompt: no interval" if n_clusters else "no rows")] * 7
        )
    scaled = cross_fitted_margins(margins, codes, targets=targets, rng=rng)
    after = fold(margins if scaled is None else scaled, targets)
    sums = _Sums.build((claimed, correct), after, codes, bins)
    data, resampled = sums.draw(n_clusters, resamples, rng)
    influences = sums.influences(clusters)
    tail = tail_probability(n_clusters, confidence)

    def estimate(value: float, part: str, size: Size) -> Estimate:
        observed = getattr(data, part)
        low, high = deviation_interval(observed, getattr(resampled, part), size, tail=tail)
        # No calibration error and no part of the Brier score is above 1.
        low, high = min(low, value), min(max(high, value), 1.0)
        found = Estimate(value, low, high, confidence, METHOD, claimed.size, n_clusters)
        return replace(found, influence=influences.get(part))

    ece, mce = float(absolute_sum(data.weighted)), float(largest_absolute(data.gap))
    _hold_to_netcal(ece, mce, claimed, correct, bins)
    return BinnedCalibration(
        ece=estimate(ece, "weighted", absolute_sum),
        mce=estimate(mce, "gap", largest_absolute),
        ece_debiased=estimate(sums.debiased_ece(), "weighted", absolute_sum),
        smooth_ece=estimate(sums.smooth, "smoothed", absolute_sum),
        brier_reliability=estimate(float(square_sum(data.root)), "root", square_sum),
        brier_resolution=estimate(float(square_sum(data.away)), "away", square_sum),
        ece_after_temperature=undefined(NO_TEMPERATURE)
        if scaled is None
        else estimate(float(absolute_sum(data.after)), "after", absolute_sum),
    )


def _hold_to_netcal(ece: float, mce: float, claimed: Float, correct: Float, bins: int) -> None:
    """Stop if netcal's errors are others: wherever torch, which netcal needs, is loaded anyway."""
    if "torch" not in sys.modules:  # loading it takes longer than a whole audit of 10,000 pairs
        return
    from rmaudit.stats._netcal import netcal_ece, netcal_mce

    edges = equal_mass_edges(claimed, bins)
    theirs = netcal_ece(claimed, correct, edges), netcal_mce(claimed, correct, edges)
    if not np.allclose((ece, mce), theirs, rtol=0, atol=1e-9):
        raise ArithmeticError(f"ECE and MCE are {ece} and {mce}, by netcal {theirs}")


class Deviations(NamedTuple):
    """What the calibration errors are the sizes of, each (k,) or (b, k) for b resamples."""

    weighted: Float  # gaps (correct - confidence) of the bins, times the bin's share
    gap: Float  # gaps
    root: Float  # gaps, times the root of the share
    away: Float  # share correct less one half, times the root of the share
    after: Float  # as the first, after temperature scaling
    smoothed: Float  # smoothed residuals


@dataclass(frozen=True)
class _Sums:
    """Per-prompt sums in the bins, as a sparse matrix, and deviations from their weighted totals.

    Columns: per bin n, n * confidence, n * correct; per bin residuals after scaling; residuals on
    a grid of confidences.
    """

    matrix: Any  # (n_columns, n_clusters), a sparse array, or a plain one of blocks
    bins: int
    bins_after: int
    smoother: Float | None  # (grid points, kept): what each adds to the smoothed residuals that are
    # kept; None where the matrix has been smoothed
    smooth: float  # relplot's smooth ECE, which is the absolute sum of the smoothed residuals

    @classmethod
    def build(
        cls, before: tuple[Float, Float], after: tuple[Float, Float], codes: Array, bins: int
    ) -> _Sums:
        from rmaudit.stats._relplot import relplot_smooth_ece

        smooth, width = relplot_smooth_ece(*before)
        edges, edges_after = equal_mass_edges(before[0], bins), equal_mass_edges(after[0], bins)
        place = bin_codes(before[0], edges)
        columns = [
            _table(np.ones(codes.size), codes, place, len(edges) - 1),
            _table(before[0], codes, place, len(edges) - 1),
            _table(before[1], codes, place, len(edges) - 1),
            _table(
                after[1] - after[0], codes, bin_codes(after[0], edges_after), len(edges_after) - 1
            ),
            _grid_sums(*before, codes, width),
        ]
        matrix = csr_array(hstack(columns).T)
        smoother = _smoother(columns[-1].shape[1], width)
        sums = cls(matrix, len(edges) - 1, len(edges_after) - 1, smoother, smooth)
        own = float(absolute_sum(sums.deviations(np.ones((1, int(codes.max()) + 1))).smoothed)[0])
        return replace(sums, smoother=smoother * (smooth / own)) if own > 0 else sums

    def draw(
        self, n_clusters: int, resamples: int, rng: np.random.Generator
    ) -> tuple[Deviations, Deviations]:
        """Deviations of the data, (k,) each, and of resamples, (resamples, k) each."""
        data = self.deviations(np.ones((1, n_clusters)))
        sums, units = self, n_clusters
        if n_clusters > _MOST_PROMPTS:
            sums, units = self.in_blocks(n_clusters, rng), _BLOCKS
        draws = [sums.deviations(chunk) for chunk in resample_weights(units, resamples, rng)]
        joined = Deviations(*(np.concatenate(parts) for parts in zip(*draws, strict=True)))
        return Deviations(*(part[0] for part in data)), joined

    def in_blocks(self, n_clusters: int, rng: np.random.Generator) -> _Sums:
        """The same sums by block of random prompts, all blocks of one size."""
        block = rng.permutation(n_clusters) % _BLOCKS
        ones = np.ones(n_clusters)
        members = csr_array((ones, (block, np.arange(n_clusters))), (_BLOCKS, n_clusters))
        matrix = (members @ self.matrix.T).toarray().T
        stop = 3 * self.bins + self.bins_after
        # Few blocks and many resamples: what is smoothed once need not be with each of these.
        smoothed = matrix[stop:] if self.smoother is None else self.smoother.T @ matrix[stop:]
        return replace(self, matrix=np.concatenate([matrix[:stop], smoothed]), smoother=None)

    def deviations(self, weights: Float) -> Deviations:
        """Deviations under prompt weights (b, n_clusters)."""
        totals = (self.matrix @ np.ascontiguousarray(weights.T)).T  # (b, n_columns)
        k, stop = self.bins, 3 * self.bins + self.bins_after
        size, claimed, correct = totals[:, :k], totals[:, k : 2 * k], totals[:, 2 * k : 3 * k]
        total = size.sum(axis=1, keepdims=True)
        some = np.maximum(size, 1e-9)  # an empty bin deviates by nothing
        root = np.sqrt(some * total)
        grid = totals[:, stop:]
        return Deviations(
            weighted=(correct - claimed) / total,
            gap=(correct - claimed) / some,
            root=(correct - claimed) / root,
            away=(correct - size / 2) / root,
            after=totals[:, 3 * k : stop] / total,
            smoothed=(grid if self.smoother is None else grid @ self.smoother) / total,
        )

    def influences(self, clusters: NDArray[np.int64]) -> dict[str, Float]:
        """Each prompt's contribution to the sizes of the deviations, by cluster code.

        Debiasing an ECE changes its value and, to first order, not its error. A largest deviation
        has no such linearisation: which bin it is in changes.
        """

        def sizes(weights: Float) -> Float:
            found = self.deviations(weights)
            return np.stack([size(getattr(found, part)) for part, size in SIZES.items()], axis=1)

        influence = jackknife_influence(sizes, clusters)  # (n_codes, len(SIZES))
        return {} if influence is None else dict(zip(SIZES, influence.T, strict=True))

    def debiased_ece(self) -> float:
        """Twice the ECE less its expectation with each bin's share correct redrawn."""
        k = self.bins
        parts = [csr_array(self.matrix[i * k : (i + 1) * k]) for i in range(3)]  # (bins, clusters)
        size, claimed, correct = (np.asarray(part.sum(axis=1)) for part in parts)
        share, some = size / size.sum(), np.maximum(size, 1e-9)
        gap, accuracy = np.abs(correct - claimed) / some, correct / some
        # A prompt's rows in a bin go together: its squared sum of (correct - accuracy).
        squares = [parts[2] * parts[2], parts[2] * parts[0], parts[0] * parts[0]]
        right, cross, count = (np.asarray(part.sum(axis=1)) for part in squares)
        spread = np.sqrt(np.maximum(right - 2 * accuracy * cross + accuracy**2 * count, 0)) / some
        return debiased_absolute_sum(share * gap, share * spread)


def _table(values: Float, codes: Array, columns: Array, n_columns: int) -> csr_array:
    """Sums per cluster and column, (n_clusters, n_columns), sparse."""
    table = coo_array((values, (codes, columns)), (int(codes.max()) + 1, n_columns))
    return csr_array(table)


def _smoother(points: int, width: float) -> Float:
    """A Gaussian kernel on a grid from 0 to 1, mirrored at its ends, (points, kept).

    A matrix, for thousands of resamples are smoothed with it. Kept are about 400 points: a
    confidence is at least one half, and four widths below that nothing is smoothed to.
    """
    start = int(max(0.5 - 4 * width, 0.0) * (points - 1))
    kept = np.arange(start, points, max(1, points // _KEPT))
    reach = int(4 * width * (points - 1) + 0.5)
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (steps / (width * (points - 1))) ** 2)
    # To and fro: a mirrored grid repeats after 2 (points - 1) steps.
    place = np.abs(kept[:, None] + steps) % (2 * (points - 1))
    place = np.minimum(place, 2 * (points - 1) - place)
    smoother = np.zeros((points, len(kept)))
    np.add.at(smoother, (place, np.arange(len(kept))[:, None]), kernel / kernel.sum())
    return smoother


def _grid_sums(claimed: Float, correct: Float, codes: Array, width: float) -> csr_array:
    """Residuals shared out between the two nearest points of a grid on 0 .. 1."""
    points = int(np.clip(round(10 / width) + 1, *_GRID))
    position = claimed * (points - 1)
    left = np.minimum(position.astype(np.int64), points - 2)
    part, residual = position - left, correct - claimed
    values = np.r_[(1 - part) * residual, part * residual]
    return _table(values, np.r_[codes, codes], np.r_[left, left + 1], points)
