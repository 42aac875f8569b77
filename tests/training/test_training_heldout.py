"""What early stopping goes by: worked by hand, and against a search over temperatures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.training.reward.heldout import HeldOut, evaluate_margins


def test_losses_by_hand() -> None:
    # three right, one wrong, all of size m: the best scale says p = 3/4 whatever m is
    for size in (0.01, 1.0, 50.0):
        found = evaluate_margins(size * np.array([1.0, 1.0, -1.0, 1.0]))
        entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
        assert found.held_out_loss_rescaled == pytest.approx(entropy, abs=1e-9)
        loss = 0.75 * math.log1p(math.exp(-size)) + 0.25 * (size + math.log1p(math.exp(-size)))
        assert found.held_out_loss == pytest.approx(loss, abs=1e-12)
        assert found.held_out_accuracy == 0.75


def test_rescaled_loss_is_the_least_over_temperatures() -> None:
    margins = np.random.default_rng(0).normal(0.4, 2.0, size=300)
    grid = np.exp(np.linspace(-4, 6, 4001))
    slow = min(float(np.log1p(np.exp(-margins / t)).mean()) for t in grid)
    assert evaluate_margins(margins).held_out_loss_rescaled == pytest.approx(slow, abs=1e-6)


def test_edges() -> None:
    assert evaluate_margins(np.array([-1.0, 0.5])).held_out_loss_rescaled == math.log(2)
    assert evaluate_margins(np.array([0.0, 0.0])).held_out_accuracy == 0.5
    assert evaluate_margins(np.array([0.2, 3.0])).held_out_loss_rescaled == 0.0
    tie = evaluate_margins(np.array([0.0, 3.0]))
    assert tie.held_out_loss_rescaled <= tie.held_out_loss
    assert math.isnan(evaluate_margins(np.array([1.0, np.inf])).held_out_loss)


def test_better_means_a_better_ranking_then_a_smaller_loss() -> None:
    assert HeldOut(0.9, 0.60, 0.6).better_than(HeldOut(0.7, 0.61, 0.6))
    assert HeldOut(0.1, 0.0, 1.0).better_than(HeldOut(0.2, 0.0, 1.0))
    assert not HeldOut().better_than(HeldOut(0.7, 0.61, 0.6))
    assert HeldOut(0.7, 0.61, 0.6).better_than(HeldOut())
