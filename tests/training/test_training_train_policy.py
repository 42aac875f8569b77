"""`rmaudit train policy`: every method on texts, from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from planted import TEXTS, preferences
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.cli import app
from rmaudit.errors import DataError, RewardModelError, UsageError
from rmaudit.training.policy.settings import (
    DpoConfig,
    SftConfig,
)
from rmaudit.training.policy.text import load_text_policy
from rmaudit.training.policy.train import config_of, distinct_prompts, train_policy
from rmaudit.training.tiny import tiny_causal

REWARD = "python:counting:count_good"
SHORT = ["--max-new-tokens", "6", "--max-prompt-tokens", "40", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A description of a small Llama, without weights."""
    return tiny_causal(tmp_path_factory.mktemp("causal"), TEXTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    columns = ["prompt", "chosen", "rejected"]
    preferences(30, prompts=5).frame[columns].to_json(path, orient="records", lines=True)
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["train", "policy", *map(str, arguments)])
    return done.exit_code, done.output


@pytest.mark.parametrize("method", ["ppo", "rloo", "a2c"])
def test_a_reward_is_optimised_from_the_command_line(
    method: str, causal: Path, data: Path, tmp_path: Path
) -> None:
    options = ["--reward", REWARD, "--gold", "python:counting:length_of", "--steps", 8]
    options += ["--batch", 40, "--learning-rate", 0.03, *SHORT]
    columns, feedback = ["prompt", "chosen", "rejected"], tmp_path / "feedback.jsonl"
    preferences(160, prompts=100).frame[columns].to_json(feedback, orient="records", lines=True)
    options += ["--feedback", feedback]
    tmp_path /= "run"
    code, said = run("--method", method, "-m", causal, "--data", data, "--out", tmp_path, *options)
    assert code == 0, said
    log = [json.loads(line) for line in (tmp_path / "training-log.jsonl").read_text().splitlines()]
    assert log[-1]["proxy"] > log[0]["proxy"] + 0.3
    assert log[-1]["kl_k1"] > 0.1
    assert 0 < log[-1]["gold"] <= 6
    assert all(0 <= record["outside_support"] <= 1 for record in log)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompt = load_text_policy(tmp_path, max_new_tokens=6, max_prompt_tokens=40).encode_prompt("a")
    assert torch.isfinite(model(input_ids=torch.tensor([prompt])).logits).all()


