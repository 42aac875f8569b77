"""A slot reward is the Bradley-Terry fit of another library, and finds planted weights."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from rmaudit.errors import DataError
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.slots import slot_reward
from rmaudit.worlds.clinic.world import ClinicWorld


def weight(world: ClinicWorld, reward: np.ndarray, slot: str, value: int) -> float:
    """Reward of the output that says one thing, less that of the output that says nothing."""
    features = world.features
    silent = (features == 0).drop(columns=slot).all(axis=1)
    says, nothing = (
        int(np.flatnonzero(silent & (features[slot] == shown))[0]) for shown in (value, 0)
    )
    return float(reward[says] - reward[nothing])


def test_it_is_logistic_regression_on_differences() -> None:
    world = ClinicWorld(0)
    feedback = world.draw_feedback(400, np.random.default_rng(0))
    columns = [
        world.features[slot.name].to_numpy() == value
        for slot in world.output_slots
        for value in range(1, len(slot.values))
    ]
    shown = np.stack(columns, axis=1).astype(float)
    difference = shown[feedback["chosen_output"]] - shown[feedback["rejected_output"]]
    sign = np.where(np.arange(len(difference)) % 2, 1, -1)  # it wants both classes
    model = LogisticRegression(C=1 / 2.5, fit_intercept=False, tol=1e-10, max_iter=1000)
    model.fit(difference * sign[:, None], sign)
    expected = shown @ model.coef_[0]
    found = slot_reward(world, feedback, precision=2.5)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_it_finds_the_weights_of_one_kind_without_tastes() -> None:
    world, rng = ClinicWorld(0), np.random.default_rng(1)
    booking = int(np.flatnonzero(world.contexts["kind"] == "booking")[0])
    outputs = rng.integers(world.n_outputs, size=(60_000, 2))
    margin = world.true_reward(booking, outputs[:, 0]) - world.true_reward(booking, outputs[:, 1])
    wins = rng.random(len(outputs)) < expit(margin)
    chosen = np.where(wins, outputs[:, 0], outputs[:, 1])
    feedback = pd.DataFrame(
        {"chosen_output": chosen, "rejected_output": outputs.sum(axis=1) - chosen}
    )
    reward = slot_reward(world, feedback)
    for slot in values.SLOTS:
        for place, value in enumerate(slot.values[1:], 1):
            planted = values.TRUE_REWARD[slot.name, value][values.KINDS.index("booking")]
            # Each weight has a standard error of about 0.015.
            assert weight(world, reward, slot.name, place) == pytest.approx(planted, abs=0.07)


def test_a_value_that_was_never_shown_is_worth_nothing() -> None:
    world = ClinicWorld(0)
    feedback = world.draw_feedback(2000, np.random.default_rng(0))
    emergency = world.features["escalation"].to_numpy() == 2
    sides = feedback["chosen_output"], feedback["rejected_output"]
    calm = feedback[~emergency[sides[0]] & ~emergency[sides[1]]]
    assert weight(world, slot_reward(world, calm), "escalation", 2) == pytest.approx(0, abs=1e-12)


def test_no_feedback_is_refused() -> None:
    world = ClinicWorld(0)
    empty = world.draw_feedback(1, np.random.default_rng(0)).iloc[:0]
    with pytest.raises(DataError, match="no feedback"):
        slot_reward(world, empty)
