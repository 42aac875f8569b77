"""Classes that score a conversation themselves: their `get_score` is the reward."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import transformers
from test_rewards_own_forward import own_code, retouch
from tiny_models import LLAMA_TEMPLATE, TEXTS, save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.local.rendering import chat_messages

# The shape of internlm2-reward: a value head behind AutoModel, read at a reward token that
# get_score appends; a forward pass on the template's text alone reads another token.
SCORED = """
import torch
from torch import nn
from transformers import Qwen2Model, Qwen2PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutputWithPast

REWARD_TOKEN = 77


class ScoredReward(Qwen2PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = Qwen2Model(config)
        self.v_head = nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **others):
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        last = attention_mask.long().sum(dim=1) - 1
        rewards = self.v_head(hidden)[torch.arange(len(last)), last]
        return SequenceClassifierOutputWithPast(logits=rewards)

    def get_score(self, tokenizer, conversation, **more):
        return self.get_scores(tokenizer, [conversation])[0]

    def get_scores(self, tokenizer, conversations, **more):
        rows = []
        for turns in conversations:
            text = tokenizer.apply_chat_template(turns, tokenize=False)
            rows.append(tokenizer.encode(text, add_special_tokens=False) + [REWARD_TOKEN])
        longest = max(len(row) for row in rows)
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        return self.forward(input_ids=tokens, attention_mask=mask).logits[:, 0].tolist()
"""
BY_TEXT = SCORED.replace("(self, tokenizer, conversation, **more)", "(self, prompt, response)")
ALONE = SCORED.replace("return self.get_scores(tokenizer, [conversation])[0]", """
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        if "UNREADABLE" in text:
            raise ValueError("cannot read this")
        ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
        return 3.0 - self.model(input_ids=ids).last_hidden_state.mean()
""").replace("def get_scores(self, tokenizer", "def scores_of(self, tokenizer")  # fmt: skip


def folder_of(tmp_path, code, **tokens):
    folder = save(tmp_path, "qwen2", **{"template": LLAMA_TEMPLATE, **tokens})
    own_code(folder, "AutoModel", "ScoredReward", code)
    retouch(folder, lambda w: w.update({"v_head.weight": w.pop("score.weight")}))
    return folder


def own_scores(folder):
    loaded = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True).eval()
    made = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        return [float(loaded.get_score(made, chat_messages(text))) for text in TEXTS]


@pytest.mark.parametrize(("code", "batched"), [(SCORED, True), (ALONE, False)])
def test_the_reward_is_what_get_score_returns(code, batched, tmp_path, caplog):
    folder = folder_of(tmp_path, code)
    with pytest.raises(RewardModelError, match=r"of its own, ScoredReward.*--trust-remote-code"):
        load_reward_model(folder)
    with caplog.at_level(logging.WARNING, logger="rmaudit"):
        rewarder = load_reward_model(folder, trust_remote_code=True)
    expected = own_scores(folder)
    rewards = rewarder.forward(rewarder.encode(TEXTS))
    np.testing.assert_allclose(rewards, expected, atol=1e-5, rtol=0)
    assert np.ptp(expected) > 0.001
    assert rewarder.batched == batched
    assert "its class's get_score returns; model(**inputs) on the text of chat" in caplog.text
    shown = dict(rewarder.screen())
    assert "ScoredReward" in shown["class"]
    if batched:
        assert shown["token ids"].split()[0] == "0"
        assert shown["token ids"].endswith(" 77")
        plain = load_reward_model(folder, trust_remote_code=True, template=_file(tmp_path))
        apart = np.abs(plain.forward(plain.encode(TEXTS)) - expected).max()
        assert apart > 0.05  # the forward pass on the template's own text is another reward
        assert plain.fingerprint != rewarder.fingerprint


def _file(folder):
    path = folder / "own.jinja"
    path.write_text(LLAMA_TEMPLATE)
    return str(path)


def test_a_text_that_the_class_fails_on_costs_that_text_alone(tmp_path):
    from rmaudit.rewards import Text
    from rmaudit.rewards.base import failed

    rewarder = load_reward_model(folder_of(tmp_path, ALONE), trust_remote_code=True)
    texts = [TEXTS[0], Text("a", "UNREADABLE"), TEXTS[1]]
    rewarded = rewarder.score_batch(rewarder.encode(texts))
    assert failed(rewarded.total).tolist() == [False, True, False]
    assert "ScoredReward.get_score fails on a text: cannot read this" in rewarded.failures[1]


def test_what_get_score_cannot_honour_is_refused_by_name(tmp_path):
    folder = folder_of(tmp_path, SCORED)
    with pytest.raises(UsageError, match=r"--max-length has no effect"):
        load_reward_model(folder, trust_remote_code=True, max_length=64)
    other = folder_of(tmp_path / "other", BY_TEXT)
    with pytest.raises(RewardModelError, match=r"ScoredReward\.get_score\(prompt, response\)"):
        load_reward_model(other, trust_remote_code=True)


def test_the_day_of_get_scores_text_is_fixed_and_in_the_fingerprint(tmp_path):
    dated = "{{ strftime_now('%d %b %Y') }}" + LLAMA_TEMPLATE
    folder = folder_of(tmp_path, SCORED, template=dated)
    one, same, other = (
        load_reward_model(folder, trust_remote_code=True, date=day)
        for day in ("2026-01-31", "2026-01-31", "2025-02-01")
    )
    assert "31 Jan 2026" in dict(one.screen())["example"]
    assert one.fingerprint == same.fingerprint != other.fingerprint
    rewards = [each.forward(each.encode(TEXTS)) for each in (one, same, other)]
    np.testing.assert_array_equal(rewards[0], rewards[1])
    assert np.abs(rewards[0] - rewards[2]).max() > 1e-3
