"""The whole way in the clinic at small size: train, optimise three ways, read the log back."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from rmaudit.overoptimization import clinic_curves as clinic
from rmaudit.overoptimization.clinic_curves import TextRewards, aggregated, from_clinic
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.worlds.clinic.policy import ClinicSetting
from rmaudit.worlds.clinic.world import ClinicWorld


@pytest.fixture
def careful(monkeypatch: pytest.MonkeyPatch) -> Iterator[RewardModel]:
    """Written-down members instead of trained ones, and a fresh policy: seconds, not minutes."""
    members = [
        load_reward_model(f"python:rmaudit.worlds.clinic.careful_tone:member_{i}") for i in range(3)
    ]
    from rmaudit.rewards.ensemble import Ensemble

    model = Ensemble(members)
    monkeypatch.setattr(clinic, "_trained", lambda *_: model)
    monkeypatch.setattr(clinic, "PPO_BATCH", 16)
    monkeypatch.setattr(
        ClinicSetting, "pretrained_policy", lambda self, seed, out: self.fresh_policy(seed)
    )
    few = functools.partial(ClinicSetting, n_contexts=4)
    monkeypatch.setattr("rmaudit.worlds.clinic.policy.ClinicSetting", few)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield model
    torch.set_num_threads(before)


def test_every_method_has_a_curve_with_the_worlds_gold(
    careful: RewardModel, tmp_path: Path
) -> None:
    result = from_clinic(
        tmp_path, pool=(30, 32), ppo=("mean",), ppo_steps=9, resamples=100, say=lambda _: None
    )
    curve = result.curve
    assert set(zip(curve["run"], curve["method"], strict=True)) == {
        *((name, method) for name in clinic.PROXIES for method in ("bon", "tilted")),
        ("mean", "rl"),
    }
    # pi_pre's own gold is the mean over the pool, whatever selects.
    world = ClinicWorld(0)
    drawn = world.draw_samples(30, 32, np.random.default_rng([0, 1]))
    start = curve[curve["n"] == 1]["gold"].to_numpy(dtype=float)
    assert start == pytest.approx(np.mean(drawn["gold_rewards"].tolist()))
    log = next(tmp_path.glob("ppo-*/training-log.jsonl"))
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(records) == 10
    assert {"kl_k1", "proxy", "gold", "disagreement", "kl_exact", "gold_exact"} <= set(records[0])
    assert records[0]["kl_exact"] == pytest.approx(0, abs=1e-6)


def test_each_text_is_scored_once_and_as_the_model_scores_it(careful: RewardModel) -> None:
    world = ClinicWorld(0)
    rewards = TextRewards(world, careful)
    contexts, outputs = np.array([3, 7, 3]), np.array([11, 5, 11])
    found = rewards.members(contexts, outputs)
    assert found.shape == (3, 3)
    assert found[:, 0].tolist() == found[:, 2].tolist()
    assert len(rewards._known) == 2
    from rmaudit.rewards.base import Text
    from rmaudit.training.policy.reward import score

    text = Text(str(world.contexts["prompt"].iloc[7]), world.output_text(7, 5))
    assert found[1, 1] == score(careful.members[1], [text])[0]


def test_proxies_by_name() -> None:
    members = np.array([[1.0, 2.0], [3.0, 0.0]])
    assert aggregated(members, "one model").tolist() == [1, 2]
    assert aggregated(members, "mean").tolist() == [2, 1]
    assert aggregated(members, "wco").tolist() == [1, 0]
    assert aggregated(members, "uwo").tolist() == [1.5, 0.5]  # variance 1, weight one half
