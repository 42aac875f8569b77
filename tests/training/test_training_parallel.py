"""Two processes on a CPU train the model that one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import preferences
from policies import llama_policy
from safetensors.torch import load_file

from rmaudit.data.types import Dataset
from rmaudit.errors import UsageError
from rmaudit.rewards.base import Text
from rmaudit.rewards.loading import load_reward_model
from rmaudit.training.parallel import Parallel, local_device
from rmaudit.training.policy.dpo import train_dpo
from rmaudit.training.policy.ppo import whiten
from rmaudit.training.policy.reward import score
from rmaudit.training.policy.settings import (
    DpoConfig,
    SftConfig,
)
from rmaudit.training.policy.sft import train_sft
from rmaudit.training.reward.backbone import hold_level
from rmaudit.training.reward.losses import bradley_terry_soft
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.training.reward.train import train_reward_model

CONFIG = RewardTrainingConfig(
    epochs=2, learning_rate=1e-2, max_length=64, precision="float32", batch_pairs=6, threads=1
)
# Nine rows in batches of eight: the last batch of an epoch has one row, fewer than processes.
SFT = SftConfig(steps=4, batch=8, learning_rate=1e-2)
DPO = DpoConfig(steps=4, batch=8, learning_rate=1e-2)
SHOWN = ([[3], [4], [5]] * 3, [[7, 1], [8, 8, 1], [9, 1]] * 3)  # prompts, outputs
PAIRS = (*SHOWN, [[9, 9, 1], [7, 1], [8, 1]] * 3)  # prompts, chosen, rejected
SPREAD = torch.arange(24.0).reshape(6, 4) ** 2  # of six outputs' tokens
MASK = torch.arange(4) < torch.tensor([4, 1, 2, 3, 4, 1])[:, None]
HEAD_BIAS = "classifier.bias"
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
torch.set_num_threads(1)
from planted import preferences
from policies import PROMPTS, count_reward, llama_policy
from test_training_parallel import CONFIG, DPO, MASK, PAIRS, SFT, SHOWN, SPREAD
from rmaudit.training.parallel import Parallel
from rmaudit.training.policy.dpo import train_dpo
from rmaudit.training.policy.ppo import train_ppo, whiten
from rmaudit.training.policy.settings import PpoConfig
from rmaudit.training.reward.train import train_reward_model
from rmaudit.training.policy.sft import train_sft

out = Path(sys.argv[3])
train_reward_model(sys.argv[2], preferences(40), out / "reward", config=CONFIG)
train_sft(llama_policy(0), *SHOWN, SFT, out / "sft")
train_dpo(llama_policy(0), *PAIRS, DPO, out / "dpo")
rank = __import__("os").environ.get("RANK", "0")
own = slice(0, 2) if rank == "0" else slice(2, 6)
whitened = whiten(SPREAD[own], MASK[own], Parallel())
ppo = PpoConfig(steps=3, batch=24, minibatch=12, epochs=1, learning_rate=1e-2)
policy = llama_policy(0)
train_ppo(policy, count_reward, PROMPTS, ppo, out / "ppo")
weights = torch.cat([p.detach().flatten() for p in policy.model.parameters()])
torch.save({"weights": weights, "whitened": whitened}, out / f"rank-{rank}.pt")
import torch.distributed
if torch.distributed.is_initialized():
    torch.distributed.destroy_process_group()
"""


