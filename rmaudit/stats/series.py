r"""Means over windows of one time series, with errors that know of its dependence.

A logged run is a slow trend plus noise whose neighbouring steps depend on each other. The noise is
taken as AR(1), :math:`e_t = \phi e_{t-1} + u_t`. The trend, a regression spline, takes part of the
noise with it, so residuals look less dependent than the noise is: :math:`\phi` is the value at
which the expected lag-one correlation of the residuals, computed exactly, is the one seen. Errors
of window means follow from :math:`\phi` and the noise's variance; Student's degrees of freedom
count what both were estimated from (Satterthwaite 1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import matmul_toeplitz
from scipy.special import stdtrit

from rmaudit.results import Estimate
from rmaudit.typing import Float

PHIS = np.concatenate([np.arange(0.0, 0.9, 0.05), [0.9, 0.93, 0.95, 0.97, 0.98]])
DRAWS = 4000  # of the joint law of the points, for simultaneous bounds
LEAST_FOR_PHI = 12  # values of a series, below which dependence cannot be estimated
PHI_UNKNOWN = 0.5  # of so short a series of neighbouring steps


@dataclass(frozen=True)
class Noise:
    """AR(1) noise around a trend."""

    phi: float  # correlation of neighbouring values, >= 0
    variance: float  # of one value
    freedom: float  # degrees of freedom of the variance of a mean


@dataclass(frozen=True)
class Points:
    """Means with their joint error, Student's t with `freedom` degrees."""

    value: Float  # (p,)
    covariance: Float  # (p, p)
    freedom: float
    n: int  # values that they were made from
    runs: int = 1  # independent runs, where their spread is the error; 1: one time series
    prompts: int = 0  # clusters, where the spread of the prompts is the error; 0: it is not

    def estimate(
        self, value: float, low: float, high: float, confidence: float, method: str = ""
    ) -> Estimate:
        """A number that follows from the points."""
        how = "by prompt" if self.prompts else "AR(1)" if self.runs == 1 else "over runs"
        told = "; ".join(filter(None, [how, method]))
        return Estimate(value, low, high, confidence, told, self.n, self.clusters)

    def undefined(self, reason: str, confidence: float) -> Estimate:
        """A number that does not, and why."""
        return Estimate.undefined(reason, n=self.n, n_clusters=self.clusters, confidence=confidence)

    @property
    def clusters(self) -> int:
        """Independent parts that the error was estimated from."""
        return self.prompts or (len(self.value) if self.runs == 1 else self.runs)

    def error(self, of: Float) -> float:
        """Standard error of a linear combination, (p,)."""
        return math.sqrt(max(float(of @ self.covariance @ of), 0.0))

    def quantile(self, level: float) -> float:
        """Of Student's t."""
        return float(stdtrit(self.freedom, level))

    def draws(self, rng: np.random.Generator, count: int = DRAWS) -> Float:
        """Errors of the points under their joint law, (count, p)."""
        vectors = _root(self.covariance)
        normal = rng.standard_normal((count, len(self.value))) @ vectors.T
        scale = rng.chisquare(self.freedom, count) / self.freedom
        return np.asarray(normal / np.sqrt(scale)[:, None])


def noise_of(
    values: Float, *, phi: float | None = None, cautious: float = 0.0, turns: bool = False
) -> Noise | None:
    """The noise of a series around its trend, equally spaced; None of fewer than three values.

    Parameters
    ----------
    values
        (n,), finite.
    phi
        The dependence where it is known; else it is estimated, or `PHI_UNKNOWN` of a series too
        short for that.
    cautious
        Standard errors by which an estimated `phi` is raised.
    turns
        Whether the trend may have a corner at its highest place, which would else count as noise.
    """
    n = values.size
    if n < 3:
        return None
    basis = _cornered(values) if turns and n >= LEAST_FOR_PHI else _trend(n)
    residual = values - basis @ (basis.T @ values)
    square = float(residual @ residual)
    floor = 1e-24 * float(values @ values)
    estimated = phi is None and n >= LEAST_FOR_PHI
    if phi is None:
        phi = PHI_UNKNOWN
        if n >= LEAST_FOR_PHI and square > floor:
            phi = _unbiased_phi(basis, float(residual[1:] @ residual[:-1]) / square)
            phi += cautious * math.sqrt((1 - phi**2) / max(n - basis.shape[1], 1))
            phi = min(phi, float(PHIS[-1]))
    level, _, spread = _expected(basis, phi)
    variance = max(square, floor) / level
    freedom = level**2 / spread
    relative = 2 / freedom
    if estimated:  # that phi is an estimate, by the delta method on (1 + phi) / (1 - phi)
        slope = 2 / (1 - phi**2)
        relative += slope**2 * (1 - phi**2) / max(n - basis.shape[1], 1)
    return Noise(phi, variance, max(2 / relative, 1.0))


def window_means(values: Float, places: Float, edges: Float, noise: Noise) -> Points:
    """Means of a series over windows, with their joint error.

    Parameters
    ----------
    values
        (n,), finite.
    places
        Where they stand, (n,), ascending.
    edges
        (p + 1,): the i-th window holds the values from ``edges[i]`` up to before ``edges[i + 1]``;
        none is empty.
    noise
        Of the values.
    """
    window = np.searchsorted(edges, places, side="right") - 1
    weights = (window == np.arange(edges.size - 1)[:, None]).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    column = noise.phi ** np.arange(values.size)
    covariance = weights @ matmul_toeplitz(column, weights.T) * noise.variance
    return Points(weights @ values, covariance, noise.freedom, values.size)


