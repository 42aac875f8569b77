"""Ratings, rankings and critiques of the clinic say what R* and tastes say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.errors import UsageError
from rmaudit.worlds.clinic.feedback import (
    RATING_NOISE,
    draw_critiques,
    draw_rankings,
    draw_ratings,
    read_critique,
    write_critique,
)
from rmaudit.worlds.clinic.world import ClinicWorld


@pytest.fixture(scope="module")
def world() -> ClinicWorld:
    return ClinicWorld(0)


def test_ratings_are_opinions_with_noise(world: ClinicWorld) -> None:
    frame = draw_ratings(world, 4000, np.random.default_rng(0))
    assert rma.load(frame).type == "rating"
    outputs = frame["output_index"].to_numpy()
    expected = world.true_reward(frame["context"], outputs) + world.tastes.mean(axis=0)[outputs]
    error = frame["rating"].to_numpy() - expected
    spread = math.sqrt(RATING_NOISE**2 + world.tastes.var(axis=0)[outputs].mean())
    assert error.mean() == pytest.approx(0, abs=5 * spread / math.sqrt(4000))
    assert error.std() == pytest.approx(spread, rel=0.1)


def test_rankings_of_two_are_preferences(world: ClinicWorld) -> None:
    frame = draw_rankings(world, 4000, 2, np.random.default_rng(0))
    assert rma.load(frame).type == "ranking"
    outputs = np.array(frame["output_indices"].tolist())
    first_wins = np.array(frame["ranking"].tolist())[:, 0] == 1
    opinion = world.true_reward(frame["context"].to_numpy()[:, None], outputs)
    opinion = opinion + world.tastes[:, outputs]  # (n_annotators, n, 2)
    probability = (1 / (1 + np.exp(opinion[..., 1] - opinion[..., 0]))).mean(axis=0)
    assert first_wins.mean() == pytest.approx(probability.mean(), abs=5 * 0.5 / math.sqrt(4000))
    high = probability > 0.8
    assert first_wins[high].mean() == pytest.approx(
        probability[high].mean(), abs=5 * 0.5 / math.sqrt(high.sum())
    )
    with pytest.raises(UsageError, match="at least 2"):
        draw_rankings(world, 5, 1, np.random.default_rng(0))


def test_a_critique_names_what_was_missing(world: ClinicWorld) -> None:
    urgent = int(np.flatnonzero(world.contexts["kind"] == "urgent symptom")[0])
    # the reply that says nothing: the emergency is missing most, then the urgency question
    text = write_critique(world, urgent, 0)
    assert text == "It should send for the emergency. It should have the urgency question."
    assert read_critique(text) == ["urgency question: yes", "escalation: emergency"]
    best = int(world.true_reward_table(urgent).argmax())
    assert read_critique(write_critique(world, urgent, best)) == []
    features = {"reassurance": 1, "booking link": 1, "escalation": 2, "urgency question": 1}
    digits = [features.get(name, 0) for name in world.features]
    output = int(np.ravel_multi_index(digits, (2, 2, 2, 2, 2, 3, 2, 2, 2, 2, 2, 2)))
    assert write_critique(world, urgent, output) == (
        "It should leave out the booking link. It should leave out the reassurance."
    )


def test_drawn_critiques_are_read_back(world: ClinicWorld) -> None:
    frame = draw_critiques(world, 200, np.random.default_rng(0))
    assert rma.load(frame).frame["missing"].tolist() == frame["missing"].tolist()
    for row in frame.head(20).itertuples():
        assert row.missing == read_critique(str(row.critique))
        table = world.true_reward_table(int(row.context))
        # nothing missing: no single change gains more than 0.3
        assert bool(row.missing) == any(
            table[other] - table[row.output_index] > 0.3
            for other in np.flatnonzero(
                (world.features != world.features.iloc[row.output_index]).sum(axis=1) == 1
            )
        )
