"""Bradley-Terry against its formula and finite differences."""

from __future__ import annotations

import math

import numpy as np
import torch

from rmaudit.training.losses import bradley_terry


def double(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_loss_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    chosen, rejected = rng.normal(scale=3, size=(2, 50)).tolist()
    found = bradley_terry(double(chosen), double(rejected))
    expected = [
        -math.log(1 / (1 + math.exp(-(a - b)))) for a, b in zip(chosen, rejected, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_loss_by_hand() -> None:
    # equal rewards: log 2; a margin of log 3: p = 3/4
    found = bradley_terry(double([1.0, math.log(3)]), double([1.0, 0.0]))
    np.testing.assert_allclose(found.numpy(), [math.log(2), math.log(4 / 3)], atol=1e-15)


def test_extreme_margins_neither_overflow_nor_vanish() -> None:
    found = bradley_terry(double([-800.0, 40.0, 700.0]), double([0.0, 0.0, 0.0]))
    assert found[0] == 800.0
    assert math.isclose(float(found[1]), math.exp(-40), rel_tol=1e-9)
    assert 0 < float(found[2]) < 1e-300


def test_gradient_against_central_differences() -> None:
    chosen = double([0.3, -1.2, 5.0, 0.0]).requires_grad_()
    rejected = double([0.1, 0.7, -4.0, 0.0]).requires_grad_()
    bradley_terry(chosen, rejected).sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    step = 1e-5
    with torch.no_grad():
        for i in range(4):
            move = torch.zeros(4, dtype=torch.float64)
            move[i] = step
            for gradient, up, down in (
                (chosen.grad, (chosen + move, rejected), (chosen - move, rejected)),
                (rejected.grad, (chosen, rejected + move), (chosen, rejected - move)),
            ):
                slope = (bradley_terry(*up).sum() - bradley_terry(*down).sum()) / (2 * step)
                assert abs(float(gradient[i] - slope)) < 1e-9
