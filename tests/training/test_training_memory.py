"""What saves memory and what fixes a scale changes no gradient that it should not."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from policies import PROMPTS, count_reward, llama_policy
from transformers import AutoModelForCausalLM

from rmaudit.data import load
from rmaudit.errors import UsageError
from rmaudit.training.policy.a2c import train_a2c
from rmaudit.training.policy.dpo import train_dpo
from rmaudit.training.policy.ppo import clipped_value_loss, train_ppo
from rmaudit.training.policy.rloo import train_rloo
from rmaudit.training.policy.run import merged
from rmaudit.training.policy.settings import (
    A2cConfig,
    DpoConfig,
    PpoConfig,
    RlooConfig,
    SftConfig,
)
from rmaudit.training.policy.sft import train_sft
from rmaudit.training.policy.text import _with_adapters
from rmaudit.training.recompute import enable, recomputing
from rmaudit.training.reward.pairs import bootstrapped

OUTPUTS = [[9, 9, 1], [2, 1], [9, 4, 4, 1]]
OTHERS = [[2, 2, 1], [9, 1], [5, 1]]


def weights(policy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def parameters(policy) -> list[torch.nn.Parameter]:
    return list(policy.model.parameters())


def test_recomputed_layers_give_the_same_gradients_and_leave_no_trace() -> None:
    plain, saving = llama_policy(0), llama_policy(0)
    enable(saving.model, "llama")
    rollout = plain.pack(PROMPTS, OUTPUTS)
    for policy in (plain, saving):
        policy.log_probs(rollout).sum().backward()
    for one, other in zip(plain.model.parameters(), saving.model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-7)
    assert not any(module.training for module in saving.model.modules())
    layer = next(m for m in saving.model.modules() if type(m).__name__ == "LlamaDecoderLayer")
    with recomputing(saving.model):
        assert layer.training
        assert not layer.self_attn.training
    # Sampling keeps its cache: the same samples with and without.
    samples = [p.sample(PROMPTS, torch.Generator().manual_seed(1))[0] for p in (plain, saving)]
    assert samples[0].outputs == samples[1].outputs
    with pytest.raises(UsageError, match="x: Linear has no layers that can be recomputed"):
        enable(torch.nn.Linear(2, 2), "x")


@pytest.mark.parametrize("method", ["sft", "dpo", "ppo", "rloo", "a2c"])
def test_gradients_of_micro_batches_add_up(method: str, tmp_path: Path) -> None:
    found = []
    for size in (None, 1, 2):
        policy, out = llama_policy(0), tmp_path / str(size)
        shared = {"steps": 2, "batch": 3, "learning_rate": 1e-3, "micro_batch": size}
        shared |= {"clip_norm": 1e9}  # so that a gradient's size shows
        if method == "sft":
            train_sft(policy, PROMPTS, OUTPUTS, SftConfig(**shared), out)
        elif method == "dpo":
            train_dpo(policy, PROMPTS, OUTPUTS, OTHERS, DpoConfig(**shared), out)
        elif method == "ppo":
            config = PpoConfig(**shared, epochs=2, minibatch=3)
            train_ppo(policy, count_reward, PROMPTS, config, out)
        elif method == "rloo":
            config = RlooConfig(**shared | {"batch": 6}, samples=2)
            train_rloo(policy, count_reward, PROMPTS, config, out)
        else:
            config = A2cConfig(**shared, entropy_weight=0.1)
            train_a2c(policy, count_reward, PROMPTS, config, out)
        last = (out / "training-log.jsonl").read_text().splitlines()[1]
        found.append((weights(policy), json.loads(last), [p.grad for p in parameters(policy)]))
    for other, record, gradients in found[1:]:
        assert any(float(gradient.abs().max()) > 1e-3 for gradient in gradients)
        for whole, parts in zip(found[0][2], gradients, strict=True):
            assert torch.allclose(whole, parts, atol=2e-5)
        for name, value in found[0][0].items():
            assert torch.allclose(value, other[name], atol=2e-5), name
        assert record["loss"] == pytest.approx(found[0][1]["loss"], abs=1e-5)


def test_adapters_are_trained_alone_and_merged_at_the_end(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    policy = llama_policy(0)
    before = weights(policy)
    policy.model = _with_adapters(policy.model, 2, seed=0)
    first = merged(policy.model).state_dict()
    assert all(torch.equal(first[name], value) for name, value in before.items())
    config = SftConfig(steps=3, batch=3, learning_rate=1e-2)
    train_sft(policy, PROMPTS, OUTPUTS, config, tmp_path)
    trained = [name for name, p in policy.model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora" in name for name in trained)
    base = copy.deepcopy(policy.model).unload().state_dict()
    assert all(torch.equal(base[name], value) for name, value in before.items())
    saved = AutoModelForCausalLM.from_pretrained(tmp_path)  # a plain model, without peft
    ids = torch.tensor([[3, 4, 9]])
    assert torch.allclose(saved(ids).logits, policy.model(input_ids=ids).logits, atol=1e-5)
    again = llama_policy(0)
    again.model = _with_adapters(again.model, 2, seed=0)
    train_sft(again, PROMPTS, OUTPUTS, config, tmp_path)  # ended: taken up
    assert torch.allclose(again.model(input_ids=ids).logits, saved(ids).logits, atol=1e-5)


def test_the_value_clip_has_no_unit(tmp_path: Path) -> None:
    """Rewards a thousand times as large leave the policy as it is: advantages are whitened, values
    start at 0, and the clip of the value is in SDs of the rewards. beta has a unit, so it is 0."""
    shares = []
    for scale in (1.0, 1000.0):
        policy, out = llama_policy(0), tmp_path / str(scale)

        def reward(prompts, outputs, scale=scale):
            made = count_reward(prompts, outputs)
            return type(made)(proxy=scale * made.proxy, gold=made.gold)

        config = PpoConfig(
            steps=1, batch=6, learning_rate=1e-3, beta=0.0, epochs=1, minibatch=6, value_weight=0.0
        )
        train_ppo(policy, reward, PROMPTS, config, out)
        record = json.loads((out / "training-log.jsonl").read_text().splitlines()[0])
        shares.append((weights(policy), record["value_loss"] / scale**2))
    assert shares[0][1] == pytest.approx(shares[1][1], rel=1e-4)
    for name, value in shares[0][0].items():
        assert torch.allclose(value, shares[1][0][name], atol=1e-5), name
    moved = clipped_value_loss(*(torch.tensor([v]) for v in (3.0, 0.0, 10.0)), clip=5.0)
    assert float(moved) == pytest.approx(0.5 * 7**2)


def test_a_bootstrap_draws_whole_prompts() -> None:
    frame = pd.DataFrame(
        {"prompt": ["a", "a", "b", "c", "c", "c"], "chosen": list("uvwxyz"), "rejected": ["q"] * 6}
    )
    data = load(frame)
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = bootstrapped(data, np.arange(6), rng)
        counts = np.bincount(drawn, minlength=6)
        assert counts[0] == counts[1]
        assert counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[2] + counts[3] == 3
