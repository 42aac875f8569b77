"""The reward of a text is the model's own: whatever it is batched with and however it is padded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tiny_models import LLAMA_TEMPLATE, TEXTS, model, save, tokenizer

from rmaudit.errors import RewardModelError, SchemaError, UsageError
from rmaudit.rewards import Text, load_reward_model

DECODERS = ("llama", "qwen2", "gemma", "gpt2")
ENCODERS = ("bert", "deberta-v2", "roberta", "modernbert")
PADDED_BY_END = [pytest.param((kind, "</s>", 1), id=f"{kind}-pad-is-eos") for kind in DECODERS]
NEVER_PADDED = [pytest.param((kind, "</s>", None), id=f"{kind}-no-pad") for kind in DECODERS]
PLAIN = [pytest.param((kind, "<pad>", 2), id=kind) for kind in DECODERS + ENCODERS]

PEFT_WARNS = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def plain_transformers(folder: Path, ids: list[int]) -> float:
    """One text alone, through the model's own forward pass."""
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return float(loaded(input_ids=torch.tensor([ids])).logits[0, 0])


@pytest.mark.parametrize("made", PLAIN + PADDED_BY_END + NEVER_PADDED)
@pytest.mark.parametrize("template", [None, LLAMA_TEMPLATE], ids=["format", "template"])
def test_a_reward_does_not_depend_on_batch_or_padding(made, template, tmp_path):
    kind, pad, pad_id = made
    folder = save(tmp_path, kind, pad_id=pad_id, pad=pad, template=template)
    rewarder = load_reward_model(folder)
    encoded = rewarder.encode(TEXTS)
    alone = np.array([rewarder.forward([each])[0] for each in encoded])
    assert np.ptp(alone) > 0.02  # the texts do differ
    assert rewarder.pads_left
    np.testing.assert_allclose(rewarder.forward(encoded), alone, atol=1e-4, rtol=0)
    np.testing.assert_allclose(rewarder.forward(encoded, pad_left=True), alone, atol=1e-4, rtol=0)
    expected = [plain_transformers(folder, each.payload) for each in encoded]
    np.testing.assert_allclose(alone, expected, atol=1e-4, rtol=0)


def test_an_architecture_that_padding_changes_is_batched_without_it(tmp_path):
    # XLNet reads its last position, which in a right-padded batch is padding.
    rewarder = load_reward_model(save(tmp_path, "xlnet"))
    encoded = rewarder.encode(TEXTS)
    alone = np.array([rewarder.forward([each])[0] for each in encoded])
    np.testing.assert_allclose(rewarder.forward(encoded), alone, atol=1e-4, rtol=0)
    assert not rewarder.pads_left
    assert rewarder.describe()["padding"].startswith("none")


def test_each_head_of_several_is_a_reward_and_one_must_be_named(tmp_path):
    folder = save(tmp_path, "llama", heads=3)
    with pytest.raises(UsageError, match=r"3 heads .*--head N"):
        load_reward_model(folder)
    with pytest.raises(UsageError, match="no head 3"):
        load_reward_model(folder, head=3)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    prints = set()
    for head in range(3):
        rewarder = load_reward_model(folder, head=head)
        (encoded,) = rewarder.encode(TEXTS[:1])
        with torch.inference_mode():
            logits = loaded(input_ids=torch.tensor([encoded.payload])).logits[0]
        assert rewarder.forward([encoded])[0] == pytest.approx(float(logits[head]), abs=1e-5)
        prints.add(rewarder.fingerprint)
    assert len(prints) == 3


def test_rewards_are_float64_and_bfloat16_only_where_asked(tmp_path):
    folder = save(tmp_path, "llama")
    exact, coarse = load_reward_model(folder), load_reward_model(folder, dtype="bfloat16")
    rewards = exact.forward(exact.encode(TEXTS))
    assert rewards.dtype == np.float64
    assert exact.describe()["dtype"] == "float32"
    assert coarse.describe()["dtype"] == "bfloat16"
    np.testing.assert_allclose(coarse.forward(coarse.encode(TEXTS)), rewards, atol=0.3, rtol=0)
    assert exact.fingerprint != coarse.fingerprint


def test_non_finite_rewards_are_handed_on(tmp_path):
    broken = model("gpt2")
    torch.nn.init.constant_(broken.score.weight, float("inf"))
    broken.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    rewarder = load_reward_model(tmp_path)
    assert not np.isfinite(rewarder.forward(rewarder.encode(TEXTS))).any()


@PEFT_WARNS
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_an_adapter_gives_the_rewards_it_was_saved_with(kind, tmp_path):
    peft = pytest.importorskip("peft")
    base = save(tmp_path / "base", kind)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        start = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
        adapted = peft.get_peft_model(
            start, peft.LoraConfig(task_type="SEQ_CLS", r=2, init_lora_weights=False)
        ).eval()
        head = adapted.base_model.model.score if kind == "llama" else None
        head = head or adapted.base_model.model.classifier
        torch.nn.init.normal_(head.modules_to_save["default"].weight)
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer(end=kind == "bert").save_pretrained(tmp_path / "adapter")
    rewarder = load_reward_model(tmp_path / "adapter")
    encoded = rewarder.encode(TEXTS)
    with torch.inference_mode():
        expected = [float(adapted(torch.tensor([e.payload])).logits[0, 0]) for e in encoded]
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)
    assert rewarder.describe()["adapter"]
    without = load_reward_model(base)
    assert np.abs(without.forward(without.encode(TEXTS)) - expected).max() > 0.01
    assert without.fingerprint != rewarder.fingerprint


