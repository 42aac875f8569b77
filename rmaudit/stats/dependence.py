r"""How much the means of a dependent series may differ by chance, its dependence being unknown.

The series is a slow trend plus AR(1) noise, :math:`e_t = \phi e_{t-1} + u_t`. An estimate of
:math:`\phi` that is too low by chance makes noise look like a change, so none is plugged in: a
p-value is averaged over what the residuals say of :math:`\phi`, by their restricted likelihood
(Patterson & Thompson 1971) under a flat prior from 0 to `HIGHEST_PHI`. Given :math:`\phi` the
variance is known as in any regression, and the p-value is Student's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import BSpline
from scipy.special import stdtr

from rmaudit.typing import Float

HIGHEST_PHI = 0.84  # dependence beyond it is not allowed for: see the false alarms of the monitor
PHIS: Float = np.linspace(0.0, HIGHEST_PHI, 22)
TREND = 6  # functions of the trend; a trend that they miss counts as noise


@dataclass(frozen=True)
class NoiseBelief:
    """AR(1) noise around a trend, as far as a series tells it.

    Attributes
    ----------
    weight : ndarray, (n_phis,)
        Of each of `PHIS`; they sum to 1.
    variance : ndarray, (n_phis,)
        Of one value, if that phi is the true one.
    freedom : float
        Student's degrees of freedom.
    """

    weight: Float
    variance: Float
    freedom: float

    def p_value(self, difference: float, sizes: tuple[int, int]) -> float:
        """One-sided p-value of a difference of the means of two windows, of `sizes` values.

        The windows are taken as independent: neighbours go together, which makes their difference
        smaller by chance, not larger.
        """
        parts = variance_of_mean(sizes[0], PHIS) + variance_of_mean(sizes[1], PHIS)
        reached = difference / np.sqrt(np.maximum(self.variance * parts, 1e-300))
        return float(self.weight @ stdtr(self.freedom, -reached))


def noise_belief(values: Float) -> NoiseBelief:
    """What a series says of its noise.

    Parameters
    ----------
    values
        (n,), equally spaced, finite, more than `TREND`.
    """
    n = values.size
    basis, a, b, c = _trend(n)
    # The inverse covariance is tridiagonal, so every quadratic form is a polynomial in phi.
    residual = values - basis @ (basis.T @ values)
    square = float(residual @ residual)
    lag = 2 * float(residual[1:] @ residual[:-1])
    inner = float(residual[1:-1] @ residual[1:-1])
    across = basis[1:].T @ residual[:-1] + basis[:-1].T @ residual[1:]
    inside = basis[1:-1].T @ residual[1:-1]
    shape = (PHIS.size, 1, 1)
    matrix = a - PHIS.reshape(shape) * b + PHIS.reshape(shape) ** 2 * c
    right = -PHIS[:, None] * across + PHIS[:, None] ** 2 * inside
    explained = (right * np.linalg.solve(matrix, right[..., None])[..., 0]).sum(axis=1)
    left = square - PHIS * lag + PHIS**2 * inner - explained
    left = np.maximum(left, max(1e-12 * square, 1e-24 * float(values @ values), 1e-300))
    log_weight = 0.5 * np.log1p(-(PHIS**2)) - 0.5 * np.linalg.slogdet(matrix)[1]
    log_weight -= (n - TREND) / 2 * np.log(left)
    weight = np.exp(log_weight - log_weight.max())
    return NoiseBelief(weight / weight.sum(), left / (n - TREND) / (1 - PHIS**2), float(n - TREND))


def variance_of_mean(n: int, phi: Float) -> Float:
    """Of the mean of `n` successive values of AR(1) noise of variance 1, at each phi below 1."""
    return np.asarray(((1 + phi) / (1 - phi) - 2 * phi * (1 - phi**n) / (n * (1 - phi) ** 2)) / n)


@lru_cache(maxsize=256)
def _trend(n: int) -> tuple[Float, Float, Float, Float]:
    """An orthonormal basis of slow trends, (n, TREND), and its products at the lags needed."""
    place = np.sqrt(np.linspace(0.0, 1.0, n))  # knots are closer at the start of a run
    knots = np.concatenate([[0.0] * 3, np.linspace(0, 1, TREND - 2), [1.0] * 3])
    basis = np.linalg.qr(BSpline.design_matrix(place, knots, 3).toarray())[0]
    lagged = basis[1:].T @ basis[:-1]
    return basis, basis.T @ basis, lagged + lagged.T, basis[1:-1].T @ basis[1:-1]
