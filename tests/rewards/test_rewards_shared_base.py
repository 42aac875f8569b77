"""Adapters on one base: its weights are read, hashed and held once, and no adapter sees another."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest
import torch
import transformers
from tiny_models import TEXTS, save, tokenizer

from rmaudit.rewards import load_reward_model
from rmaudit.rewards.local import checkpoint_files, shared_base

peft = pytest.importorskip("peft")


def adapter(base, folder, seed, **options):
    """A random adapter with its head; what it gives when it is loaded by itself."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        start = transformers.AutoModelForSequenceClassification.from_pretrained(base)
        settings = {"init_lora_weights": False, **options}
        lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, **settings)
        adapted = peft.get_peft_model(start, lora).eval()
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name or ("bias" in options and name.endswith(".bias")):
                torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return adapted


def rewards_of(adapted, encoded):
    with torch.inference_mode():
        return [float(adapted(torch.tensor([e.payload])).logits[0, 0]) for e in encoded]


@pytest.fixture
def counted(monkeypatch):
    """How often a model's weights are read, and which files are hashed."""
    loads, hashed = [], []
    auto = transformers.AutoModelForSequenceClassification
    own, digest = auto.from_pretrained, checkpoint_files.hashlib.file_digest
    monkeypatch.setattr(auto, "from_pretrained", lambda *a, **k: loads.append(a[0]) or own(*a, **k))
    monkeypatch.setattr(
        checkpoint_files.hashlib, "file_digest", lambda f, k: hashed.append(f.name) or digest(f, k)
    )
    return loads, hashed


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_adapters_on_one_base_read_and_hash_it_once(tmp_path, counted):
    base = save(tmp_path / "base", "qwen2")  # its projections have biases
    members = ["a", "b", "biased"]
    folder = tmp_path / "ensemble"
    alone = [adapter(base, folder / name, seed) for seed, name in enumerate(members[:2])]
    alone.append(adapter(base, folder / "biased", 2, bias="all"))
    settings = {"members": members}
    (tmp_path / "ensemble" / "ensemble.json").write_text(json.dumps(settings))
    loads, hashed = counted
    loads.clear()
    ensemble = load_reward_model(tmp_path / "ensemble")
    assert len(loads) == 1
    assert len([p for p in hashed if p == str(base / "model.safetensors")]) == 1
    encoded = [member.encode(TEXTS) for member in ensemble.members]
    found = [m.forward(e) for m, e in zip(ensemble.members, encoded, strict=True)]
    for rewards, adapted in zip(found, alone, strict=True):
        np.testing.assert_allclose(rewards, rewards_of(adapted, encoded[0]), atol=1e-4, rtol=0)
    assert min(np.abs(found[0] - found[1]).max(), np.abs(found[1] - found[2]).max()) > 0.01
    one, two, biased = (dict(m.model.named_parameters()) for m in ensemble.members)
    name = next(n for n in one if n.endswith("q_proj.base_layer.weight"))
    assert one[name].data_ptr() == two[name].data_ptr() == biased[name].data_ptr()
    bias = next(n for n in one if n.endswith("k_proj.bias"))
    assert one[bias].data_ptr() == two[bias].data_ptr() != biased[bias].data_ptr()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_a_base_that_nobody_uses_or_that_changed_is_read_again(tmp_path, counted):
    base = save(tmp_path / "base", "llama")
    adapter(base, tmp_path / "a", 0)
    loads, _ = counted
    loads.clear()
    first = load_reward_model(tmp_path / "a")
    encoded = first.encode(TEXTS)
    rewards = first.forward(encoded)
    retouched = base / "model.safetensors"
    weights = checkpoint_weights(retouched)
    key = next(name for name in weights if name.endswith("norm.weight"))
    weights[key] = weights[key] * 2
    save_weights(weights, retouched)
    second = load_reward_model(tmp_path / "a")
    assert len(loads) == 2
    assert np.abs(second.forward(encoded) - rewards).max() > 0.01
    np.testing.assert_array_equal(first.forward(encoded), rewards)
    del first, second
    gc.collect()
    assert not list(shared_base._BASES)


def checkpoint_weights(path):
    from safetensors.torch import load_file

    return {name: tensor.clone() for name, tensor in load_file(path).items()}


def save_weights(weights, path):
    from safetensors.torch import save_file

    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_that_starts_from_its_bases_weights_leaves_the_others_base_alone(tmp_path):
    base = save(tmp_path / "base", "llama")
    plain = adapter(base, tmp_path / "plain", 0)
    adapter(base, tmp_path / "pissa", 1, init_lora_weights="pissa")
    first = load_reward_model(tmp_path / "plain")
    encoded = first.encode(TEXTS)
    load_reward_model(tmp_path / "pissa")
    again = load_reward_model(tmp_path / "plain")
    for rewarder in (first, again):
        np.testing.assert_allclose(
            rewarder.forward(encoded), rewards_of(plain, encoded), atol=1e-4, rtol=0
        )
