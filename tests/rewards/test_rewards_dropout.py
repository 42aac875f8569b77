"""Monte Carlo dropout: members are functions of the text, differ, and have the model's mean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import TEXTS, save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel


def rewards(model: RewardModel) -> np.ndarray:
    return model.forward(model.encode(TEXTS))


@pytest.fixture(params=["bert", "gpt2", "deberta-v2"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save(tmp_path / "model", request.param)


def test_a_member_is_a_function_of_the_text(folder: Path) -> None:
    ensemble = load_reward_model(f"dropout:{folder}?members=3")
    members = ensemble.members
    assert len(members) == 3
    together = np.stack([rewards(member) for member in members])
    again = load_reward_model(f"dropout:{folder}?members=3").members
    np.testing.assert_array_equal(together, [rewards(member) for member in again])
    for member, row in zip(members, together, strict=True):
        alone = [member.forward([each])[0] for each in member.encode(TEXTS)]
        np.testing.assert_allclose(row, alone, atol=1e-5)
    assert (together.std(axis=0) > 1e-3).all()
    assert len({member.fingerprint for member in members}) == 3


def test_the_model_itself_stays_as_it_was(folder: Path) -> None:
    plain = rewards(load_reward_model(str(folder)))
    ensemble = load_reward_model(f"dropout:{folder}")
    assert len(ensemble.members) == 5
    rewards(ensemble.members[0])
    np.testing.assert_array_equal(plain, rewards(ensemble.members[0].base))


def test_units_are_dropped_at_the_layers_rate(tmp_path: Path) -> None:
    """The first dropout of this BERT follows its embeddings: a share of 0.1 of 32 units is off."""
    folder = save(tmp_path / "model", "bert")
    kept = []
    for member in load_reward_model(f"dropout:{folder}?members=40").members:
        mask = member._mask(0, 0.1, torch.zeros(1, 5, 32))
        assert set(np.unique(mask.numpy()).round(5)) <= {0.0, np.float32(1 / 0.9).round(5)}
        kept.append(float((mask > 0).float().mean()))
    assert abs(np.mean(kept) - 0.9) < 4 * np.sqrt(0.09 / (40 * 32))


def test_what_cannot_be_drawn_from_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", "llama")
    with pytest.raises(RewardModelError, match="no dropout"):
        load_reward_model(f"dropout:{folder}")
    for query in ("members=1", "members=x", "rate=0.1"):
        with pytest.raises(UsageError, match="members=N"):
            load_reward_model(f"dropout:{folder}?{query}")