def launch(base: Path, out: Path) -> None:
    out.mkdir()
    script = out / "run.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).parent)
    arguments = [str(script), tests, str(base), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [sys.executable, "-m", *launcher, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def margins(folder: Path) -> torch.Tensor:
    """What a preference identifies: rewards of chosen less rejected outputs."""
    data = preferences(40)
    model = load_reward_model(str(folder))
    rewards = [
        score(model, [Text(p, o) for p, o in zip(data.frame["prompt"], outputs, strict=True)])
        for outputs in (data.frame["chosen"], data.frame["rejected"])
    ]
    return torch.as_tensor(rewards[0] - rewards[1])


@pytest.mark.slow
def test_two_processes_train_the_same_models(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    train_reward_model(base, preferences(40), tmp_path / "1" / "reward", config=CONFIG)
    train_sft(llama_policy(0), *SHOWN, SFT, tmp_path / "1" / "sft")
    train_dpo(llama_policy(0), *PAIRS, DPO, tmp_path / "1" / "dpo")
    launch(base, tmp_path / "2")
    one, two = (margins(tmp_path / str(k) / "reward") for k in (1, 2))
    assert one.mean() > 1
    torch.testing.assert_close(one, two, rtol=0, atol=1e-3)
    for name in ("sft", "dpo"):  # the same data, shared out: the same weights but for rounding
        one, two = (load_file(tmp_path / str(k) / name / "model.safetensors") for k in (1, 2))
        for key, value in one.items():
            torch.testing.assert_close(value, two[key], rtol=0, atol=2e-4)
        alone, shared = (records(tmp_path / str(k) / name) for k in (1, 2))
        for own, other in zip(alone, shared, strict=True):
            assert own.keys() == other.keys()
            assert list(own.values()) == pytest.approx(list(other.values()), abs=2e-4)
    # each draws samples of its own, and yet both end with the same policy
    first, second = (torch.load(tmp_path / "2" / f"rank-{rank}.pt") for rank in (0, 1))
    assert torch.equal(first["weights"], second["weights"])
    whole = torch.cat([first["whitened"], second["whitened"]])
    torch.testing.assert_close(whole, whiten(SPREAD, MASK))
    ppo = records(tmp_path / "2" / "ppo")
    assert [record["step"] for record in ppo] == [0, 1, 2, 3]
    assert all(record["samples"] == 24 for record in ppo)


def records(folder: Path) -> list[dict[str, float]]:
    lines = (folder / "training-log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("heads", [1, 3])
def test_the_level_of_rewards_is_not_trained_where_no_loss_depends_on_it(heads: int) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, heads))
    bias = model[1].bias.detach().clone()
    hold_level(model, heads)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    first, second = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    for _ in range(5):
        optimizer.zero_grad()
        left, right = model(first), model(second)
        loss = bradley_terry_soft(left[:, 0], right[:, 0], 1.0).sum()
        (loss + left[:, 1:].square().sum()).backward()
        optimizer.step()
    moved = model[1].bias.detach() != bias
    assert not moved[0]
    assert moved[1:].all()
    assert (model[0].weight.grad != 0).any()


def test_ratings_do_train_the_level(base: Path, tmp_path: Path) -> None:
    data = preferences(40)
    frame = data.frame.assign(output=data.frame["chosen"], rating=5.0)
    ratings = Dataset("rating", frame[["id", "prompt", "output", "rating", "row"]], data.source)
    config = CONFIG.but(held_out_share=0.0)
    for name, rows in (("preference", data), ("rating", ratings)):
        train_reward_model(base, rows, tmp_path / name, config=config)
    held, moved = (
        load_file(tmp_path / name / "model.safetensors")[HEAD_BIAS]
        for name in ("preference", "rating")
    )
    assert held.abs().max() == 0  # a fresh head begins at 0
    assert moved.abs().max() > 1e-3


def test_one_process_needs_no_launcher(base: Path, tmp_path: Path) -> None:
    alone = Parallel()
    assert alone.part(np.arange(3)).tolist() == [0, 1, 2]
    assert alone.mean(torch.tensor([1.0, 4.0])) == 2.5
    assert (alone.rank, alone.size, alone.is_first) == (0, 1, True)
    assert alone.share("the batch", 7) == 7
    assert alone.total(0.1) == 0.1
    assert alone.combine_record({"proxy": 0.1}) == {"proxy": 0.1}
    assert local_device("cpu") == "cpu"
    train_reward_model(base, preferences(20), tmp_path, config=CONFIG)


def test_unequal_shares_are_refused() -> None:
    two = Parallel()
    two.size = 2
    with pytest.raises(UsageError, match=r"the batch \(7\) must be a multiple of the 2"):
        two.share("the batch", 7)
