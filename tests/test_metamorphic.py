"""What must not change a number, and what must turn its sign, for every metric of every audit."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

import rmaudit as rma
from rmaudit.data.types import prompt_key
from rmaudit.worlds.clinic import careful_tone as careful
from rmaudit.worlds.clinic.world import ClinicWorld

Key = tuple[str, tuple[tuple[str, str], ...]]
Numbers = dict[Key, tuple[float, float, float]]
Change = Callable[[str, float], float]  # of a reward, by its prompt

# Metrics about sigmoid(margin) or a KL weight: they depend on the reward's scale by definition.
OF_SCALE = ("calibration.", "annotators.vote_ece", "generalization.calibration_gap", "teacher.")
OF_SCALE_TOO = ("generalization.delta_j", "overoptimization.", "policy.")
# Signed associations of the model's (or the labels') taste: the opposite taste turns them.
SIGNED = ("length.rank_correlation", "length.accuracy_gap", "length.excess_preference")
SIGNED_TOO = ("length.reward_per_doubling", "style.effect", "style.excess_preference")
UNTURNED = ("preference.accuracy", "preference.tie_rate", "calibration.", "annotators.accuracy_")
UNTURNED_TOO = ("generalization.accuracy_", "prompt.", "sparsity.", "disagreement.", "coverage.")


def identity(prompt: str, reward: float) -> float:
    return reward


def member(number: int, change: Change) -> Any:
    rewards = (careful.member_0, careful.member_1)[number]

    def reward(pairs: Sequence[tuple[Any, str]]) -> list[float]:
        return [
            change(prompt_key(prompt), value)
            for (prompt, _), value in zip(pairs, rewards(pairs), strict=True)
        ]

    return reward


@pytest.fixture(scope="module")
def data() -> dict[str, pd.DataFrame]:
    world, rng = ClinicWorld(0), np.random.default_rng(0)
    evaluation = world.draw_evaluation(90, rng)
    sides = np.array(["chosen", "rejected"])
    evaluation["annotator_votes"] = [
        sides[rng.integers(0, 2, 3)].tolist() for _ in range(len(evaluation))
    ]
    return {
        "eval": evaluation,
        "feedback": world.draw_feedback(180, rng),
        "deployment": world.draw_deployment(90, rng),
        "samples": world.draw_samples(12, 6, rng),
    }


def measured(data: dict[str, Any], change: Change = identity, **changed: Any) -> Numbers:
    report = rma.audit(
        member(0, change),
        **(data | changed),
        ensemble=[member(1, change)],
        resamples=100,
        search_texts=0,
        cache=False,
        debug=True,
    )
    frame = report.to_frame()
    keys = zip(frame["id"], [tuple(sorted(s.items())) for s in frame["slice"]], strict=True)
    rows = zip(frame["value"], frame["low"], frame["high"], strict=True)
    return dict(zip(keys, rows, strict=True))


@pytest.fixture(scope="module")
def base(data: dict[str, pd.DataFrame]) -> Numbers:
    numbers = measured(data)
    assert len({id_.partition(".")[0] for id_, _ in numbers}) >= 12  # audits
    return numbers


def same(one: Sequence[float], other: Sequence[float]) -> bool:
    return np.allclose(one, other, rtol=1e-7, atol=1e-8, equal_nan=True)


def changed(base: Numbers, other: Numbers, *excepted: str) -> list[Key]:
    assert base.keys() == other.keys()
    return [
        key for key in base if not key[0].startswith(excepted) and not same(base[key], other[key])
    ]


def test_the_order_of_the_rows(data: dict[str, pd.DataFrame], base: Numbers) -> None:
    shuffled = {
        name: table.sample(frac=1, random_state=1, ignore_index=True)
        for name, table in data.items()
    }
    assert changed(base, measured(shuffled)) == []


def test_the_container_and_columns_of_the_users_own(
    data: dict[str, pd.DataFrame], base: Numbers
) -> None:
    rows = data["eval"].assign(unrelated=range(90)).to_dict("records")
    assert changed(base, measured(data, eval=rows)) == []


def test_a_constant_for_each_prompt(data: dict[str, pd.DataFrame], base: Numbers) -> None:
    def shift(prompt: str, reward: float) -> float:
        return reward + zlib.crc32(prompt.encode()) % 7 - 3

    assert changed(base, measured(data, shift)) == []


def test_the_scale_of_the_reward(data: dict[str, pd.DataFrame], base: Numbers) -> None:
    scaled = measured(data, lambda prompt, reward: 4 * reward)
    assert changed(base, scaled, *OF_SCALE, *OF_SCALE_TOO) == []
    assert not same(base[("calibration.nll", ())], scaled[("calibration.nll", ())])


def test_the_opposite_taste_of_model_and_labels(
    data: dict[str, pd.DataFrame], base: Numbers
) -> None:
    swapped = data["eval"].rename(columns={"chosen": "rejected", "rejected": "chosen"})
    other = measured(data, lambda prompt, reward: -reward, eval=swapped)
    assert base.keys() == other.keys()
    for key, (value, low, high) in base.items():
        if key[0].startswith(UNTURNED + UNTURNED_TOO):
            assert same((value, low, high), other[key]), key
        if key[0].startswith(SIGNED + SIGNED_TOO):
            assert same((-value, -high, -low), other[key]), key


def test_every_row_twice(data: dict[str, pd.DataFrame], base: Numbers) -> None:
    twice = pd.concat([data["eval"], data["eval"].assign(id=lambda t: t["id"] + "-again")])
    other = measured(data, eval=twice.reset_index(drop=True))
    excepted = {
        "calibration.ece_debiased",  # depends on the number of pairs by definition
        "annotators.alpha",
        "data.duplicate_share",
    }
    for key, (value, *_) in base.items():
        if key[0] in excepted or key[1]:
            continue
        # Bins and steps of equal mass move by a row where their number is not a multiple.
        assert other[key][0] == pytest.approx(value, abs=0.01, nan_ok=True), key
