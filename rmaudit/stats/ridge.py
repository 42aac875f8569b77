"""Ridge logistic regression of sparse rows, to a stated gradient."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.special import expit

from rmaudit.typing import Float

TOLERANCE = 1e-6  # of the gradient's length at zero
MOST_STEPS = 50  # of Newton's method; a handful are needed
MOST_TURNS = 200  # of conjugate gradients in one step
HALVINGS = 30


class Ridge:
    r"""Coefficients :math:`w` that minimise :math:`|w|^2/2 + \sum_i m_i \log(1 + e^{-x_i w})`.

    Rows :math:`x_i` are signed: the features of what won minus those of what lost. There is no
    intercept. Newton's method with conjugate gradients (Dembo, Eisenstat & Steihaug 1982),
    whose matrix is never built; the problem is convex, and the step is halved until it descends.

    Parameters
    ----------
    rows
        (n, k), finite.
    """

    def __init__(self, rows: sparse.csr_array) -> None:
        self.rows = sparse.csr_array(rows, dtype=np.float64)
        self.columns = sparse.csr_array(self.rows.T)
        self.squares = self.columns.multiply(self.columns).tocsr()

    def fit(self, used: Float, start: Float | None = None, tolerance: float = TOLERANCE) -> Float:
        """Coefficients, (k,), whose gradient is at most `tolerance` times that at zero.

        Rows thousands long, which no standardised feature is, may stop short, at 50 steps.

        Parameters
        ----------
        used
            Weight of each row, (n,), zero or more: 0 leaves a row out.
        start
            Coefficients to start from, (k,): those of nearly the same rows save steps.
        tolerance
            Where to stop.
        """
        first = float(np.linalg.norm(self.columns @ (0.5 * used)))
        w = np.zeros(self.rows.shape[1]) if start is None else start
        odds = self.rows @ w
        value = self._value(w, odds, used)
        for _ in range(MOST_STEPS):
            gradient = w - self.columns @ (used * expit(-odds))
            if np.linalg.norm(gradient) <= tolerance * first:
                break
            step = self._step(gradient, used * expit(odds) * expit(-odds))
            change, slope = self.rows @ step, float(gradient @ step)
            size = 1.0
            for _ in range(HALVINGS):
                lower = self._value(w + size * step, odds + size * change, used)
                if lower <= value + 1e-4 * size * slope + 1e-12 * abs(value):
                    break
                size /= 2
            w, odds, value = w + size * step, odds + size * change, lower
        return w

    @staticmethod
    def _value(w: Float, odds: Float, used: Float) -> float:
        return float(w @ w / 2 + used @ np.logaddexp(0, -odds))

    def _step(self, gradient: Float, curvature: Float) -> Float:
        """Newton's step to a tenth of the gradient, (k,), preconditioned by the diagonal."""
        diagonal = 1 + self.squares @ curvature
        step, left = np.zeros_like(gradient), -gradient
        enough = 0.1 * np.linalg.norm(gradient)
        scaled = left / diagonal
        along, fit = scaled, float(left @ scaled)
        for _ in range(MOST_TURNS):
            bent = along + self.columns @ (curvature * (self.rows @ along))
            reach = fit / float(along @ bent)
            step = step + reach * along
            left = left - reach * bent
            if np.linalg.norm(left) <= enough:
                break
            scaled = left / diagonal
            fit, before = float(left @ scaled), fit
            along = scaled + fit / before * along
        return step