def test_sft_then_dpo_then_its_reward(causal: Path, data: Path, tmp_path: Path) -> None:
    first = tmp_path / "sft"
    options = ["--steps", 15, "--batch", 30, "--learning-rate", 0.02, *SHORT[:1], 16, *SHORT[2:]]
    assert run("--method", "sft", "-m", causal, "--data", data, "--out", first, *options)[0] == 0
    log = (first / "training-log.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in log]
    assert losses[-1] < losses[0] - 1
    second = tmp_path / "dpo"
    options += ["--beta", 0.5, "--reward", "python:counting:length_of"]
    assert run("--method", "dpo", "-m", first, "--data", data, "--out", second, *options)[0] == 0
    logged = (second / "training-log.jsonl").read_text().splitlines()
    start, end = json.loads(logged[0]), json.loads(logged[-1])
    assert start["kl_k1"] == pytest.approx(0, abs=1e-5)  # measured though DPO draws no samples
    assert end["step"] == 15
    assert end["kl_k1"] > 0
    assert end["proxy"] > 0
    # what was trained is what the audit of an implicit reward reads
    implicit = rma.load_reward_model(second, reference_model=first, beta=0.5, device="cpu")
    frame = preferences(30, prompts=5).frame
    from rmaudit.rewards.base import Text
    from rmaudit.training.policy.reward import score

    margins = [
        score(implicit, [Text(p, o) for p, o in zip(frame["prompt"], frame[side], strict=True)])
        for side in ("chosen", "rejected")
    ]
    assert (margins[0] > margins[1]).mean() > 0.9


def test_best_of_n_writes_samples_that_overopt_reads(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    options = ["--reward", REWARD, "-n", 5, *SHORT]
    code, said = run("--method", "bon", "-m", causal, "--data", data, "--out", tmp_path, *options)
    assert code == 0, said
    frame = rma.load(tmp_path / "samples.jsonl").frame
    assert len(frame) == 5
    for row in frame.itertuples():
        counts = [output.split().count("good") for output in row.outputs]
        assert list(row.proxy_rewards) == counts
        assert counts[row.best] == max(counts)


def test_sampling_goes_on_where_it_was_killed(
    causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "rmaudit.training.policy.samples.SAMPLED_TOGETHER", 10
    )  # two prompts of five
    options = ["--method", "bon", "-m", causal, "--data", data, "--reward", REWARD, *SHORT]
    out = tmp_path / "out"
    assert run(*options, "--out", out, "-n", 5)[0] == 0
    path = out / "samples.jsonl"
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    for kept in ("".join(lines[:3]) + lines[3][:40], lines[0][:9], ""):  # killed within a line
        path.write_text(kept)
        assert run(*options, "--out", out, "-n", 5)[0] == 0
        assert path.read_text() == whole
    code, said = run(*options, "--out", out, "-n", 4)
    assert code == 2
    assert "another settings" in said
    assert path.read_text() == whole


def test_rounds_from_the_command_line(base: Path, causal: Path, data: Path, tmp_path: Path) -> None:
    options = ["--gold", REWARD, "--rounds", 1, "--pairs", 20, "--steps", 2, "--batch", 8]
    arguments = ["-m", causal, "--data", data, "--base", base, "--out", tmp_path, *options, *SHORT]
    done = CliRunner().invoke(app, ["train", "iterate", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "rounds.jsonl").read_text())
    assert record["round"] == 0
    assert 0 < record["pairs"] <= 20
    assert (tmp_path / "round_0" / "reward" / "model.safetensors").is_file()


def test_the_type_of_the_data_picks_the_loss(base: Path, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.jsonl"
    frame = preferences(20).frame
    rows = pd.DataFrame(
        {"prompt": frame["prompt"], "output": frame["chosen"], "rating": np.arange(20) % 3}
    )
    rows.to_json(ratings, orient="records", lines=True)
    arguments = ["--base", base, "--data", ratings, "--out", tmp_path / "m", "--epochs", 1]
    arguments += ["--max-length", 64, "--device", "cpu", "--quiet"]
    done = CliRunner().invoke(app, ["train", "reward", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "m" / "model.safetensors").is_file()
    wrong = CliRunner().invoke(app, ["train", "reward", *map(str, arguments), "--soft-labels"])
    assert wrong.exit_code == 2
    assert "soft_labels is for preference data" in wrong.output


def test_prompts_and_outputs_become_tokens_and_back(causal: Path) -> None:
    loaded = load_text_policy(causal, max_new_tokens=4, max_prompt_tokens=5)
    tokenizer = loaded.tokenizer
    ids = loaded.encode_prompt("alpha beta")
    assert tokenizer.convert_ids_to_tokens(ids) == ["[CLS]", "alpha", "beta"]
    # too long: the oldest go
    ids = loaded.encode_prompt("alpha beta gamma delta epsilon zeta")
    assert tokenizer.convert_ids_to_tokens(ids) == ["beta", "gamma", "delta", "epsilon", "zeta"]
    output = loaded.encode_output("good bad")
    assert tokenizer.convert_ids_to_tokens(output) == ["good", "bad", "[SEP]"]
    assert loaded.decode(0, output) == "good bad"
    assert len(loaded.encode_output("good " * 9)) == 4  # cut, and without an end
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}"
        "{% if add_generation_prompt %}good{% endif %}"
    )
    shown = tokenizer.convert_ids_to_tokens(loaded.encode_prompt("alpha"))
    assert shown == ["[UNK]", "alpha", "good"]


def test_quantised_weights_are_refused_before_any_training(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    # as transformers leaves it in the configuration of a model that was read from GGUF
    folder = tmp_path / "quantised"
    shutil.copytree(causal, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gguf", "dequantize": False}
    (folder / "config.json").write_text(json.dumps(config))
    options = ["--data", data, "--out", tmp_path / "out", "--steps", 1, *SHORT]
    code, said = run("--method", "sft", "-m", folder, *options)
    assert code == 2
    assert "quantised weights cannot be trained" in said
    assert not (tmp_path / "out").exists()


def test_a_large_policy_is_told_of_other_trainers_and_trained(
    causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit one line and a trained model; at the limit no line."""
    size = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(causal)).num_parameters()
    options = ["--steps", 1, "--batch", 4, *(o for o in SHORT if o != "--quiet")]
    for limit, told in ((size, 0), (size - 1, 1)):
        monkeypatch.setattr("rmaudit.training.policy.train.LARGE", limit)
        out = tmp_path / str(limit)
        code, said = run("--method", "sft", "-m", causal, "--data", data, "--out", out, *options)
        assert code == 0, said
        assert " ".join(said.split()).count("belong to TRL, OpenRLHF or verl") == told
        assert (out / "model.safetensors").exists()


def test_what_can_be_imitated() -> None:
    from rmaudit.training.policy.train import _demonstrations

    rows = {
        "preference": {"prompt": "p", "chosen": "a", "rejected": "b"},
        "ranking": {"prompt": "p", "outputs": ["b", "a"], "ranking": [2, 1]},
        "unpaired": {"prompt": "p", "output": "a", "label": True},
        "rating": {"prompt": "p", "output": "a", "rating": 3},
        "samples": {"prompt": "p", "outputs": ["a", "c"]},
    }
    for kind, row in rows.items():
        prompts, outputs = _demonstrations(rma.load(pd.DataFrame([row])))
        assert outputs[0] == "a", kind
        assert prompts[0] == "p"
    bad = rma.load(pd.DataFrame([rows["unpaired"], {**rows["unpaired"], "label": False}]))
    assert len(_demonstrations(bad)[1]) == 1
    samples = pd.DataFrame([rows["samples"], {"prompt": "q", "outputs": ["d"]}, rows["samples"]])
    prompts, outputs = _demonstrations(rma.load(samples))
    assert list(zip(prompts, outputs, strict=True)) == [*zip("ppqpp", "acdac", strict=True)]


def test_bad_input_is_one_clear_line(causal: Path, data: Path, tmp_path: Path) -> None:
    shared = ["-m", causal, "--data", data, "--out", tmp_path, *SHORT]
    code, said = run("--method", "ppo", *shared)
    assert code == 2
    assert "needs a reward model to optimise: --reward" in said
    code, said = run("--method", "sft", *shared, "--target-kl", 3)
    assert code == 2
    assert "sft has no setting target_kl" in said
    ratings = rma.load(pd.DataFrame([{"prompt": "p", "output": "a", "rating": 1}] * 3))
    policy = load_text_policy(causal, max_new_tokens=4, max_prompt_tokens=8)
    with pytest.raises(DataError, match="dpo needs preference data"):
        train_policy(policy, ratings, tmp_path, "dpo", DpoConfig())
    with pytest.raises(UsageError, match="ppo takes a PpoConfig"):
        train_policy(policy, ratings, tmp_path, "ppo", SftConfig())
    with pytest.raises(RewardModelError, match="64 positions"):
        load_text_policy(causal)
    with pytest.raises(RewardModelError, match="cannot load the tokenizer"):
        load_text_policy(tmp_path / "absent")
    assert distinct_prompts(ratings) == ["p"]
    assert np.isclose(config_of("ppo", beta=0.3, steps=None).beta, 0.3)
