"""Several values per text: which one, or what of them, is the reward."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import transformers
from test_rewards_own_forward import edit, own_code
from tiny_models import TEXTS, model, save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model

OUTPUTS = """
import dataclasses

import torch
from torch import nn
from transformers import LlamaForSequenceClassification
from transformers.utils import ModelOutput


@dataclasses.dataclass
class Output(ModelOutput):
    reward_quantiles: object = None
    rewards: object = None
    gating_output: object = None
    score: object = None
    logits: object = None
    scores: object = None
    end_scores: object = None


class ManyReward(LlamaForSequenceClassification):
    def forward(self, input_ids=None, attention_mask=None, **others):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        last = hidden[range(len(hidden)), attention_mask.sum(dim=1) - 1]
        rewards = self.score(last)  # (n, 6)
        gates = (last[:, :6] * 3).softmax(-1)
        quantiles = rewards.view(-1, 2, 3)
        RETURN
"""
RETURNS = {
    "gated": "return Output(rewards=rewards, gating_output=gates, score=(gates * rewards).sum(1))",
    "quantiles": (
        "return Output(reward_quantiles=quantiles, rewards=quantiles.mean(2), "
        "score=quantiles.mean((1, 2)), logits=rewards)"
    ),
    "value": "return Output(scores=self.score(hidden)[..., :1], end_scores=rewards[:, :1])",
    "tuple": "return (rewards[:, 0] * 2 - 1, hidden)",
    "tensor": "return rewards[:, 1]",
    "dict": "return {'reward': rewards[:, :1]}",
}


def own_class(folder, returned, heads=6):
    save(folder, "llama", heads=heads)
    code = OUTPUTS.replace("RETURN", returned)
    own_code(folder, "AutoModelForSequenceClassification", "ManyReward", code)
    return folder


def by_hand(heads):
    """The six heads of each text at its last token, and what the gates make of them."""
    loaded = model("llama", heads=heads)
    found = []
    for ids in _ids():
        with torch.inference_mode():
            hidden = loaded.model(torch.tensor([ids])).last_hidden_state[0, -1]
            found.append((loaded.score(hidden), (hidden[:6] * 3).softmax(-1)))
    return found


def _ids():
    from tiny_models import tokenizer

    from rmaudit.rewards.local.encoding import TextEncoder

    return [each.payload for each in TextEncoder(tokenizer()).encode(TEXTS)]


WANTED = {
    "gated": lambda r, g: (r * g).sum(),
    "quantiles": lambda r, g: r.mean(),
    "value": lambda r, g: r[0],
    "tuple": lambda r, g: 2 * r[0] - 1,
    "tensor": lambda r, g: r[1],
    "dict": lambda r, g: r[0],
}


@pytest.mark.parametrize("form", RETURNS)
def test_the_scalar_that_a_class_names_is_the_reward(form, tmp_path):
    folder = own_class(tmp_path, RETURNS[form])
    rewarder = load_reward_model(folder, trust_remote_code=True)
    expected = [float(WANTED[form](r, g)) for r, g in by_hand(6)]
    np.testing.assert_allclose(
        rewarder.forward(rewarder.encode(TEXTS)), expected, atol=1e-4, rtol=0
    )
    assert rewarder.describe()["head"] == "0 of 1"


def test_quantiles_without_a_scalar_are_refused_by_name(tmp_path):
    folder = own_class(tmp_path, "return Output(logits=quantiles)")
    with pytest.raises(RewardModelError, match=r"ManyReward: .*\(1, 2, 3\).*name the one"):
        load_reward_model(folder, trust_remote_code=True)


def test_as_many_heads_as_a_trial_text_has_tokens_are_heads(tmp_path):
    lengths = {
        each.tokens for each in load_reward_model(save(tmp_path / "a", "llama")).trial.encoded
    }
    heads = min(lengths)
    folder = save(tmp_path / "b", "llama", heads=heads)
    assert load_reward_model(folder, head=heads - 1).describe()["head"] == f"{heads - 1} of {heads}"


@pytest.mark.parametrize(
    ("weights", "by_head"),
    [
        ("0.5,0,-2", [0.5, 0, -2]),
        ("safety=1.5,helpfulness=0.25", [0.25, 1.5, 0]),
        (["1", "1", "1"], [1, 1, 1]),
    ],
)
def test_objectives_are_weighted_as_asked(weights, by_head, tmp_path):
    folder = save(tmp_path, "llama", heads=3)
    edit(folder, id2label={"0": "helpfulness", "1": "safety", "2": "verbosity"})
    rewarder = load_reward_model(folder, head_weights=weights)
    each = [load_reward_model(folder, head=i) for i in range(3)]
    encoded = rewarder.encode(TEXTS)
    expected = sum(w * one.forward(encoded) for w, one in zip(by_head, each, strict=True))
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-6, rtol=0)
    assert rewarder.signal == "score"
    assert len({rewarder.fingerprint, *(one.fingerprint for one in each)}) == 4
    with pytest.raises(UsageError, match="say one"):
        load_reward_model(folder, head=0, head_weights=weights)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("1,2", "has 2 weights and the model 3 heads"),
        ("good=1", "good: the heads are 0 = helpfulness"),
        ("a,b,c", "say a number per head"),
        ("0,0,0", "all are 0"),
        ("nan,1,1", "say a number per head"),
    ],
)
def test_weights_that_fit_no_heads_are_refused(weights, said, tmp_path):
    folder = save(tmp_path, "llama", heads=3)
    edit(folder, id2label={"0": "helpfulness", "1": "safety", "2": "verbosity"})
    with pytest.raises(UsageError, match=said):
        load_reward_model(folder, head_weights=weights)


LABELS = [
    ({"id2label": {"0": "bad", "1": "good"}}, None, 1),
    ({"id2label": {"0": "POSITIVE", "1": "NEGATIVE"}}, None, 0),
    ({"id2label": {"0": "unhelpful", "1": "helpful"}}, 0, 0),
    ({"problem_type": "single_label_classification"}, None, 1),
    ({"problem_type": "single_label_classification"}, 0, 0),
]


@pytest.mark.parametrize(("changes", "head", "good"), LABELS)
def test_two_labels_of_a_softmax_are_read_as_log_odds(changes, head, good, tmp_path, caplog):
    folder = save(tmp_path, "bert", heads=2)
    edit(folder, **changes)
    with caplog.at_level(logging.WARNING, logger="rmaudit"):
        rewarder = load_reward_model(folder, head=head)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    encoded = rewarder.encode(TEXTS)
    expected = []
    for each in encoded:
        with torch.inference_mode():
            odds = loaded(torch.tensor([each.payload])).logits[0].double().softmax(-1)
        expected.append(float(torch.log(odds[good] / odds[1 - good])))
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)
    assert f"logit {good} minus logit {1 - good}" in caplog.text
    assert rewarder.signal == "logit"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"problem_type": "regression", "id2label": {"0": "bad", "1": "good"}},
        {"id2label": {"0": "helpful", "1": "harmless"}},
        {"problem_type": "single_label_classification", "id2label": {"0": "x", "1": "y"}},
    ],
)
def test_two_heads_that_say_nothing_are_asked_about(changes, tmp_path):
    folder = save(tmp_path, "bert", heads=2)
    edit(folder, **changes)
    with pytest.raises(UsageError, match=r"has 2 heads .*--head N.*--head-weights"):
        load_reward_model(folder)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    if "single" not in changes.get("problem_type", ""):
        one = load_reward_model(folder, head=1)
        encoded = one.encode(TEXTS[:1])
        with torch.inference_mode():
            logits = loaded(torch.tensor([encoded[0].payload])).logits[0]
        assert one.forward(encoded)[0] == pytest.approx(float(logits[1]), abs=1e-4)


def test_weights_have_no_effect_where_there_is_one_reward(tmp_path):
    save(tmp_path, "llama")
    with pytest.raises(UsageError, match="--head-weights has no effect on steps"):
        load_reward_model(f"prm:{tmp_path}", head_weights="1")


def test_a_head_that_is_taken_for_its_name_is_said_and_one_that_is_asked_for_is_not():
    from types import SimpleNamespace

    from rmaudit.rewards.local.readout import readout

    named = SimpleNamespace(id2label={0: "helpfulness", 1: "reward", 2: "verbosity"})
    read = readout(named, 3, "m")
    assert read.weights == ((1, 1.0),)
    assert "its head 1 is the reward, since it is called so" in read.notice
    assert readout(named, 3, "m", head=1).notice is None
    assert readout(SimpleNamespace(id2label={0: "reward"}), 1, "m").notice is None
