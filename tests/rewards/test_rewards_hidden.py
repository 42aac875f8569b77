"""Hidden states are what the reward is read from, whatever the architecture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_models import TEXTS, save

from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.local.hidden import hidden_states
from rmaudit.rewards.local.transformers_model import TransformersReward


@pytest.mark.parametrize("kind", ["llama", "gpt2", "bert", "deberta-v2", "roberta", "xlnet"])
def test_the_head_maps_the_states_to_the_rewards(tmp_path: Path, kind: str) -> None:
    reward_model = load_reward_model(save(tmp_path / kind, kind))
    assert isinstance(reward_model, TransformersReward)
    texts = [*TEXTS, *TEXTS[::-1]]
    states = hidden_states(reward_model, texts)
    rewards = np.concatenate([reward_model.forward([e]) for e in reward_model.encode(texts)])
    heads = [m for m in reward_model.model.modules() if getattr(m, "out_features", 0) == 1]
    weight = heads[-1].weight.detach().numpy()[0]
    bias = 0.0 if heads[-1].bias is None else float(heads[-1].bias.detach()[0])
    assert states @ weight + bias == pytest.approx(rewards, abs=1e-4)


def test_of_an_ensemble_the_first_member_is_asked(tmp_path: Path) -> None:
    first = load_reward_model(save(tmp_path / "a", "llama"))
    second = load_reward_model(save(tmp_path / "b", "gpt2"))
    states = hidden_states(Ensemble([first, second]), TEXTS)
    assert np.array_equal(states, hidden_states(first, TEXTS))
    assert hidden_states(first, []).shape == (0, 1)


def test_other_models_have_none() -> None:
    def reward(pairs: list[tuple[str, str]]) -> list[float]:
        return [0.0] * len(pairs)

    with pytest.raises(UsageError, match="tfidf"):
        hidden_states(load_reward_model(reward), TEXTS)
