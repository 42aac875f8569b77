"""Ridge logistic regression against scikit-learn, and its gradient against zero."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from rmaudit.audits.poison.shift import _distinct
from rmaudit.stats.ridge import Ridge


def rows(seed: int, n: int = 120, k: int = 200) -> sparse.csr_array:
    """Rows of length one, as those of n-grams, and a heavy last column, as that of lengths."""
    rng = np.random.default_rng(seed)
    made = sparse.random_array((n, k), density=0.1, rng=rng, data_sampler=rng.normal).toarray()
    made /= np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)
    made[:, -1] = rng.normal(0.5, 2, n)
    return sparse.csr_array(made)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_scikit_learn(seed: int) -> None:
    made = rows(seed)
    n = made.shape[0]
    used = (np.arange(n) % 5 != seed).astype(float)
    turned = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    model = LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=10_000)
    kept = used > 0
    model.fit(made.toarray()[kept] * turned[kept, None], turned[kept])
    assert Ridge(made).fit(used) == pytest.approx(model.coef_[0], abs=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0])
def test_the_gradient_is_as_small_as_promised_from_any_start(scale: float) -> None:
    made = rows(7) * scale
    used = np.ones(made.shape[0])
    first = np.linalg.norm(made.T @ (0.5 * used))
    for start in (None, np.random.default_rng(1).normal(0, 3, made.shape[1])):
        w = Ridge(made).fit(used, start)
        gradient = w - made.T @ (used * expit(-(made @ w)))
        assert np.linalg.norm(gradient) <= 1e-6 * first


def test_equal_columns_share_their_coefficient() -> None:
    made = rows(3)
    turned = np.where(np.arange(made.shape[0]) % 3 == 0, 1.0, -1.0)
    twins = [-made, sparse.diags_array(turned) @ made]  # the same places, other signs: not equal
    given = sparse.csr_array(sparse.hstack([made, made, *twins]))
    distinct, kind, size = _distinct(given)
    assert distinct.shape == np.unique(given.toarray(), axis=1).shape
    shared = distinct.toarray()[:, kind] / np.sqrt(size)[kind]
    assert shared == pytest.approx(given.toarray(), rel=1e-12)
    used = np.ones(made.shape[0])
    merged = Ridge(distinct).fit(used)
    assert (merged / np.sqrt(size))[kind] == pytest.approx(Ridge(given).fit(used), abs=1e-5)
