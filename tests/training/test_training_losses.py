"""Each loss against its formula in float64, by hand, and its gradient."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from rmaudit.training.reward import losses
from rmaudit.training.reward.losses import bradley_terry


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return double(np.random.default_rng(seed).normal(scale=2, size=shape).tolist())


def test_bradley_terry_is_the_formula() -> None:
    chosen, rejected, margin = random(50), random(50, seed=1), random(50, seed=2).abs()
    expected = [-math.log(sigmoid(float(a - b))) for a, b in zip(chosen, rejected, strict=True)]
    np.testing.assert_allclose(bradley_terry(chosen, rejected), expected, rtol=0, atol=1e-12)
    found = bradley_terry(chosen, rejected, margin)
    expected = [
        -math.log(sigmoid(float(a - b - m)))
        for a, b, m in zip(chosen, rejected, margin, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_bradley_terry_by_hand() -> None:
    # equal rewards: log 2; a margin of log 3: p = 3/4
    found = bradley_terry(double([1.0, math.log(3)]), double([1.0, 0.0]))
    np.testing.assert_allclose(found.numpy(), [math.log(2), math.log(4 / 3)], atol=1e-15)


def test_extreme_margins_neither_overflow_nor_vanish() -> None:
    found = bradley_terry(double([-800.0, 40.0, 700.0]), double([0.0, 0.0, 0.0]))
    assert found[0] == 800.0
    assert math.isclose(float(found[1]), math.exp(-40), rel_tol=1e-9)
    assert 0 < float(found[2]) < 1e-300


def test_soft_labels_are_a_cross_entropy() -> None:
    first, second = random(40), random(40, seed=1)
    share = double(np.random.default_rng(3).random(40).tolist())
    found = losses.bradley_terry_soft(first, second, share)
    for loss, a, b, p in zip(found, first, second, share, strict=True):
        q = sigmoid(float(a - b))
        expected = -float(p) * math.log(q) - (1 - float(p)) * math.log(1 - q)
        assert float(loss) == pytest.approx(expected, abs=1e-12)
    # three of four votes: least where sigmoid = 3/4, and there it is the entropy
    best = losses.bradley_terry_soft(double([math.log(3)]), double([0.0]), 0.75)
    assert float(best) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), abs=1e-12)
    torch.testing.assert_close(
        losses.bradley_terry_soft(first, second, 1.0), bradley_terry(first, second)
    )


def test_smoothing_by_hand() -> None:
    found = losses.bradley_terry_smoothed(double([math.log(3)]), double([0.0]), 0.1)
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert float(found) == pytest.approx(expected, abs=1e-12)


def test_squared_error_and_binary_by_hand() -> None:
    found = losses.squared_error(double([1.0, 2.0]), double([3.0, 2.0]))
    assert found.tolist() == [4.0, 0.0]
    found = losses.binary(double([math.log(3), math.log(3), 0.0]), double([1.0, 0.0, 0.5]))
    np.testing.assert_allclose(found, [math.log(4 / 3), math.log(4), math.log(2)], atol=1e-12)


def test_plackett_luce_is_the_product_of_choices() -> None:
    rewards = random(20, 4)
    found = losses.plackett_luce(rewards)
    for loss, row in zip(found.tolist(), rewards.tolist(), strict=True):
        slow = 0.0
        for k in range(4):
            slow -= math.log(math.exp(row[k]) / sum(math.exp(r) for r in row[k:]))
        assert loss == pytest.approx(slow, abs=1e-12)
    # probabilities of all orders add up to 1; two outputs are a preference; constants drop out
    orders = torch.stack([rewards[0, list(order)] for order in itertools.permutations(range(4))])
    assert float((-losses.plackett_luce(orders)).exp().sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(
        losses.plackett_luce(rewards[:, :2]), bradley_terry(rewards[:, 0], rewards[:, 1])
    )
    torch.testing.assert_close(losses.plackett_luce(rewards + 7), found)


def test_plackett_luce_of_unequal_lengths_and_ties() -> None:
    rewards = random(3, 4)
    there = torch.tensor([[True] * 4, [True, True, True, False], [True, False, False, False]])
    found = losses.plackett_luce(rewards, there)
    torch.testing.assert_close(found[1:2], losses.plackett_luce(rewards[1:2, :3]))
    assert float(found[2]) == 0
    # places 1 and 2 are tied: both are chosen among all three
    first = torch.tensor([[0, 0, 2]])
    a, b, c = rewards[0, :3].tolist()
    total = math.log(math.exp(a) + math.exp(b) + math.exp(c))
    tied = losses.plackett_luce(rewards[:1, :3], first=first)
    assert float(tied) == pytest.approx(2 * total - a - b, abs=1e-12)
    swapped = losses.plackett_luce(rewards[:1, [1, 0, 2]], first=first)
    torch.testing.assert_close(tied, swapped)


def test_attributes_are_the_mean_over_what_is_known() -> None:
    heads = double([[math.log(3), 0.0, 5.0], [1.0, 2.0, 3.0]])
    target = double([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]])
    known = torch.tensor([[True, True, False], [False, False, False]])
    found = losses.attributes(heads, target, known)
    np.testing.assert_allclose(found, [(math.log(4 / 3) + math.log(2)) / 2, 0.0], atol=1e-12)
    assert losses.attributes(heads, target).shape == (2,)


THERE = torch.tensor([[True, True, True], [True, True, False]])


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: bradley_terry(x[0], x[1], x[2]),
        lambda x: losses.bradley_terry_soft(x[0], x[1], double([0.2, 0.9, 1.0])),
        lambda x: losses.bradley_terry_smoothed(x[0], x[1], 0.1),
        lambda x: losses.squared_error(x[0], double([1.0, 2.0, 3.0])),
        lambda x: losses.binary(x[0], double([1.0, 0.0, 0.3])),
        losses.plackett_luce,
        lambda x: losses.plackett_luce(x[:2], THERE),
        lambda x: losses.plackett_luce(x[:2], THERE, torch.tensor([[0, 0, 2], [0, 1, 0]])),
        lambda x: losses.attributes(x[:2], double([[1.0, 0.0, 1.0]] * 2), THERE),
    ],
)
def test_gradient(loss: object) -> None:
    assert gradcheck(loss, random(3, 3, seed=5).requires_grad_())