def highest_over(
    points: Points, against: int, rng: np.random.Generator, *, confidence: float = 0.95
) -> Estimate:
    """How far the highest point lies above a given one: ``max_j m_j - m_against``, at least 0.

    The lower bound holds for all points at once (the highest is picked by the data); the upper one
    need hold for the true highest point alone (Chernozhukov, Lee & Rosen 2013, Econometrica 81).
    """
    contrast = np.eye(len(points.value)) - np.eye(len(points.value))[against]
    gains = contrast @ points.value
    errors = np.array([points.error(row) for row in contrast])
    best = int(np.argmax(gains))
    tail = (1 + confidence) / 2
    free = errors > 0
    # Points that are clearly lower cannot be the highest: they cost the bound nothing.
    rival = free & (gains >= gains[best] - 2 * points.quantile(tail) * errors - 1e-300)
    drawn = points.draws(rng) @ contrast.T
    critical = points.quantile(tail)
    if rival.sum() > 1:
        largest = (drawn[:, rival] / errors[rival]).max(axis=1)
        # With rivals the upper bound almost never fails: all of the risk is the lower one's.
        critical = max(critical, float(np.quantile(largest, confidence)))
    low = max(float((gains - critical * errors).max()), 0.0)
    high = float((gains + points.quantile(tail) * errors).max())
    return points.estimate(float(gains[best]), low, high, confidence)


def argmax_set(
    points: Points, rng: np.random.Generator, *, confidence: float = 0.95
) -> NDArray[np.bool_]:
    """Points that may be the highest, (p,): the truth is among them with the given confidence.

    A point is left out where some other is higher by more than noise, for all others at once.
    """
    p = len(points.value)
    drawn = points.draws(rng)
    inside = np.ones(p, dtype=np.bool_)
    for k in range(p):
        contrast = np.delete(np.eye(p) - np.eye(p)[k], k, axis=0)
        errors = np.array([points.error(row) for row in contrast])
        higher = contrast @ points.value
        free = errors > 0
        inside[k] = not np.any(higher[~free] > 0)  # without an error what is higher is higher
        if not free.any():
            continue
        largest = ((drawn @ contrast[free].T) / errors[free]).max(axis=1)
        critical = float(np.quantile(largest, confidence))
        inside[k] &= bool(np.all(higher[free] / errors[free] <= critical))
    inside[int(np.argmax(points.value))] = True
    return inside


@lru_cache(maxsize=512)
def _trend(n: int) -> Float:
    """An orthonormal basis of slow trends, (n, q): knots are closer at the start of a run."""
    place = np.sqrt(np.linspace(0.0, 1.0, n))
    q = 2 if n < 5 else 3 if n < 8 else 4 if n < 12 else 5 if n < 30 else 7 if n < 60 else 8
    q += min(max(n - 60, 0) // 20, 6)
    if q < 5:
        basis = np.vander(place, q)
    else:
        inner = np.linspace(0, 1, q - 2)
        knots = np.concatenate([[0.0] * 3, inner, [1.0] * 3])
        basis = BSpline.design_matrix(place, knots, 3).toarray()
    return np.asarray(np.linalg.qr(basis)[0])


def _cornered(values: Float) -> Float:
    """The trend's basis with a corner where a moving average of the values is highest."""
    n = values.size
    width = max(3, n // 20)
    smooth = np.convolve(values, np.ones(width) / width, mode="valid")
    corner = int(np.argmax(smooth)) + width // 2
    hinge = np.maximum(np.arange(n) - corner, 0.0)
    if not 2 <= corner <= n - 3:
        return _trend(n)
    return np.asarray(np.linalg.qr(np.column_stack([_trend(n), hinge / n]))[0])


def _expected(basis: Float, phi: float) -> tuple[float, float, float]:
    """Of the residuals of AR(1) noise of variance 1: sums of squares and of lag products, spread.

    `spread` is half the variance of the sum of squares: with M the projection off the trend and S
    the noise's covariance, tr(M S), the sum of the first off-diagonal of M S M, and tr(M S M S).
    """
    n = len(basis)
    column = phi ** np.arange(n)
    moved = np.asarray(matmul_toeplitz(column, basis))  # (n, q): S Q
    inner = basis.T @ moved
    level = n - float(np.trace(inner))
    lag = (n - 1) * phi
    lag -= float(np.sum(basis[:-1] * moved[1:]) + np.sum(moved[:-1] * basis[1:]))
    lag += float(np.sum((basis[:-1] @ inner) * basis[1:]))
    squares = column**2
    total = n + 2 * float(np.sum((n - np.arange(1, n)) * squares[1:]))
    spread = total - 2 * float(np.sum(moved**2)) + float(np.sum(inner**2))
    return level, lag, max(spread, 1e-12)


def _unbiased_phi(basis: Float, seen: float) -> float:
    """The phi at which the residuals' lag-one correlation is expected to be the one seen."""
    if basis is _trend(len(basis)):  # of a long run's looks: kept
        return float(np.interp(seen, _seen_at(len(basis)), PHIS))
    low, high = 0, len(PHIS) - 1
    ends = [_seen(basis, low), _seen(basis, high)]
    while high - low > 1:  # what is expected rises with phi
        middle = (low + high) // 2
        value = _seen(basis, middle)
        if value <= seen:
            low, ends[0] = middle, value
        else:
            high, ends[1] = middle, value
    return float(np.interp(seen, ends, PHIS[[low, high]]))


@lru_cache(maxsize=512)
def _seen_at(n: int) -> Float:
    """The expected lag-one correlation of the residuals at each of `PHIS`, never falling."""
    return np.maximum.accumulate([_seen(_trend(n), k) for k in range(len(PHIS))])


def _seen(basis: Float, place: int) -> float:
    level, lag, _ = _expected(basis, float(PHIS[place]))
    return lag / level


def _root(covariance: Float) -> Float:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))
