"""The generalised-Pareto shape on known tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rmaudit.stats.tails import upper_tail


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.7])
def test_shape_of_a_generalised_pareto_is_found_and_covered(shape: float) -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(250), 16)
    found = []
    for _ in range(40):
        # All values are exceedances of an exact tail; a tenth of it has the same shape.
        values = stats.genpareto.rvs(shape, size=4000, random_state=rng)
        found.append(upper_tail(values, clusters, rng, resamples=200).shape)
    inside = np.mean([e.low <= shape <= e.high for e in found])
    # 400 exceedances: the error of one estimate is about (1 + shape) / 20.
    assert np.mean([e.value for e in found]) == pytest.approx(shape, abs=0.04)
    assert inside > 0.95 - 4 * math.sqrt(0.95 * 0.05 / 40)


def test_agrees_with_maximum_likelihood() -> None:
    rng = np.random.default_rng(0)
    values = stats.t.rvs(3, size=10_000, random_state=rng)
    tail = upper_tail(values, np.arange(10_000), rng, resamples=100)
    likeliest, _, scale = stats.genpareto.fit(tail.exceedances, floc=0)
    assert tail.shape.value == pytest.approx(likeliest, abs=0.02)
    assert tail.scale == pytest.approx(scale, rel=0.03)
    assert tail.shape.low > 0.1


def test_a_normal_tail_is_not_heavier_than_exponential() -> None:
    rng = np.random.default_rng(1)
    tail = upper_tail(rng.normal(size=8000), np.repeat(np.arange(500), 16), rng, resamples=200)
    assert tail.shape.high < 0.1
    assert tail.threshold == pytest.approx(1.2816, abs=0.06)


def test_the_unit_does_not_matter() -> None:
    values = np.random.default_rng(2).exponential(size=2000)
    codes = np.arange(2000)
    one, other = (
        upper_tail(v, codes, np.random.default_rng(0), resamples=100) for v in (values, 50 * values)
    )
    assert one.shape.value == pytest.approx(other.shape.value)
    assert one.shape.low == pytest.approx(other.shape.low)


def test_undefined_with_a_reason() -> None:
    rng = np.random.default_rng(3)
    few = upper_tail(rng.normal(size=100), np.arange(100), rng)
    assert "10 values over the threshold; 50 are needed" in (few.shape.undefined_reason or "")
    steps = np.r_[np.zeros(950), np.ones(50)]
    equal = upper_tail(steps, np.arange(1000), rng)
    assert "all values over the threshold are equal" in (equal.shape.undefined_reason or "")
    nothing = upper_tail(np.zeros(0), np.zeros(0, dtype=np.int64), rng)
    assert not nothing.shape.defined
