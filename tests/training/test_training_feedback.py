"""Reward training picks its loss by the type of the data; critiques, heads and adapters."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from planted import preferences
from safetensors.torch import load_file

import rmaudit as rma
from rmaudit.data.types import Dataset
from rmaudit.errors import DataError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import Text
from rmaudit.training.policy.reward import score
from rmaudit.training.reward.backbone import load_encoder
from rmaudit.training.reward.examples import encode_examples
from rmaudit.training.reward.objectives import critique_losses, evaluate, example_losses
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.training.reward.train import train_reward_model

QUICK = RewardTrainingConfig(
    epochs=8,
    learning_rate=4e-3,
    max_length=64,
    held_out_share=0.2,
    evaluations_per_epoch=1,
    precision="float32",
)


def feedback(kind: str, n: int = 160) -> Dataset:
    """A planted rule: the more often an output says good rather than bad, the better."""
    pairs = preferences(n).frame
    rows: list[dict[str, Any]] = []
    for row in pairs.itertuples():
        texts = [f"{row.chosen} good", row.chosen, row.rejected]  # from best to worst
        if kind == "ranking":
            order = np.random.default_rng(int(row.row)).permutation(3)
            outputs = [texts[i] for i in order]
            rows.append({"prompt": row.prompt, "outputs": outputs, "ranking": (order + 1).tolist()})
            continue
        worth = int(row.row) % 3
        single = {"prompt": row.prompt, "output": texts[worth]}
        target = {"rating": 2.0 - worth} if kind == "rating" else {"label": worth < 2}
        rows.append(single | target)
    return rma.load(pd.DataFrame(rows))


def texts_of(data: Dataset) -> list[Text]:
    return [Text(p, o) for p, o in zip(data.frame["prompt"], data.frame["output"], strict=True)]


def head_values(model: Path, head: int, texts: list[Text]) -> np.ndarray:
    return score(load_reward_model(model, head=head, device="cpu"), texts)


@pytest.mark.parametrize("kind", ["ranking", "rating", "unpaired"])
def test_each_type_of_feedback_is_learnt(kind: str, base: Path, tmp_path: Path) -> None:
    planted = feedback(kind, 80 if kind == "ranking" else 160)
    result = train_reward_model(base, planted, tmp_path, config=QUICK)
    assert result.members[0].held_out_accuracy > 0.9
    model = load_reward_model(tmp_path, device="cpu")
    data = preferences(40, seed=9).frame
    sides = [
        model.forward(
            model.encode([Text(p, o) for p, o in zip(data["prompt"], data[side], strict=True)])
        )
        for side in ("chosen", "rejected")
    ]
    assert (sides[0] > sides[1]).mean() > 0.9
    if kind == "rating":  # squared error: the reward has the ratings' unit
        errors = score(model, texts_of(data := feedback(kind))) - data.frame["rating"]
        assert (errors**2).mean() < 0.4 * data.frame["rating"].var()


def encoded(data: Dataset, base: Path, **settings: Any) -> Any:
    encoder = load_encoder(str(base), 64)
    return encode_examples(data, encoder.encode, QUICK.but(**settings))


def test_targets_of_preferences(base: Path) -> None:
    data = preferences(3)
    data.frame["annotator_votes"] = [["chosen", "chosen", "rejected", "tie"], [], ["rejected"]]
    data.frame["better_by"] = [0.5, 1.0, 2.0]
    found = encoded(data, base, soft_labels=True, margin_column="better_by").target
    np.testing.assert_allclose(found, [[2 / 3, 0.5], [1, 1], [0, 2]])
    smooth = encoded(data, base, soft_labels=True, label_smoothing=0.1).target[:, 0]
    np.testing.assert_allclose(smooth, [0.9 * 2 / 3 + 0.1 / 3, 0.9, 0.1])
    with pytest.raises(DataError, match="no column 'absent'"):
        encoded(data, base, margin_column="absent")


def test_targets_of_rankings_with_ties(base: Path) -> None:
    data = rma.load(
        pd.DataFrame(
            [
                {"prompt": "alpha", "outputs": ["a", "good", "bad"], "ranking": [2, 1, 2]},
                {"prompt": "beta", "outputs": ["bad", "good"], "ranking": [2, 1]},
            ]
        )
    )
    found = encoded(data, base)
    assert found.target.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert [len(texts) for texts in found.texts] == [3, 2]
    good = load_encoder(str(base), 64).encode([Text("alpha", "good")])[0].payload
    assert found.texts[0][0] == list(good)  # the best first
    # held out: 2 strict pairs of the first, 1 of the second; one of the three is wrong
    rewards = np.array([[3.0, 1.0, 4.0], [1.0, 0.0, 0.0]])
    there = np.array([[True, True, True], [True, True, False]])
    assert evaluate(found, rewards, there).held_out_accuracy == pytest.approx(2 / 3)


def test_losses_of_each_type_by_hand() -> None:
    heads = torch.tensor([[[math.log(3)], [0.0]]], dtype=torch.float64)
    there = torch.ones(1, 2, dtype=torch.bool)

    def loss(kind: Any, target: list[float], heads: torch.Tensor = heads) -> float:
        wanted = torch.tensor([target], dtype=torch.float64)
        return float(example_losses(kind, heads, there[:, : heads.shape[1]], wanted)[0])

    assert loss("preference", [1.0, 0.0]) == pytest.approx(math.log(4 / 3))
    assert loss("preference", [1.0, math.log(3)]) == pytest.approx(math.log(2))
    assert loss("ranking", [0.0, 1.0]) == pytest.approx(math.log(4 / 3))
    assert loss("unpaired", [0.0], heads[:, :1]) == pytest.approx(math.log(4))
    two = torch.tensor([[[1.0, 5.0, 9.0]]], dtype=torch.float64)  # two ratings, one attribute
    assert loss("rating", [3.0, 4.0], two) == pytest.approx((4 + 1) / 2)
    assert loss("rating", [3.0, math.nan], two) == pytest.approx(4)
    both = torch.tensor([[[1.0, 7.0], [2.0, math.log(3)]]], dtype=torch.float64)
    named = critique_losses(both, there, torch.tensor([[1.0]], dtype=torch.float64))
    assert float(named) == pytest.approx(math.log(4 / 3))  # of the last text


def test_several_ratings_have_a_head_each(base: Path, tmp_path: Path) -> None:
    data = feedback("rating")
    data.frame["bad"] = 1 - data.frame["rating"]
    config = QUICK.but(rating_columns=("rating", "bad"))
    train_reward_model(base, data, tmp_path, config=config)
    for head, column in enumerate(config.rating_columns):
        values = head_values(tmp_path, head, texts_of(data))
        assert np.corrcoef(values, data.frame[column])[0, 1] > 0.8
    loaded = load_reward_model(tmp_path, device="cpu")  # the first is the reward
    np.testing.assert_array_equal(
        score(loaded, texts_of(data)), head_values(tmp_path, 0, texts_of(data))
    )
    with pytest.raises(UsageError, match=r"0 = reward \(rating\), 1 = bad"):
        load_reward_model(tmp_path, head=2)


def test_critiques_are_learnt_beside_the_reward(base: Path, tmp_path: Path) -> None:
    data = feedback("rating")
    data.frame["missing"] = [[] if "good" in text else ["praise"] for text in data.frame["output"]]
    result = train_reward_model(base, data, tmp_path, config=QUICK)
    assert result.members[0].held_out_accuracy > 0.9
    values = head_values(tmp_path, 1, texts_of(data))
    lacks = np.array([bool(names) for names in data.frame["missing"]])
    assert ((values > 0) == lacks).mean() > 0.95
    loaded = load_reward_model(tmp_path, device="cpu")  # needs no --head: its labels say which
    np.testing.assert_array_equal(
        score(loaded, texts_of(data)), head_values(tmp_path, 0, texts_of(data))
    )
    data.frame["missing"] = "praise"
    with pytest.raises(DataError, match="row 1, column missing: needs a list"):
        train_reward_model(base, data, tmp_path / "b", config=QUICK)


def test_adapters_leave_the_base_alone_and_are_scored(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    whole = tmp_path / "whole"
    train_reward_model(base, preferences(20), whole, config=QUICK.but(epochs=1))
    before = (whole / "model.safetensors").read_bytes()
    config = QUICK.but(lora_rank=4, learning_rate=1e-2)
    result = train_reward_model(whole, preferences(160), tmp_path / "lora", config=config)
    assert result.members[0].held_out_accuracy > 0.9
    assert (whole / "model.safetensors").read_bytes() == before
    assert not (tmp_path / "lora" / "model.safetensors").exists()
    adapters = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert any("lora_A" in name for name in adapters)
    model = load_reward_model(tmp_path / "lora", device="cpu")
    rewards = model.forward(model.encode([Text("alpha?", "good"), Text("alpha?", "bad")]))
    assert rewards[0] > rewards[1]
    data = preferences(20)
    data.frame["missing"] = [["praise"]] * len(data)
    two = tmp_path / "two"  # heads in place of one: the body of `whole` goes on
    train_reward_model(whole, data, two, config=QUICK.but(epochs=1))
    train_reward_model(two, data, tmp_path / "heads", config=config.but(epochs=1))
    load_reward_model(tmp_path / "heads", device="cpu")  # one of the two is named reward
    with pytest.raises(UsageError, match="0 = reward, 1 = missing: praise"):
        load_reward_model(tmp_path / "heads", head=2)
    with pytest.raises(UsageError, match="its head gives 1 values and this feedback needs 2"):
        train_reward_model(whole, data, tmp_path / "b", config=config)
    with pytest.raises(UsageError, match="no weights to adapt"):
        train_reward_model(base, preferences(20), tmp_path / "c", config=config)


def test_settings_that_mean_nothing_are_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="soft_labels is for preference data, not for rating"):
        train_reward_model(base, feedback("rating"), tmp_path, config=QUICK.but(soft_labels=True))
    with pytest.raises(UsageError, match="label_smoothing"):
        QUICK.but(label_smoothing=0.5)
    rankings = rma.load(
        pd.DataFrame([{"prompt": "a", "outputs": ["b", "c"], "ranking": [1, 1]}] * 3)
    )
    with pytest.raises(DataError, match="no pair to train on"):
        train_reward_model(base, rankings, tmp_path, config=QUICK)


@pytest.mark.parametrize(
    ("margin", "words"),
    [("much", "row 2, column margin: needs a number, not 'much'"), (None, "row 2.*no margin")],
)
def test_a_margin_that_is_no_number_names_its_row(
    margin: str | None, words: str, base: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b", "margin": 1} for i in range(4)]
    rows[1]["margin"] = margin  # type: ignore[assignment]
    with pytest.raises(DataError, match=words):
        train_reward_model(base, rma.load(rows), tmp_path, config=QUICK.but(margin_column="margin"))


def test_another_label_is_another_run(base: Path, tmp_path: Path) -> None:
    data = feedback("rating", 30)
    train_reward_model(base, data, tmp_path, config=QUICK.but(epochs=1))
    assert json.loads((tmp_path / "training.json").read_text())["result"]
    data.frame.loc[0, "rating"] = 9.0
    with pytest.raises(UsageError, match="another data"):
        train_reward_model(base, data, tmp_path, config=QUICK.but(epochs=1))
