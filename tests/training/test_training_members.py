"""Members that differ, their mean weights, and rewards held around 0."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import preferences
from safetensors.torch import load_file

from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import Text
from rmaudit.training.policy.reward import score
from rmaudit.training.reward.losses import centering
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.training.reward.train import AVERAGED, train_reward_model
from rmaudit.training.tiny import tiny_base

QUICK = RewardTrainingConfig(
    epochs=1, learning_rate=3e-3, max_length=64, held_out_share=0, precision="float32"
)


def test_members_on_bootstraps_and_the_mean_of_their_weights(base: Path, tmp_path: Path) -> None:
    data, config = preferences(40), QUICK.but(members=2, bootstrap=True, averaged=True)
    train_reward_model(base, data, tmp_path / "warm", config=config)
    names = json.loads((tmp_path / "warm" / "ensemble.json").read_text())["members"]
    first, second, mean = (
        load_file(tmp_path / "warm" / name / "model.safetensors") for name in (*names, AVERAGED)
    )
    for name, value in mean.items():
        assert torch.allclose(value, (first[name] + second[name]) / 2, atol=1e-7), name
    assert any(not torch.equal(first[name], second[name]) for name in first)
    # The first member learns from all pairs as they are: it is what training without them gives.
    train_reward_model(base, data, tmp_path / "one", config=config.but(members=1, averaged=False))
    one = load_file(tmp_path / "one" / "model.safetensors")
    assert all(torch.equal(one[name], value) for name, value in first.items())
    model = load_reward_model(tmp_path / "warm" / AVERAGED)
    assert np.isfinite(score(model, [Text("a", "b c")])).all()
    with pytest.raises(UsageError, match="averaged weights need several members"):
        train_reward_model(base, data, tmp_path / "no", config=QUICK.but(averaged=True))


def test_members_on_different_bases(base: Path, tmp_path: Path) -> None:
    """They read the texts by their own tokenizers, take turns, and are one ensemble."""
    other = tiny_base(tmp_path / "other", ["good bad"], layers=2, width=16, max_length=64)
    data, config = preferences(40), QUICK.but(members=3)
    out = tmp_path / "out"
    done = train_reward_model([base, other], data, out, config=config)
    sizes = [json.loads((out / f"member_{k}" / "config.json").read_text())["hidden_size"]
             for k in range(3)]  # fmt: skip
    assert sizes == [32, 16, 32]
    # Each member is what training on its base alone gives.
    train_reward_model(other, data, tmp_path / "alone", config=QUICK.but(seed=QUICK.seed + 1))
    alone = load_file(tmp_path / "alone" / "model.safetensors")
    member = load_file(out / "member_1" / "model.safetensors")
    assert all(torch.equal(member[name], value) for name, value in alone.items())
    texts = [Text("a", "good"), Text("a", "bad")]
    apart = [score(load_reward_model(out / f"member_{k}"), texts) for k in range(3)]
    assert np.allclose(score(load_reward_model(out), texts), np.mean(apart, axis=0), atol=1e-6)
    again = train_reward_model([base, other], data, out, config=config)
    assert str(again) == str(done)  # its speed too: nothing was trained again
    assert len(train_reward_model([base, other], data, tmp_path / "two", config=QUICK).members) == 2
    with pytest.raises(UsageError, match="3 bases, but 2 members"):
        train_reward_model([base, other, base], data, tmp_path / "no", config=QUICK.but(members=2))
    with pytest.raises(UsageError, match="weights of different bases have no mean"):
        train_reward_model(
            [base, other], data, tmp_path / "no", config=config.but(averaged=True, members=2)
        )


def test_centering_holds_the_level_and_not_the_differences(base: Path, tmp_path: Path) -> None:
    by_hand = centering(
        torch.tensor([[1.0, -3.0], [2.0, 5.0]]), torch.tensor([[True, True], [True, False]])
    )
    assert by_hand.tolist() == [4.0, 4.0]
    data = preferences(40)
    texts = [
        Text(prompt, text)
        for prompt, *sides in data.frame[["prompt", "chosen", "rejected"]].itertuples(index=False)
        for text in sides
    ]
    levels, accuracy = {}, {}
    for weight in (0.0, 1.0):
        folder = tmp_path / str(weight)
        config = QUICK.but(epochs=3, center=weight)
        train_reward_model(base, data, folder, config=config)
        rewards = score(load_reward_model(folder), texts).reshape(-1, 2)
        levels[weight] = abs(float(rewards.sum(axis=1).mean()))
        accuracy[weight] = float((rewards[:, 0] > rewards[:, 1]).mean())
    assert levels[1.0] < min(0.2, levels[0.0])
    assert accuracy[1.0] > 0.8
