"""The generalised-Pareto shape on known tails."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from rmaudit.results import Estimate
from rmaudit.stats.tails import half_differences, upper_tail


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.25])
def test_shape_of_a_generalised_pareto_is_found_and_covered(shape: float) -> None:
    rng = np.random.default_rng(5)
    clusters = np.repeat(np.arange(250), 16)
    found = []
    for _ in range(400):
        # All values are exceedances of an exact tail; a tenth of it has the same shape.
        values = stats.genpareto.rvs(shape, size=4000, random_state=rng)
        found.append(upper_tail(values, clusters).shape)
    inside = np.mean([e.low <= shape <= e.high for e in found])
    # 400 exceedances: the error of one estimate is about 1.15 / 20.
    assert np.mean([e.value for e in found]) == pytest.approx(shape, abs=0.015)
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_covers_the_same_number_where_the_tail_is_no_generalised_pareto() -> None:
    # Of a sum of a normal and a Student's t; the likelihood's bootstrap covers 80 % of these.
    rng = np.random.default_rng(6)

    def drawn(prompts: int) -> Estimate:
        spread = np.where(rng.random((prompts, 1)) < 0.2, 0.02, 1.0)
        values = rng.normal(size=(prompts, 16)) + 0.7 * rng.standard_t(6, (prompts, 16))
        return upper_tail((spread * values).ravel(), np.repeat(np.arange(prompts), 16)).shape

    truth = np.mean([drawn(20_000).value for _ in range(5)])
    inside = np.mean([e.low <= truth <= e.high for e in (drawn(200) for _ in range(400))])
    assert abs(inside - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 400)


def test_half_the_mean_difference_is_that_of_all_pairs() -> None:
    # Of 0, 1, 3: (1 + 3) / 4, (1 + 2) / 4, (3 + 2) / 4.
    assert half_differences(np.array([0.0, 1.0, 3.0])).tolist() == [1.0, 0.75, 1.25]


def test_scale_and_shape_give_back_the_mean() -> None:
    values = stats.genpareto.rvs(0.2, size=50_000, scale=3, random_state=1)
    tail = upper_tail(values, np.arange(50_000))
    assert tail.exceedances.mean() == pytest.approx(tail.scale / (1 - tail.shape.value))
    # Over a threshold u the scale is sigma + xi u (Pickands 1975).
    assert tail.scale == pytest.approx(3 + 0.2 * tail.threshold, rel=0.03)
    assert tail.shape.value == pytest.approx(0.2, abs=0.04)


def test_a_normal_tail_is_not_heavier_than_exponential() -> None:
    rng = np.random.default_rng(1)
    tail = upper_tail(rng.normal(size=8000), np.repeat(np.arange(500), 16))
    assert tail.shape.high < 0.1
    assert tail.threshold == pytest.approx(1.2816, abs=0.06)


def test_the_unit_does_not_matter() -> None:
    values = np.random.default_rng(2).exponential(size=2000)
    codes = np.arange(2000)
    one, other = (upper_tail(v, codes) for v in (values, 50 * values))
    assert one.shape.value == pytest.approx(other.shape.value)
    assert one.shape.low == pytest.approx(other.shape.low)


def test_undefined_with_a_reason() -> None:
    rng = np.random.default_rng(3)
    few = upper_tail(rng.normal(size=100), np.arange(100))
    assert "10 values over the threshold; 50 are needed" in (few.shape.undefined_reason or "")
    steps = np.r_[np.zeros(950), np.ones(50)]
    equal = upper_tail(steps, np.arange(1000))
    assert "all values over the threshold are equal" in (equal.shape.undefined_reason or "")
    nothing = upper_tail(np.zeros(0), np.zeros(0, dtype=np.int64))
    assert not nothing.shape.defined
