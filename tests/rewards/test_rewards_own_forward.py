"""A reward is what the checkpoint's own class gives for the text alone, or the model is refused."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from tiny_models import LLAMA_TEMPLATE, TEXTS, config, model, save, tokenizer

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.local.checkpoint_files import Permissions
from rmaudit.rewards.local.transformers_model import load_transformers

DECODERS = ("llama", "qwen2", "gemma", "gpt2", "modernbert-decoder")

MEAN = """
from transformers import LlamaForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutputWithPast


class MeanReward(LlamaForSequenceClassification):
    def forward(self, input_ids=None, attention_mask=None, **others):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return SequenceClassifierOutputWithPast(
            logits=-self.score((hidden * mask).sum(1) / mask.sum(1))
        )
"""
FLAT = """
from transformers import BertForSequenceClassification
from transformers.modeling_outputs import SequenceClassifierOutput


class FlatReward(BertForSequenceClassification):
    def forward(self, input_ids=None, attention_mask=None, **others):
        logits = super().forward(input_ids=input_ids, attention_mask=attention_mask).logits
        return SequenceClassifierOutput(logits=logits[:, 0] + 1.0)
"""
BARE = """
from torch import nn
from transformers import Qwen2Model, Qwen2PreTrainedModel


class ValueReward(Qwen2PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.regression_head = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **others):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        ends = attention_mask.cumsum(dim=1).argmax(dim=1).view(-1, 1)
        return self.regression_head(hidden).squeeze(-1).gather(1, ends)
"""
STEPS = BARE.replace(".squeeze(-1).gather(1, ends)", "")
GATED = """
import dataclasses

from torch import nn
from transformers import LlamaForSequenceClassification
from transformers.utils import ModelOutput


@dataclasses.dataclass
class GatedOutput(ModelOutput):
    logits: object = None
    score: object = None


class GatedReward(LlamaForSequenceClassification):
    def __init__(self, config):
        super().__init__(config)
        self.gating = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **others):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        last = hidden[range(len(hidden)), attention_mask.sum(dim=1) - 1]
        logits = self.score(last)
        return GatedOutput(logits=logits, score=(self.gating(last).softmax(-1) * logits).sum(1))
