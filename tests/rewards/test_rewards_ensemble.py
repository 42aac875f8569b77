"""Aggregates of several members, by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from tiny_models import TEXTS, model, save, tokenizer

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.ensemble import Ensemble, aggregate_rewards
from rmaudit.rewards.functions.function import PythonReward
from rmaudit.rewards.recorded import Recorded

# Text 1: 1, 2, 6: mean 3, least 1, variance (4 + 1 + 9) / 3 = 14 / 3. Text 2: all 5.
REWARDS = np.array([[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]])  # (3 members, 2 texts)


def constant(value: float) -> PythonReward:
    return PythonReward(lambda texts: [value + len(o) for _, o in texts], f"constant:{value}")


@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [3.0, 5.0]), ("wco", [1.0, 5.0]), ("uwo", [3.0 - 0.3 * 14 / 3, 5.0])],
)
def test_aggregates_by_hand(how, expected):
    np.testing.assert_allclose(aggregate_rewards(REWARDS, how, 0.3), expected)
    members = [constant(i) for i in range(3)]
    np.testing.assert_allclose(Ensemble(members, how, 0.3).aggregate(REWARDS), expected)


@pytest.mark.parametrize("how", ["mean", "wco", "uwo"])
def test_one_member_is_itself_and_nan_stays_nan(how):
    np.testing.assert_allclose(aggregate_rewards(REWARDS[:1], how, 0.5), REWARDS[0])
    broken = REWARDS.copy()
    broken[1, 0] = math.nan
    result = aggregate_rewards(broken, how, 0.5)
    assert math.isnan(result[0])
    assert result[1] == 5.0


def test_aggregating_leaves_the_members_rewards_as_they_are():
    rewards = REWARDS.copy()
    aggregate_rewards(rewards, "uwo", 0.5)
    assert (rewards == REWARDS).all()


def test_an_ensemble_scores_as_its_members_do():
    ensemble = Ensemble([constant(0.0), constant(4.0)], "uwo", 0.5)
    encoded = ensemble.encode(TEXTS)
    lengths = np.array([len(text.output) for text in TEXTS])
    # mean 2 + length; variance of {0, 4} is 4
    np.testing.assert_allclose(ensemble.forward(encoded), lengths + 2 - 0.5 * 4)
    assert ensemble.length_unit == "characters"
    assert encoded[0].output_tokens == lengths[0]


def test_the_fingerprint_follows_members_aggregate_and_weight():
    one, two = constant(1), constant(2)
    prints = [
        Ensemble(members, how, weight).fingerprint
        for members, how, weight in (
            ([one, two], "uwo", 0.5),
            ([one], "uwo", 0.5),
            ([one, two], "mean", 0.5),
            ([one, two], "uwo", 0.6),
        )
    ]
    assert len(set(prints)) == 4
    assert Ensemble([one, two], "uwo", 0.5).fingerprint == prints[0]


def test_an_ensemble_of_recorded_rewards_scores_no_new_text():
    assert not Ensemble([Recorded()]).scores_new_text
    assert Ensemble([constant(1)]).scores_new_text


def test_what_cannot_be_an_ensemble_is_a_usage_error():
    with pytest.raises(UsageError, match="at least one member"):
        Ensemble([])
    with pytest.raises(UsageError, match="say mean, wco, uwo"):
        Ensemble([constant(1)], "median")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"uncertainty_weight -1\.0 is no number of 0 or more"):
        Ensemble([constant(1)], "uwo", -1.0)


def test_a_folder_of_members_is_loaded_by_its_ensemble_file(tmp_path):
    save(tmp_path / "member_0", "gpt2")
    other = model("gpt2")
    other.score.weight.data.neg_()
    other.save_pretrained(tmp_path / "member_1")
    tokenizer().save_pretrained(tmp_path / "member_1")
    settings = {"members": ["member_0", "member_1"], "aggregate": "wco"}
    (tmp_path / "ensemble.json").write_text(json.dumps(settings))
    ensemble = load_reward_model(tmp_path)
    assert [m.name for m in ensemble.members] == [
        f"{tmp_path.name}/member_0",
        f"{tmp_path.name}/member_1",
    ]
    single = load_reward_model(tmp_path / "member_0")
    reward = single.forward(single.encode(TEXTS))
    np.testing.assert_allclose(ensemble.forward(ensemble.encode(TEXTS)), -np.abs(reward), atol=1e-5)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        ('{"aggregate": "mean"}', "must list directories"),
        ('{"members": ["gone"]}', "'gone' is no directory"),
        ('{"members": ["."]}', "holds itself"),
        ('{"members": [], "agregate": "mean"}', "unknown agregate"),
    ],
)
def test_a_faulty_ensemble_file_is_named(content, match, tmp_path):
    (tmp_path / "ensemble.json").write_text(content)
    with pytest.raises(RewardModelError, match=match) as raised:
        load_reward_model(tmp_path)
    assert "ensemble.json" in str(raised.value)


def test_a_member_that_is_listed_twice_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for members in (["a", "a"], ["a", "./a"]):
        (tmp_path / "ensemble.json").write_text(json.dumps({"members": members}))
        with pytest.raises(RewardModelError, match="is a member twice"):
            load_reward_model(tmp_path)
