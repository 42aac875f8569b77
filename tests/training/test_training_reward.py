"""Reward training: learns a planted rule, resumes bit for bit, saves what transformers loads."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import preferences
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, LlamaConfig

from rmaudit.errors import DataError, RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import Text
from rmaudit.training.checkpoint import CHECKPOINT, LOG
from rmaudit.training.reward.pairs import split
from rmaudit.training.reward.settings import RewardTrainingConfig, TrainingProgress
from rmaudit.training.reward.train import train_reward_model

QUICK = RewardTrainingConfig(
    epochs=3,
    learning_rate=3e-3,
    batch_pairs=8,
    max_length=64,
    held_out_share=0.2,
    checkpoint_every=3,
    evaluations_per_epoch=1,
    precision="float32",
)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def kill_at(step: int) -> Callable[[TrainingProgress], None]:
    def on_progress(progress: TrainingProgress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    return on_progress


def test_learns_a_planted_rule_on_prompts_it_never_saw(base: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    result = train_reward_model(
        base, preferences(160), tmp_path, config=QUICK, on_progress=seen.append
    )
    (member,) = result.members
    assert member.held_out_accuracy == 1.0
    assert member.held_out_loss < 0.1
    assert [p.step for p in seen] == list(range(1, member.steps + 1))
    assert result.pairs == 160
    assert 0 < result.pairs_held_out < 60
    assert result.to_frame()["held_out_accuracy"].tolist() == [1.0]


def test_plain_transformers_gives_the_rewards_that_were_trained(base: Path, tmp_path: Path) -> None:
    data = preferences(80)
    result = train_reward_model(base, data, tmp_path, config=QUICK)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    assert model.config.num_labels == 1
    _, held_out = split(data, QUICK.held_out_share, np.random.default_rng(QUICK.seed))
    margins = []
    for row in data.frame.iloc[held_out].itertuples():
        reward = []
        for output in (row.chosen, row.rejected):
            ids = tokenizer(f"{row.prompt}\n\n{output}", return_tensors="pt")["input_ids"]
            with torch.inference_mode():
                reward.append(float(model(input_ids=ids).logits[0, 0]))
        margins.append(reward[0] - reward[1])
    loss = sum(math.log1p(math.exp(-m)) for m in margins) / len(margins)
    assert result.members[0].held_out_loss == pytest.approx(loss, abs=1e-5)
    assert result.members[0].held_out_accuracy == np.mean(np.array(margins) > 0)


@pytest.mark.parametrize("step", [1, 4, 11])
def test_a_killed_run_resumes_to_the_same_weights(base: Path, tmp_path: Path, step: int) -> None:
    data = preferences(60)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    expected = train_reward_model(base, data, whole, config=QUICK)
    with pytest.raises(KeyboardInterrupt):
        train_reward_model(base, data, killed, config=QUICK, on_progress=kill_at(step))
    assert not (killed / "model.safetensors").exists()
    found = train_reward_model(base, data, killed, config=QUICK)
    assert same(weights(killed), weights(whole))
    assert not (killed / CHECKPOINT).exists()
    assert found.members[0].held_out_loss == expected.members[0].held_out_loss
    steps = [
        (record["step"], "held_out_loss" in record)
        for record in map(json.loads, (killed / LOG).read_text().splitlines())
    ]
    assert len(steps) == len(set(steps))
    assert [s for s, held_out in steps if not held_out] == list(range(1, steps[-1][0] + 1))


def test_a_finished_run_is_not_repeated_and_another_is_refused(base: Path, tmp_path: Path) -> None:
    data = preferences(40)
    first = train_reward_model(base, data, tmp_path, config=QUICK)
    written = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert train_reward_model(base, data, tmp_path, config=QUICK) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(UsageError, match="another settings"):
        train_reward_model(base, data, tmp_path, config=QUICK.but(seed=1))
    with pytest.raises(UsageError, match="another data"):
        train_reward_model(base, preferences(40, seed=5), tmp_path, config=QUICK)


def test_an_ensemble_differs_by_seed_alone(base: Path, tmp_path: Path) -> None:
    data = preferences(40)
    config = QUICK.but(epochs=1, members=2, uncertainty_weight=0.7)
    result = train_reward_model(base, data, tmp_path / "both", config=config)
    assert json.loads((tmp_path / "both" / "ensemble.json").read_text()) == {
        "members": ["member_0", "member_1"],
        "aggregate": "mean",
        "uncertainty_weight": 0.7,
    }
    first, second = (weights(tmp_path / "both" / f"member_{k}") for k in range(2))
    assert not same(first, second)
    assert [member.seed for member in result.members] == [0, 1]
    train_reward_model(base, data, tmp_path / "one", config=config.but(members=1))
    assert same(weights(tmp_path / "one"), first)


def test_scoring_gives_the_rewards_that_were_trained(base: Path, tmp_path: Path) -> None:
    data = preferences(80)
    result = train_reward_model(base, data, tmp_path, config=QUICK.but(members=2))
    _, held_out = split(data, QUICK.held_out_share, np.random.default_rng(QUICK.seed))
    frame = data.frame.iloc[held_out]
    ensemble = load_reward_model(tmp_path, device="cpu")
    sides = []
    for side in ("chosen", "rejected"):
        texts = [Text(p, o) for p, o in zip(frame["prompt"], frame[side], strict=True)]
        encoded = ensemble.encode(texts)
        sides.append(
            [
                model.forward([e.payload[k] for e in encoded])
                for k, model in enumerate(ensemble.members)
            ]
        )
    margins = np.array(sides[0]) - np.array(sides[1])  # (members, pairs)
    losses = np.logaddexp(0, -margins).mean(axis=1)
    expected = [member.held_out_loss for member in result.members]
    np.testing.assert_allclose(losses, expected, atol=1e-5)


def test_threads_are_set_for_the_run_alone(base: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    during: list[int] = []
    train_reward_model(
        base,
        preferences(20),
        tmp_path,
        config=QUICK.but(epochs=1, threads=1),
        on_progress=lambda _: during.append(torch.get_num_threads()),
    )
    assert set(during) == {1}
    assert torch.get_num_threads() == before


def test_cutting_a_batch_changes_no_gradient(base: Path, tmp_path: Path) -> None:
    data = preferences(40)
    config = QUICK.but(epochs=1, held_out_share=0.0)
    for name, budget in (("whole", 100_000), ("cut", 60)):
        train_reward_model(base, data, tmp_path / name, config=config.but(token_budget=budget))
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for name in whole:
        # Adam divides by the gradient's size: rounding shows where a gradient is nearly 0
        torch.testing.assert_close(whole[name], cut[name], rtol=0, atol=2e-3)
    assert not same(whole, cut)


def test_training_stops_when_the_held_out_loss_rises(base: Path, tmp_path: Path) -> None:
    data = preferences(60)
    frame = data.frame.copy()
    swap = np.random.default_rng(0).random(60) < 0.5  # labels by coin: nothing to generalise
    frame.loc[swap, ["chosen", "rejected"]] = frame.loc[swap, ["rejected", "chosen"]].to_numpy()
    config = QUICK.but(epochs=40, patience=2)
    result = train_reward_model(base, replace(data, frame=frame), tmp_path, config=config)
    (member,) = result.members
    assert member.steps < 40 * 6
    records = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    found = {r["step"]: r for r in records if "held_out_loss" in r}
    losses = {step: r["held_out_loss_rescaled"] for step, r in found.items()}
    assert losses[member.kept_step] == min(losses.values())
    assert member.held_out_loss == found[member.kept_step]["held_out_loss"]
    assert list(losses).index(member.kept_step) == len(losses) - 3


def test_a_decoder_whose_pad_is_its_end_token(base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.eos_token = "[SEP]"
    decoder = tmp_path / "decoder"
    tokenizer.save_pretrained(decoder)
    LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
    ).save_pretrained(decoder)
    result = train_reward_model(decoder, preferences(160), tmp_path / "out", config=QUICK)
    assert result.members[0].held_out_accuracy > 0.95


def test_ties_are_left_out_and_counted(base: Path, tmp_path: Path) -> None:
    data = preferences(40)
    data.frame.loc[:4, "tie"] = True
    result = train_reward_model(base, data, tmp_path, config=QUICK.but(epochs=1))
    assert (result.rows_read, result.ties_dropped, result.pairs) == (40, 5, 35)


def test_no_prompt_is_on_both_sides_of_the_split() -> None:
    data = preferences(200)
    train, held_out = split(data, 0.1, np.random.default_rng(0))
    assert sorted([*train, *held_out]) == list(range(200))
    prompts = data.frame["prompt"]
    assert set(prompts[train]).isdisjoint(prompts[held_out])
    assert prompts[held_out].nunique() == 3  # a tenth of 30


def test_bad_input_is_one_clear_line(base: Path, tmp_path: Path) -> None:
    data = preferences(20)
    with pytest.raises(DataError, match="needs preference data"):
        train_reward_model(base, replace(data, type="samples"), tmp_path / "a", config=QUICK)
    with pytest.raises(DataError, match="share one prompt"):
        train_reward_model(base, preferences(20, prompts=1), tmp_path / "b", config=QUICK)
    ties = preferences(3)
    ties.frame["tie"] = True
    with pytest.raises(DataError, match="no pair to train on"):
        train_reward_model(base, ties, tmp_path / "c", config=QUICK)
    with pytest.raises(RewardModelError, match="cannot load the tokenizer"):
        train_reward_model(tmp_path / "absent", data, tmp_path / "d", config=QUICK)
    wild = QUICK.but(learning_rate=1e20, warmup_share=0.0)
    with pytest.raises(RewardModelError, match="lower the learning rate"):
        train_reward_model(base, data, tmp_path / "e", config=wild)
    with pytest.raises(UsageError, match="batch_pairs must be greater than or equal to 1, not 0"):
        QUICK.but(batch_pairs=0)
    with pytest.raises(UsageError, match="held_out_share"):
        QUICK.but(held_out_share=1.0)


def test_pickled_weights_are_refused_not_ignored(base: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    shutil.copytree(base, pickled)
    torch.save({}, pickled / "pytorch_model.bin")
    with pytest.raises(RewardModelError, match="cannot load the model"):
        train_reward_model(pickled, preferences(20), tmp_path / "out", config=QUICK)


def test_training_goes_on_from_a_trained_model(base: Path, tmp_path: Path) -> None:
    data = preferences(160)
    train_reward_model(base, data, tmp_path / "first", config=QUICK)
    still = QUICK.but(learning_rate=1e-9, epochs=1)  # what it starts with is what it learnt
    second = train_reward_model(tmp_path / "first", data, tmp_path / "second", config=still)
    assert second.members[0].held_out_accuracy == 1.0
    found, expected = weights(tmp_path / "second"), weights(tmp_path / "first")
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-6)
