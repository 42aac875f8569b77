"""Intervals that hold at any time: wealth by its definition, coverage over all looks."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.stats.confidence_sequence import MeanSequence, looked_at, p_looked_at


def test_the_p_value_is_the_inverse_of_the_most_wealth_by_its_definition() -> None:
    values = [1.0, 0.25, 0.0, 0.5, 1.0]
    sequence = MeanSequence(0.95, (0.2,))
    bets = np.sin(np.pi / 2 * (np.arange(64) + 0.5) / 64) ** 2
    above, most = bets[bets > 0.2], 1.0
    for k, x in enumerate(values):
        sequence.update([x])
        past = np.array(values[: k + 1])[:, None]
        wealth = np.prod(past * above / 0.2 + (1 - past) * (1 - above) / 0.8, axis=0).mean()
        most = max(most, float(wealth))
    assert sequence.p_at_most(0.2) == pytest.approx(1 / most)
    assert sequence.mean == pytest.approx(np.mean(values))


def test_wealth_never_grows_in_expectation_where_the_mean_is_the_limit() -> None:
    """By enumeration of eight coins of chance 1/4: the mean of the last wealth is at most 1."""
    total = 0.0
    bets = np.sin(np.pi / 2 * (np.arange(64) + 0.5) / 64) ** 2
    for outcome in range(256):
        bits = [(outcome >> k) & 1 for k in range(8)]
        x = np.array(bits)[:, None]
        for side in (bets[bets > 0.25], bets[bets <= 0.25]):
            wealth = np.prod(x * side / 0.25 + (1 - x) * (1 - side) / 0.75, axis=0).mean()
            total += 0.25 ** sum(bits) * 0.75 ** (8 - sum(bits)) * wealth / 2
    assert total == pytest.approx(1)


@pytest.mark.parametrize("mean", [0.02, 0.3])
def test_the_interval_holds_at_every_look(mean) -> None:
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(150):
        sequence = MeanSequence(0.9)
        wrong = False
        for _ in range(10):
            sequence.update((rng.random(10) < mean).astype(float))
            low, high = sequence.interval
            wrong |= not low - 1 / 400 <= mean <= high + 1 / 400
        missed += wrong
    assert missed / 150 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 150)


def test_it_narrows_around_the_mean_and_refuses_what_is_no_share() -> None:
    sequence = MeanSequence(0.95, (0.1, 0.5))
    sequence.update([0.0] * 30)
    assert sequence.interval[0] == 0
    assert 0.1 < sequence.interval[1] < 0.16
    sequence.update([1.0, 0.0] * 150)
    assert sequence.interval[0] < 0.45 < sequence.interval[1] < 0.55
    assert sequence.p_at_most(0.1) < 1e-9
    with pytest.raises(ValueError, match="a value in"):
        sequence.update([1.5])
    with pytest.raises(ValueError, match="none of the limits"):
        sequence.p_at_least(0.3)


def test_the_reach_of_many_looks_and_its_p_value_agree() -> None:
    for n in (20, 50, 100):
        assert p_looked_at(looked_at(n, 0.95), n, 0.95) == pytest.approx(0.05)
    assert looked_at(50, 0.95) < min(looked_at(10, 0.95), looked_at(500, 0.95))
    rng = np.random.default_rng(1)
    crossed = 0
    for x in rng.standard_normal((1000, 200)):
        means = np.cumsum(x) / np.sqrt(np.arange(1, 201))
        crossed += any(abs(means[n - 1]) > looked_at(n, 0.95) for n in range(10, 201, 10))
    assert crossed / 1000 <= 0.05
