"""Ridge logistic regression of sparse rows, to a stated gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.optimize import minimize
from scipy.special import expit

from rmaudit.typing import Float

TOLERANCE = 1e-6  # of the gradient's length at zero
MOST_STEPS = 500  # of the trust region's; a handful are needed
FIRST_RADIUS = 10.0  # of the trust region, in the coefficients' units: log odds


class Ridge:
    r"""Coefficients :math:`w` that minimise :math:`|w|^2/2 + \sum_i m_i \log(1 + e^{-x_i w})`.

    Rows :math:`x_i` are signed: the features of what won minus those of what lost. There is no
    intercept. The method is SciPy's ``trust-ncg``, Newton's with conjugate gradients (Steihaug
    1983): the matrix of second derivatives is never built.

    Parameters
    ----------
    rows
        (n, k), finite.
    """

    def __init__(self, rows: sparse.csr_array) -> None:
        narrow = max(rows.nnz, *rows.shape) < 2**31  # a product is as fast as memory gives indices
        index = np.int32 if narrow else np.int64
        parts = (
            rows.data.astype(np.float64),
            rows.indices.astype(index),
            rows.indptr.astype(index),
        )
        self.rows: Any = sparse.csr_array(parts, shape=rows.shape)
        self.columns: Any = sparse.csr_array(self.rows.T)

    def fit(self, used: Float, start: Float | None = None, tolerance: float = TOLERANCE) -> Float:
        """Coefficients, (k,), whose gradient is at most `tolerance` times that at zero.

        Rows thousands long, which no standardised feature is, may stop short of it.

        Parameters
        ----------
        used
            Weight of each row, (n,), zero or more: 0 leaves a row out.
        start
            Coefficients to start from, (k,): those of nearly the same rows save steps.
        tolerance
            Where to stop.
        """

        def value(w: Float) -> tuple[float, Float]:
            odds = self.rows @ w
            lost = float(w @ w / 2 + used @ np.logaddexp(0, -odds))
            return lost, w - self.columns @ (used * expit(-odds))

        at: list[Float] = []  # the coefficients at which the curvature was taken, and it

        def bent(w: Float, along: Float) -> Float:
            if not at or not np.array_equal(at[0], w):
                odds = self.rows @ w
                at[:] = [w.copy(), used * expit(odds) * expit(-odds)]
            return np.asarray(along + self.columns @ (at[1] * (self.rows @ along)))

        found: Any = minimize(
            value,
            np.zeros(self.rows.shape[1]) if start is None else start,
            method="trust-ncg",
            jac=True,
            hessp=bent,
            options={
                "gtol": tolerance * float(np.linalg.norm(self.columns @ (0.5 * used))),
                "maxiter": MOST_STEPS,
                "initial_trust_radius": FIRST_RADIUS,
            },
        )
        return np.asarray(found.x, dtype=np.float64)
