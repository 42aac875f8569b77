"""Iterated RLHF: every round samples, labels, retrains and continues; killed runs resume."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from policies import PROMPTS, llama_policy

from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import Text
from rmaudit.training.policy.iterated import (
    Prompts,
    bradley_terry_labels,
    iterate_rlhf,
)
from rmaudit.training.policy.settings import (
    IterationConfig,
    PpoConfig,
)
from rmaudit.training.reward.settings import RewardTrainingConfig

NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "good", "bad", "number")
CONFIG = IterationConfig(
    rounds=2,
    pairs=60,
    reward=RewardTrainingConfig(
        epochs=3, learning_rate=3e-3, max_length=32, held_out_share=0.0, precision="float32"
    ),
    policy=PpoConfig(steps=8, batch=24, minibatch=24, epochs=2, learning_rate=2e-2, beta=0.02),
)


def decode(prompt: int, ids: Sequence[int]) -> str:
    return " ".join(NAMES[token - 2] for token in ids if token >= 2)  # 9 is "good"


ASKED = Prompts(PROMPTS, ["alpha?", "beta?", "gamma?"], decode)


def by_count(first: Sequence[Text], second: Sequence[Text], rng: np.random.Generator) -> Any:
    counts = [np.array([t.output.split().count("good") for t in side]) for side in (first, second)]
    return counts[0] > counts[1]


def test_rounds_follow_each_other_and_resume(base: Path, tmp_path: Path) -> None:
    gold = load_reward_model("python:counting:count_good")
    policy = llama_policy(0)
    log = iterate_rlhf(policy, ASKED, by_count, base, CONFIG, tmp_path / "a", gold=gold)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["round"] for record in records] == [0, 1]
    assert "stale_accuracy" not in records[0]
    assert 0 <= records[1]["stale_accuracy"] <= 1
    assert records[1]["kl_k1"] > 0
    pairs = [
        pd.read_json(tmp_path / "a" / f"round_{k}" / "pairs.jsonl", lines=True) for k in (0, 1)
    ]
    assert records[1]["pairs"] == len(pairs[0]) + len(pairs[1])
    for frame in pairs:
        assert (frame["chosen"] != frame["rejected"]).all()
    counts = [frame["chosen"].str.count("good").mean() for frame in pairs]
    assert counts[1] > counts[0]  # the second round samples the policy that the first one left

    calls = 0

    def interrupted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return by_count(*arguments)

    with pytest.raises(KeyboardInterrupt):
        iterate_rlhf(llama_policy(0), ASKED, interrupted, base, CONFIG, tmp_path / "b", gold=gold)
    again = llama_policy(0)
    resumed = iterate_rlhf(again, ASKED, by_count, base, CONFIG, tmp_path / "b", gold=gold)
    assert resumed.read_text() == log.read_text()
    other = policy.model.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in again.model.state_dict().items())


def test_labels_are_drawn_from_bradley_terry() -> None:
    label = bradley_terry_labels(load_reward_model("python:counting:count_good"))
    first, second = [Text("p", "good good")] * 4000, [Text("p", "good")] * 4000
    share = label(first, second, np.random.default_rng(0)).mean()
    expected = 1 / (1 + np.exp(-1))
    assert share == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / 4000))


def test_bad_settings() -> None:
    with pytest.raises(UsageError, match="rounds must be"):
        IterationConfig(rounds=0)
