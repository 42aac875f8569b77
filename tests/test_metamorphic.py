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
    return numbers_of(report)


def numbers_of(report: Any) -> Numbers:
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


LIMITS = {  # of what is drawn at random, so small that the data above are drawn from
    "hacking.halves": {"ATTACK_PAIRS": 25},
    "hacking.parts": {"SEARCHED": 6, "REPORTED": 20},
    "judge.plan": {"MOST": 20},
    "process.measure": {"MOST": 10},
    "robustness.plan": {"PROBE_PAIRS": 30, "FIRST_LOOK": 20},
    "length.edits": {"LENGTH_PAIRS": 30},
    "prompt.audit": {"PROMPT_PAIRS": 30},
    "style.edits": {"STYLE_PAIRS": 30},
    "sparsity": {"PREFIX_PAIRS": 20},
    "poison.edits": {"TEXTS": 20},
    "data.near": {"MOST_TEXTS": 60},
    "mix.words": {"MOST_PROMPTS": 8},
    "verifier.plan": {"MOST_PROMPTS": 20},
    "annotators.ratings": {"MOST_ITEMS": 30},
    "common.pairs": {"MOST_OUTPUTS": 3},
}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every audit draws a sample, of these few rows too."""
    for module, limits in LIMITS.items():
        for name, value in limits.items():
            monkeypatch.setattr(f"rmaudit.audits.{module}.{name}", value)


def both_orders(
    model: Any, tables: dict[str, pd.DataFrame], only: Sequence[str], **given: Any
) -> tuple[Numbers, Numbers]:
    """Numbers of the tables as they are, and of their rows in another order."""
    twice = []
    for seed in (None, 1):
        rows = {
            name: table if seed is None else table.sample(frac=1, random_state=seed)
            for name, table in tables.items()
        }
        report = rma.audit(
            model,
            **{name: table.to_dict("records") for name, table in rows.items()},
            only=list(only),
            resamples=100,
            cache=False,
            debug=True,
            **given,
        )
        twice.append(numbers_of(report))
    return twice[0], twice[1]


def worth(text: str) -> float:
    return zlib.crc32(text.encode()) % 997 / 100


def as_judge(
    prompts: Sequence[str], responses_a: Sequence[str], responses_b: Sequence[str]
) -> list[float]:
    return [
        1 / (1 + float(np.exp(worth(b) - worth(a))))
        for a, b in zip(responses_a, responses_b, strict=True)
    ]


def as_process(items: Sequence[Any]) -> list[dict[str, Any]]:
    every = [[worth(line) / 10 for line in i.response.split("\n") if line] for i in items]
    return [{"total": min(scores), "steps": scores} for scores in every]


@pytest.mark.usefixtures("drawn")
def test_what_is_drawn_does_not_depend_on_the_order_of_the_rows(
    data: dict[str, pd.DataFrame],
) -> None:
    only = ["hacking", "robustness", "length", "prompt", "style", "sparsity", "poison", "data"]
    one, other = both_orders(
        member(0, identity), {k: data[k] for k in ("eval", "feedback")}, only, search_texts=80
    )
    assert {id_.partition(".")[0] for id_, _ in one} == {*only}
    assert changed(one, other) == []


@pytest.mark.usefixtures("drawn")
def test_what_a_judge_is_asked_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = pd.DataFrame(
        {"prompt": f"Q{i % 45}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(90)
    )
    one, other = both_orders(as_judge, {"eval": rows}, ["judge", "hacking"], search_texts=200)
    assert {id_.partition(".")[0] for id_, _ in one} == {"judge", "hacking"}
    assert changed(one, other) == []


@pytest.mark.usefixtures("drawn")
def test_which_solutions_are_edited_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = pd.DataFrame(
        {
            "prompt": f"Problem {i}?",
            "completions": [f"First {i}, so.", f"Then {i * 7}, and on.", f"Last {i * 3}, end."],
            "labels": [True, i % 2 == 0, True],
        }
        for i in range(70)
    )
    one, other = both_orders(as_process, {"eval": rows}, ["process"])
    assert any(id_.startswith("process.") for id_, _ in one)
    assert changed(one, other) == []


@pytest.mark.usefixtures("drawn")
def test_which_responses_are_compared_does_not_depend_on_the_order_of_the_rows() -> None:
    rows = pd.DataFrame(
        {"prompt": f"Q{i % 9}?", "completion": f"text {i}", "rating": worth(f"r{i}")}
        for i in range(90)
    )
    one, other = both_orders(
        lambda pairs: [worth(r) for _, r in pairs], {"eval": rows}, ["preference"]
    )
    assert any(np.isfinite(value) for value, *_ in one.values())
    assert changed(one, other) == []


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
