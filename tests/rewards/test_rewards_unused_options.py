"""An option of texts that no model of a command could heed is an error; so is a random reward."""

from __future__ import annotations

import json

import pytest
from test_rewards_own_forward import own_code
from test_rewards_own_score import SCORED, folder_of
from tiny_models import save
from typer.testing import CliRunner

from rmaudit.cli import app
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


@pytest.mark.parametrize(
    ("spec", "heeded"),
    [
        ("prm:somewhere", {"format", "template", "bos", "date", "head", "max_length"}),
        ("pair:somewhere?format={prompt}{a}{b}", {"head", "max_length", "date"}),
        ("somewhere/else", set(TEXT_OPTIONS)),
    ],
)
@pytest.mark.parametrize("name", TEXT_OPTIONS)
def test_steps_and_pairs_heed_what_they_say(name, spec, heeded):
    settings = ModelSettings.checked({name: GIVEN[name]}, "test")
    if name in heeded:
        refuse_without_effect(settings, [spec, None])
    else:
        with pytest.raises(UsageError, match=r"has no effect on \w+"):
            refuse_without_effect(settings, [spec, None])


def test_a_file_of_models_heeds_what_its_parts_heed(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, model in (("mixed", "folder"), ("functions", "python:b:c")):
        (tmp_path / f"{name}.toml").write_text(
            'schema_version = 1\n[[reward]]\nname = "one"\nmodel = "python:a:b"\n'
            f'[[reward]]\nname = "two"\nmodel = "{model}"\n'
        )
        members = [model, "python:a:b"]
        (tmp_path / name).mkdir()
        (tmp_path / name / "ensemble.json").write_text(json.dumps({"members": members}))
    settings = ModelSettings(template="none")
    for spec in (f"mix:{tmp_path}/mixed.toml", str(tmp_path / "mixed")):
        refuse_without_effect(settings, [spec])
    for spec in (f"mix:{tmp_path}/functions.toml", str(tmp_path / "functions")):
        with pytest.raises(UsageError, match="--template has no effect on"):
            refuse_without_effect(settings, [spec])


SAMPLES = '{"prompt": "q", "outputs": ["a", "b"], "proxy_rewards": [1, 2], "gold_rewards": [2, 1]}'


@pytest.mark.parametrize(
    ("command", "on"),
    [
        (["serve", "--model", "python:rewards:f"], " on python:rewards:f"),
        (["serve", "--model", "python:rewards:f", "--gold", "recorded"], " on python:rewards:f"),
        (["overopt", "--samples", "s.jsonl"], " on recorded"),
        (["overopt", "--samples", "s.jsonl", "-m", "recorded:a", "--gold", "python:f:g"],
            " on recorded:a"),
        (["overopt", "--log", "log.jsonl"], ""),
        (["overopt", "--log", "log.jsonl", "--gold", "python:f:g"], " on python:f:g"),
        (["overopt", "--world", "clinic"], ""),
        (["overopt", "--world", "dose"], ""),
    ],
)  # fmt: skip
def test_serve_and_overopt_refuse_what_no_model_of_theirs_reads(command, on, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.jsonl").write_text(SAMPLES)
    done = CliRunner().invoke(app, [*command, "--out", "new", "--eos", "add"])
    assert done.exit_code == 2
    assert f"--eos has no effect{on}: leave it out" in done.stderr
    assert not (tmp_path / "new").exists()
    # The same with a checkpoint among the models fails for what is not there, not for the option.
    if "--world" not in command:
        (tmp_path / "empty").mkdir(exist_ok=True)
        others = [part for part in command if part not in ("--gold", "recorded", "python:f:g")]
        done = CliRunner().invoke(app, [*others, "--gold", "empty", "--eos", "add"])
        assert "has no effect" not in done.stderr
        assert done.exit_code != 0


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