def test_an_untrained_head_is_refused(tmp_path):
    transformers.AutoModel.from_config(model("bert").config).save_pretrained(tmp_path)
    tokenizer(end=True).save_pretrained(tmp_path)
    with pytest.raises(RewardModelError, match=r"lack classifier\.bias.*rmaudit train reward"):
        load_reward_model(tmp_path)


@PEFT_WARNS
def test_an_adapter_without_the_head_its_base_lacks_is_refused(tmp_path):
    peft = pytest.importorskip("peft")
    base = model("bert")
    transformers.AutoModel.from_config(base.config).save_pretrained(tmp_path / "base")
    lora = peft.LoraConfig(r=2, target_modules=["query"])
    adapted = peft.get_peft_model(base, lora)
    adapted.peft_config["default"].base_model_name_or_path = str(tmp_path / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    with pytest.raises(RewardModelError, match=r"adapter: its weights lack classifier\.bias"):
        load_reward_model(tmp_path / "adapter")


def test_pickled_weights_are_refused_unless_allowed(tmp_path):
    folder = save(tmp_path, "gpt2")
    expected = load_reward_model(folder)
    weights = model("gpt2").state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(RewardModelError, match=r"pytorch_model\.bin: pickled .*--allow-pickle"):
        load_reward_model(folder)
    allowed = load_reward_model(folder, allow_pickle=True)
    encoded = allowed.encode(TEXTS)
    np.testing.assert_allclose(allowed.forward(encoded), expected.forward(encoded), atol=1e-6)


@pytest.mark.parametrize("decoy", [None, "adapter_model-decoy.safetensors"])
def test_a_pickled_adapter_is_refused(decoy, tmp_path):
    pytest.importorskip("peft")
    save(tmp_path / "base", "llama")
    folder = tmp_path / "adapter"
    folder.mkdir()
    settings = {"base_model_name_or_path": str(tmp_path / "base"), "peft_type": "LORA"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    torch.save({}, folder / "adapter_model.bin")
    if decoy is not None:
        shutil.copy(tmp_path / "base" / "model.safetensors", folder / decoy)
    with pytest.raises(RewardModelError, match=r"adapter_model\.bin: pickled .*--allow-pickle"):
        load_reward_model(folder)


def test_a_folder_with_code_of_its_own_is_refused(tmp_path):
    folder = save(tmp_path, "gpt2")
    settings = json.loads((folder / "config.json").read_text())
    settings["model_type"] = "homegrown"
    settings["auto_map"] = {"AutoConfig": "code.HomegrownConfig"}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "code.py").write_text("raise SystemExit('this code ran')")
    with pytest.raises(RewardModelError, match="--trust-remote-code"):
        load_reward_model(folder)


def test_the_fingerprint_follows_the_content_and_not_the_place(tmp_path):
    folder = save(tmp_path / "one", "gpt2")
    original = load_reward_model(folder).fingerprint
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "two")
    assert load_reward_model(moved).fingerprint == original
    assert load_reward_model(folder, max_length=64).fingerprint != original
    assert load_reward_model(folder, format="{prompt} {output}").fingerprint != original
    (moved / "chat_template.jinja").write_text(LLAMA_TEMPLATE)
    assert load_reward_model(moved).fingerprint != original
    changed = model("gpt2")
    changed.score.weight.data[0, 0] += 1e-3
    changed.save_pretrained(folder)
    assert load_reward_model(folder).fingerprint != original


@pytest.mark.parametrize(
    ("break_it", "match"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"short"), "cannot be read: .*header"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: cannot be read"),
        (lambda f: (f / "tokenizer.json").write_text("{"), "cannot load the tokenizer"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(break_it, match, tmp_path):
    folder = save(tmp_path, "gpt2")
    break_it(folder)
    with pytest.raises(RewardModelError, match=match) as raised:
        load_reward_model(folder)
    assert "\n" not in str(raised.value)


def test_options_that_cannot_be_are_usage_errors(tmp_path):
    folder = save(tmp_path, "gpt2")
    for options, match in (
        ({"device": "cuda:99"}, "not on this machine"),
        ({"device": "abacus"}, "say auto, cpu"),
        ({"dtype": "float8"}, "dtype: Input should be"),
        ({"format": "{prompt}"}, "contain {output}"),
        ({"max_length": 1}, "greater than or equal to 8"),
    ):
        with pytest.raises((UsageError, SchemaError), match=match):
            load_reward_model(folder, **options)


def test_what_the_report_is_told(tmp_path):
    facts = load_reward_model(save(tmp_path, "roberta")).describe()
    assert facts["architecture"] == "RobertaForSequenceClassification"
    assert facts["max_length"] == 120  # the tokenizer's; the model has 128 - 3 positions
    assert facts["head"] == "0 of 1"
    assert facts["padding"] == "right"
    roberta = load_reward_model(save(tmp_path / "b", "roberta", limit=1000))
    assert roberta.describe()["max_length"] == 125
    encoded = roberta.encode([Text("long " * 100, "answer")])
    assert encoded[0].tokens == 125
    assert np.isfinite(roberta.forward(encoded)).all()
