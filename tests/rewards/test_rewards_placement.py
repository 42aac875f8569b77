"""Number formats, attention, memory, folders of the hub: what is asked for happens, or is named."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_models import TEXTS, save, tokenizer

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.permissions import Permissions
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.local.checkpoint_files import fetch
from rmaudit.rewards.local.placement import torch_dtype


def test_float16_is_near_and_its_own_fingerprint(tmp_path):
    folder = save(tmp_path, "llama")
    exact, half = load_reward_model(folder), load_reward_model(folder, dtype="float16")
    encoded = exact.encode(TEXTS)
    apart = np.abs(half.forward(encoded) - exact.forward(encoded)).max()
    assert 0 < apart < 0.02
    assert half.describe()["dtype"] == "float16"
    assert exact.fingerprint != half.fingerprint


def test_auto_is_float32_on_the_processor_and_the_checkpoints_own_elsewhere(tmp_path):
    save(tmp_path, "llama")
    path = tmp_path / "config.json"
    settings = json.loads(path.read_text()) | {"dtype": "bfloat16"}
    path.write_text(json.dumps(settings))
    assert torch_dtype("auto", torch.device("cpu"), tmp_path) == torch.float32
    assert torch_dtype("auto", torch.device("cuda"), tmp_path) == torch.bfloat16
    assert torch_dtype("float32", torch.device("cuda"), tmp_path) == torch.float32
    settings["dtype"] = "float8_e4m3fn"
    path.write_text(json.dumps(settings))
    assert torch_dtype("auto", torch.device("cuda"), tmp_path) == torch.float32


def test_the_attention_that_is_asked_for_is_used(tmp_path):
    folder = save(tmp_path, "llama")
    usual, eager = load_reward_model(folder), load_reward_model(folder, attn="eager")
    assert eager.model.config._attn_implementation == "eager"
    assert "--attn" in eager.describe()["prompt_encoded"]
    encoded = usual.encode(TEXTS)
    np.testing.assert_allclose(eager.forward(encoded), usual.forward(encoded), atol=1e-5)
    with pytest.raises(RewardModelError, match=r"say another --attn"):
        load_reward_model(folder, attn="flash_attention_2")


def test_a_device_map_places_the_model(tmp_path):
    pytest.importorskip("accelerate")
    folder = save(tmp_path, "llama")
    usual, mapped = load_reward_model(folder), load_reward_model(folder, device_map="auto")
    encoded = usual.encode(TEXTS)
    np.testing.assert_allclose(mapped.forward(encoded), usual.forward(encoded), atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="is installed")
def test_quantization_without_bitsandbytes_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"--quantization 4bit needs bitsandbytes"):
        load_reward_model(save(tmp_path, "llama"), quantization="4bit")


def test_weights_that_do_not_fit_are_refused_before_they_are_read(tmp_path, monkeypatch):
    folder = save(tmp_path, "llama")
    monkeypatch.setattr("rmaudit.rewards.local.placement.free_memory", lambda *_: 50_000)
    monkeypatch.setattr("transformers.AutoModelForSequenceClassification.from_pretrained", None)
    with pytest.raises(RewardModelError, match=r"GiB in float32 .*--dtype bfloat16, --quantiz"):
        load_reward_model(folder)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_may_have_another_number_of_heads_than_its_base(tmp_path):
    peft = pytest.importorskip("peft")
    base = save(tmp_path / "base", "llama", heads=3)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = transformers.AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, ignore_mismatched_sizes=True
        )
        lora = peft.LoraConfig(task_type="SEQ_CLS", r=2, init_lora_weights=False)
        adapted = peft.get_peft_model(start, lora).eval()
        head = adapted.base_model.model.score.modules_to_save["default"]
        torch.nn.init.normal_(head.weight)
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer().save_pretrained(tmp_path / "adapter")
    rewarder = load_reward_model(tmp_path / "adapter")
    encoded = rewarder.encode(TEXTS)
    with torch.inference_mode():
        expected = [float(adapted(torch.tensor([e.payload])).logits[0, 0]) for e in encoded]
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("spec", ["org/name:reward/last", "org/name@v1:reward/last"])
def test_a_folder_of_a_hub_model_is_fetched_alone(spec, tmp_path, monkeypatch):
    save(tmp_path / "reward" / "last", "llama")
    asked = {}

    def download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert load_reward_model(spec).scores_new_text
    assert asked["name"] == "org/name"
    assert asked["revision"] == ("v1" if "@" in spec else None)
    assert "reward/last/*.safetensors" in asked["allow_patterns"]
    assert asked["ignore_patterns"][0] == "reward/last/*/*"
    with pytest.raises(RewardModelError, match="has no folder nowhere"):
        fetch("org/name", None, Permissions(), "nowhere")


def test_only_a_models_own_files_are_fetched(tmp_path, monkeypatch):
    from huggingface_hub.utils import filter_repo_objects

    files = ["config.json", "model-00001-of-00002.safetensors", "tokenizer.json"]
    others = [
        "original/consolidated.00.safetensors",
        "consolidated.safetensors",
        "onnx/config.json",
        "pytorch_model.bin",
        "modeling.py",
    ]

    def download(name, *, revision, allow_patterns, ignore_patterns):
        kept = filter_repo_objects(
            files + others, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns
        )
        assert sorted(kept) == sorted(files)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    assert fetch("org/name", None, Permissions()) == Path(tmp_path)