"""


def own_code(folder: Path, auto: str, name: str, code: str) -> None:
    (folder / "modeling_reward.py").write_text(code)
    edit(folder, architectures=[name], auto_map={auto: f"modeling_reward.{name}"})


def edit(folder: Path, **changes) -> None:
    path = folder / "config.json"
    settings = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))


def retouch(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})


def own(folder: Path, auto: str, encoded) -> np.ndarray:
    """Each text alone through the class that the folder names; the values as they come."""
    loader = getattr(transformers, auto)
    loaded = loader.from_pretrained(folder, trust_remote_code=True).eval()
    rewards = []
    for each in encoded:
        tokens = torch.tensor([each.payload])
        with torch.inference_mode():
            output = loaded(input_ids=tokens, attention_mask=torch.ones_like(tokens))
        values = getattr(output, "score", None)
        values = getattr(output, "logits", output) if values is None else values
        rewards.append(float(values.reshape(-1)[0]))
    return np.array(rewards)


CLASSES = [
    ("llama", "AutoModelForSequenceClassification", "MeanReward", MEAN, 1),
    ("bert", "AutoModelForSequenceClassification", "FlatReward", FLAT, 1),
    ("qwen2", "AutoModel", "ValueReward", BARE, 1),
    ("llama", "AutoModelForSequenceClassification", "GatedReward", GATED, 3),
]


@pytest.mark.parametrize(("kind", "auto", "name", "code", "heads"), CLASSES)
def test_a_class_of_its_own_scores_or_is_refused(kind, auto, name, code, heads, tmp_path):
    folder = save(tmp_path, kind, heads=heads)
    own_code(folder, auto, name, code)
    if name == "ValueReward":
        retouch(folder, lambda w: w.update({"regression_head.weight": w.pop("score.weight")}))
    if name == "GatedReward":
        retouch(folder, lambda w: w.update({"gating.weight": torch.randn(3, 32)}))
    with pytest.raises(RewardModelError, match=rf"of its own, {name}.*--trust-remote-code"):
        load_reward_model(folder)
    rewarder = load_reward_model(folder, trust_remote_code=True)
    encoded = rewarder.encode(TEXTS)
    expected = own(folder, auto, encoded)
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)
    assert rewarder.describe()["architecture"] == name


def test_a_class_that_gives_values_of_tokens_is_refused(tmp_path):
    folder = save(tmp_path, "qwen2")
    own_code(folder, "AutoModel", "ValueReward", STEPS)
    retouch(folder, lambda w: w.update({"regression_head.weight": w.pop("score.weight")}))
    with pytest.raises(RewardModelError, match=r"ValueReward: .*values of shape .*prm:PATH"):
        load_reward_model(folder, trust_remote_code=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architectures": ["LlamaForGatedReward"]}, "LlamaForGatedReward, which transformers"),
        ({"architectures": ["LlamaForTokenClassification"]}, r"values of tokens.*prm:"),
    ],
)
def test_an_architecture_of_another_kind_is_refused_by_name(change, said, tmp_path):
    folder = save(tmp_path, "llama")
    edit(folder, **change)
    with pytest.raises(RewardModelError, match=said) as raised:
        load_reward_model(folder)
    assert "\n" not in str(raised.value)


def test_weights_that_the_class_would_leave_out_are_refused_by_name(tmp_path):
    folder = save(tmp_path, "llama")
    retouch(folder, lambda w: w.update({"gating.weight": torch.zeros(2, 32)}))
    with pytest.raises(RewardModelError, match=r"hold gating\.weight.*LlamaForSequenceClassif"):
        load_reward_model(folder)
    retouch(folder, lambda w: w.pop("gating.weight"))
    retouch(folder, lambda w: w.update({"v_head.weight": w.pop("score.weight")}))
    with pytest.raises(RewardModelError, match=r"hold v_head\.weight, and lacks score\.weight"):
        load_reward_model(folder)


def test_weights_of_a_language_model_beside_the_head_decide_nothing(tmp_path):
    folder = save(tmp_path, "llama")
    model = load_reward_model(folder)
    encoded = model.encode(TEXTS)
    expected = model.forward(encoded)  # now: its weights may still be mapped from the file
    retouch(folder, lambda w: w.update({"lm_head.weight": torch.zeros(259, 32)}))
    np.testing.assert_array_equal(load_reward_model(folder).forward(encoded), expected)


def test_a_configuration_without_labels_has_as_many_heads_as_its_weights(tmp_path):
    folder = save(tmp_path, "llama")
    expected = load_reward_model(folder)
    encoded = expected.encode(TEXTS)
    edit(folder, num_labels=None, id2label=None, label2id=None)
    np.testing.assert_array_equal(
        load_reward_model(folder).forward(encoded), expected.forward(encoded)
    )


@pytest.mark.parametrize("kind", DECODERS)
def test_where_the_end_also_pads_the_models_own_reading_is_taken_and_told(kind, tmp_path, caplog):
    folder = save(tmp_path, kind, pad_id=1, pad="</s>", template=LLAMA_TEMPLATE)
    with caplog.at_level(logging.WARNING, logger="rmaudit"):
        rewarder = load_reward_model(folder)
    encoded = rewarder.encode(TEXTS)
    assert encoded[0].payload[-1] == 1
    expected = own(folder, "AutoModelForSequenceClassification", encoded)
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)
    largest = float((rewarder.trial.used - rewarder.trial.other).abs().max())
    assert f"differ by up to {largest:.3g}" in caplog.text
    assert "--pool model or --pool last" in caplog.text
    assert rewarder.describe()["ends_in_padding_token"]


@pytest.mark.parametrize("kind", DECODERS)
def test_the_last_token_is_read_where_it_is_asked_for(kind, tmp_path):
    folder = save(tmp_path, kind, pad_id=1, pad="</s>", template=LLAMA_TEMPLATE)
    rewarder = load_transformers(folder, "m", Permissions(), pool="last")
    encoded = rewarder.encode(TEXTS)
    reference = model(kind, pad_id=1)
    reference.config.pad_token_id = 999  # no text has it: transformers reads the last token
    expected = []
    for each in encoded:
        with torch.inference_mode():
            expected.append(float(reference(input_ids=torch.tensor([each.payload])).logits[0, 0]))
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)
    own_reading = load_transformers(folder, "m", Permissions())
    assert np.abs(own_reading.forward(encoded) - expected).max() > 0.02
    assert own_reading.fingerprint != rewarder.fingerprint


def test_a_folder_of_this_projects_trainer_says_that_its_last_token_is_read(tmp_path):
    folder = save(tmp_path, "llama", pad_id=1, pad="</s>", template=LLAMA_TEMPLATE)
    last = load_transformers(folder, "m", Permissions(), pool="last")
    edit(folder, rmaudit={"pool": "last"})
    told = load_reward_model(folder)
    encoded = told.encode(TEXTS)
    np.testing.assert_array_equal(told.forward(encoded), last.forward(encoded))
    asked = load_transformers(folder, "m", Permissions(), pool="model")
    assert np.abs(asked.forward(encoded) - last.forward(encoded)).max() > 0.02


def test_the_last_token_cannot_be_asked_of_a_model_that_pools_otherwise(tmp_path):
    folder = save(tmp_path, "bert")
    with pytest.raises(UsageError, match=r"BertForSequenceClassification pools .*--pool last"):
        load_transformers(folder, "m", Permissions(), pool="last")


def long_rope(tmp_path: Path, kind: str) -> Path:
    """Phi-3 whose rotary factors change above 60 tokens, or grow with the text from there on."""
    rope = {"rope_theta": 10000.0, "original_max_position_embeddings": 60, "rope_type": kind}
    if kind == "longrope":
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    else:
        rope |= {"factor": 4.0}
    settings = config("llama").to_dict() | {"num_key_value_heads": 4, "rope_parameters": rope}
    made = transformers.Phi3Config if kind == "longrope" else transformers.LlamaConfig
    keys = ("model_type", "architectures", "head_dim", "transformers_version")
    loaded = made(**{k: v for k, v in settings.items() if k not in keys}, sliding_window=None)
    loaded.max_position_embeddings = 60 if kind == "dynamic" else 120
    with torch.random.fork_rng():
        torch.manual_seed(3)
        built = transformers.AutoModelForSequenceClassification.from_config(loaded)
        for parameter in built.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    built.config.max_position_embeddings = 120
    built.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["longrope", "dynamic"])
def test_position_embeddings_that_depend_on_the_length_keep_texts_apart(kind, tmp_path):
    folder = long_rope(tmp_path, kind)
    rewarder = load_reward_model(folder)
    encoded = rewarder.encode([*TEXTS, *(t for t in TEXTS[1:2] for _ in range(2))])
    lengths = [each.tokens for each in encoded]
    assert min(lengths) < 60 < max(lengths)
    expected = own(folder, "AutoModelForSequenceClassification", encoded[:1])
    for _ in range(2):  # whatever was scored before
        together = rewarder.forward(encoded)
        assert together[0] == pytest.approx(expected[0], abs=1e-4)
    alone = np.array([rewarder.forward([each])[0] for each in encoded])
    np.testing.assert_allclose(together, alone, atol=1e-4, rtol=0)


def test_pickled_weights_beside_other_safetensors_are_in_the_fingerprint(tmp_path):
    folder = save(tmp_path, "gpt2")
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    safetensors.torch.save_file({"x": torch.zeros(1)}, folder / "value_head.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    first = load_reward_model(folder, allow_pickle=True)
    encoded = first.encode(TEXTS)
    rewards = first.forward(encoded)
    weights["score.weight"] = weights["score.weight"] * 2
    torch.save(weights, folder / "pytorch_model.bin")
    second = load_reward_model(folder, allow_pickle=True)
    assert first.fingerprint != second.fingerprint
    np.testing.assert_allclose(second.forward(encoded), 2 * rewards, atol=1e-5)
    torch.save({"step": 3}, folder / "optimizer.pt")  # no reward hangs on it
    assert load_reward_model(folder, allow_pickle=True).fingerprint == second.fingerprint


def test_code_of_another_folder_is_in_the_fingerprint(tmp_path):
    folder = save(tmp_path / "model", "llama")
    other = tmp_path / "code"
    other.mkdir()
    edit(
        folder,
        architectures=["MeanReward"],
        auto_map={
            "AutoModelForSequenceClassification": f"{other}--modeling_reward.MeanReward",
        },
    )
    prints, rewards = [], []
    for code in (MEAN, MEAN.replace("logits=-", "logits=2 * ")):
        (other / "modeling_reward.py").write_text(code)
        rewarder = load_reward_model(folder, trust_remote_code=True)
        prints.append(rewarder.fingerprint)
        rewards.append(rewarder.forward(rewarder.encode(TEXTS)))
    assert prints[0] != prints[1]
    np.testing.assert_allclose(rewards[1], -2 * rewards[0], atol=1e-4)


def test_the_day_that_a_template_writes_is_one_of_the_run_and_in_the_fingerprint(tmp_path, caplog):
    dated = "Today: {{ strftime_now('%d %b %Y') }}\n" + LLAMA_TEMPLATE
    folder = save(tmp_path, "llama", template=dated)
    one, same, other = (
        load_reward_model(folder, date=day) for day in ("2026-01-31", "2026-01-31", "2026-02-01")
    )
    text = one.tokenizer.decode(one.encode(TEXTS[:1])[0].payload)
    assert text.startswith("Today: 31 Jan 2026\n<s>[user]hi")
    assert one.fingerprint == same.fingerprint != other.fingerprint
    assert one.describe()["date"] == "2026-01-31"
    assert "writes the date: 2026-02-01" in caplog.text
    with pytest.raises(UsageError, match="YYYY-MM-DD"):
        load_reward_model(folder, date="31.1.")
    with pytest.raises(UsageError, match=r"--date: .*leave it out"):
        load_reward_model(save(tmp_path / "plain", "llama"), date="2026-01-31")
