"""An option of texts that no model of a command could heed is an error; so is a random reward."""

from __future__ import annotations

import pytest
from test_rewards_own_forward import own_code
from test_rewards_own_score import SCORED, folder_of
from tiny_models import save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.kinds import TEXT_OPTIONS, refuse_without_effect
from rmaudit.settings import ModelSettings

GIVEN = {
    "format": "{prompt} {output}",
    "template": "none",
    "pair": True,
    "bos": "add",
    "eos": "none",
    "date": "2026-01-31",
    "pool": "last",
    "head": 1,
    "head_weights": "1,2",
    "max_length": 64,
}
SERVED = {"format", "head", "max_length"}


@pytest.mark.parametrize("name", TEXT_OPTIONS)
def test_an_option_that_no_model_reads_is_refused_by_name(name, tmp_path):
    settings = ModelSettings.checked({name: GIVEN[name]}, "test")
    flag = f"--{name.replace('_', '-')} has no effect on"
    for specs in (["python:rewards:f"], ["recorded"], [lambda pairs: pairs]):
        with pytest.raises(UsageError, match=flag):
            refuse_without_effect(settings, specs)
        refuse_without_effect(settings, [*specs, str(tmp_path)])  # a checkpoint as gold reads it
        refuse_without_effect(ModelSettings(), specs)
    if name in SERVED:
        refuse_without_effect(settings, ["https://host/x"])
    else:
        with pytest.raises(UsageError, match=flag):
            refuse_without_effect(settings, ["https://host/x"])


RANDOM = """
import torch
from transformers import LlamaForSequenceClassification


class RandomReward(LlamaForSequenceClassification):
    def forward(self, *args, **more):
        output = super().forward(*args, **more)
        output.logits = output.logits + torch.rand(1)
        return output
"""


def test_a_forward_pass_that_is_random_is_refused(tmp_path):
    folder = save(tmp_path, "llama")
    own_code(folder, "AutoModelForSequenceClassification", "RandomReward", RANDOM)
    with pytest.raises(RewardModelError, match="RandomReward gives one text another reward each"):
        load_reward_model(folder, trust_remote_code=True)


def test_a_random_score_is_refused(tmp_path):
    random = SCORED.replace(".logits[:, 0].tolist()", ".logits[:, 0].add(torch.rand(1)).tolist()")
    with pytest.raises(RewardModelError, match="get_score gives one conversation another score"):
        load_reward_model(folder_of(tmp_path, random), trust_remote_code=True)
