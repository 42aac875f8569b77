"""Two processes on a CPU train the model that one process trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from planted import preferences
from policies import llama_policy
from safetensors.torch import load_file

from rmaudit.errors import UsageError
from rmaudit.training.parallel import Parallel, local_device
from rmaudit.training.policy.sft import SftConfig, train_sft
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.training.reward.train import train_reward_model

CONFIG = RewardTrainingConfig(
    epochs=1, learning_rate=1e-3, max_length=64, precision="float32", batch_pairs=6, threads=1
)
SFT = SftConfig(steps=3, batch=5, learning_rate=1e-2)
SHOWN = ([[3], [4], [5]] * 3, [[7, 1], [8, 8, 1], [9, 1]] * 3)  # prompts, outputs
SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import torch
torch.set_num_threads(1)
from planted import preferences
from policies import PROMPTS, count_reward, llama_policy
from test_training_parallel import CONFIG, SFT, SHOWN
from rmaudit.training.policy.ppo import PpoConfig, train_ppo
from rmaudit.training.reward.train import train_reward_model
from rmaudit.training.policy.sft import train_sft

out = Path(sys.argv[3])
train_reward_model(sys.argv[2], preferences(40), out / "reward", config=CONFIG)
train_sft(llama_policy(0), *SHOWN, SFT, out / "sft")
ppo = PpoConfig(steps=3, batch=24, minibatch=12, epochs=1, learning_rate=1e-2)
policy = llama_policy(0)
train_ppo(policy, count_reward, PROMPTS, ppo, out / "ppo")
weights = torch.cat([p.detach().flatten() for p in policy.model.parameters()])
torch.save(weights, out / f"weights-{__import__('os').environ.get('RANK', '0')}.pt")
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
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_two_processes_train_the_same_models(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    train_reward_model(base, preferences(40), tmp_path / "1" / "reward", config=CONFIG)
    train_sft(llama_policy(0), *SHOWN, SFT, tmp_path / "1" / "sft")
    launch(base, tmp_path / "2")
    for name in ("reward", "sft"):  # the same data, shared out: the same weights but for rounding
        one, two = (load_file(tmp_path / str(k) / name / "model.safetensors") for k in (1, 2))
        for key, value in one.items():
            torch.testing.assert_close(value, two[key], rtol=0, atol=2e-4)
    # each draws samples of its own, and yet both end with the same policy
    first, second = (torch.load(tmp_path / "2" / f"weights-{rank}.pt") for rank in (0, 1))
    assert torch.equal(first, second)
    log = (tmp_path / "2" / "ppo" / "training-log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in log]
    assert [record["step"] for record in records] == [0, 1, 2, 3]
    assert all(record["samples"] == 24 for record in records)


def test_one_process_needs_no_launcher(base: Path, tmp_path: Path) -> None:
    alone = Parallel()
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
