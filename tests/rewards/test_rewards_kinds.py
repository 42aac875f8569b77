"""Kinds of rewards by name: mixes, recorded components, and a kind of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.errors import DataError, RewardModelError, SchemaError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import NOT_APPLICABLE, Rewarded, does_not_apply
from rmaudit.rewards.functions.function import given_function
from rmaudit.rewards.kinds import REWARDS, RewardKind, register_reward
from rmaudit.rewards.mix import Mix, Part
from rmaudit.scoring import ScoreStore

ROWS = [
    {"prompt": "1+1?", "chosen": "<b>2</b>", "rejected": "<b>3</b>", "solution": "2"},
    {"prompt": "2+2?", "chosen": "4", "rejected": "<b>5</b>", "solution": "4"},
]
FUNCTIONS = """
def correct(completions, solution, **columns):
    return [float(s in c) for c, s in zip(completions, solution)]

def tagged(completions, **columns):
    return [None if "4" in c else float("<b>" in c) for c in completions]
"""


@pytest.fixture
def mix_file(tmp_path, monkeypatch):
    """Writes a mix of the two functions above and gives its specification."""
    monkeypatch.chdir(tmp_path)
    name = f"parts_{tmp_path.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(FUNCTIONS)

    def write(head: str = 'scale = "group"', weight: float = 0.5, extra: str = "") -> str:
        Path("mine.toml").write_text(
            f"""schema_version = 1
{head}
[[reward]]
name = "correct"
model = "python:{name}:correct"
[[reward]]
name = "format"
model = "python:{name}:tagged"
weight = {weight}
kind = "verdict"
{extra}"""
        )
        return "mix:mine.toml"

    return write


def test_a_mix_is_the_weighted_sum_and_its_parts(mix_file):
    model = load_reward_model(mix_file(), trust_code=True)
    assert (model.kind, model.signal, model.scale) == ("mix", "score", "group")
    frame = rma.score(model, ROWS, cache=False).set_index("side")
    assert frame.reward["chosen"].tolist() == [1.5, 1.0]
    assert frame.reward["rejected"].tolist() == [0.5, 0.5]


def test_other_weights_score_nothing_again(mix_file, tmp_path):
    store = tmp_path / "s.sqlite"
    rma.score(load_reward_model(mix_file(), trust_code=True), ROWS, store=store)
    again = load_reward_model(mix_file(weight=2.0), trust_code=True)
    from rmaudit.scoring import score
    from rmaudit.scoring.requests import data_requests

    data = rma.load(ROWS)
    with ScoreStore(store) as opened:
        scores = score(again, data_requests(data, "eval"), datasets={"eval": data}, store=opened)
    assert scores.cost.texts_scored == 0
    assert scores.reward("chosen").tolist() == [3.0, 1.0]
    components = scores.column("chosen").components
    assert components["correct"].tolist() == [1, 1]
    assert does_not_apply(components["format"]).tolist() == [False, True]


def test_code_that_only_the_file_names_needs_a_flag(mix_file):
    with pytest.raises(UsageError, match=r"mine\.toml names python:.*say --trust-code"):
        load_reward_model(mix_file())


@pytest.mark.parametrize(
    ("written", "error", "match"),
    [
        ({"head": 'scale = "groups"'}, SchemaError, "scale"),
        ({"extra": "colour = 1"}, SchemaError, "colour"),
        (
            {"extra": '[[reward]]\nname = "format"\nmodel = "recorded"'},
            RewardModelError,
            "'format'",
        ),
        ({"extra": '[[reward]]\nname = "me"\nmodel = "mix:mine.toml"'}, RewardModelError, "itself"),
        ({"extra": '[[reward]]\nname = "x"\nmodel = "nowhere"'}, UsageError, "nowhere"),
    ],
)
def test_a_wrong_file_is_one_line(mix_file, written, error, match):
    with pytest.raises(error, match=match) as raised:
        load_reward_model(mix_file(**written), trust_code=True)
    assert "\n" not in str(raised.value)


def test_what_applies_nowhere_does_not_apply():
    def nothing(completions, **columns):
        return [None] * len(completions)

    mix = Mix([Part("a", given_function(nothing), 1.0), Part("b", given_function(nothing), 2.0)])
    none = Rewarded(np.array([NOT_APPLICABLE, 1.0]))
    made = mix.combine([none, none])
    assert does_not_apply(made.total).tolist() == [True, False]
    assert made.total[1] == 3.0


def test_recorded_rewards_have_components():
    rows = [
        {
            "prompt": "p",
            "outputs": ["a", "b"],
            "rewards": [1.0, 2.0],
            "correct": [1, 0],
            "format": [0, None],
        }
    ]
    model = load_reward_model("recorded", components="correct,format")
    data = rma.load(rows)
    first, second = (model.recorded_components(data, f"output_{j}") for j in (0, 1))
    assert {n: v.tolist() for n, v in first.items()} == {"correct": [1.0], "format": [0.0]}
    assert second["correct"].tolist() == [0.0]
    assert np.isnan(second["format"]).all()
    with pytest.raises(DataError, match="no column 'style', which --components style needs"):
        load_reward_model("recorded", components=["style"]).recorded_components(data, "output_0")


def test_a_kind_of_ones_own_is_one_class():
    @register_reward
    class Constant(RewardKind):
        name = "constant"
        accepted = "constant:NUMBER"

        def load(self, spec, loading):
            value = float(spec.partition(":")[2])
            return given_function(lambda pairs: [value] * len(pairs))

    try:
        model = load_reward_model("constant:2.5", kind="score")
        assert model.signal == "score"
        assert set(rma.score(model, ROWS, cache=False).reward) == {2.5}
        with pytest.raises(UsageError, match="constant:NUMBER"):
            load_reward_model("constantly")
    finally:
        del REWARDS._things["constant"]


def test_kind_overrides_what_a_model_says():
    assert load_reward_model(lambda pairs: [0.0] * len(pairs)).signal == "logit"
    model = load_reward_model(lambda pairs: [0.0] * len(pairs), kind="verdict")
    assert (model.signal, model.signal_is_declared) == ("verdict", True)
