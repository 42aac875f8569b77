"""Data sets as `datasets` itself writes and caches them, and models of a local hub cache."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pandas as pd
import pytest

from rmaudit.api import score
from rmaudit.data import load
from rmaudit.errors import DataError, RewardModelError
from rmaudit.rewards import load_reward_model

datasets = pytest.importorskip("datasets")
sys.path.insert(0, str(Path(__file__).parents[1] / "rewards"))
from tiny_models import save  # noqa: E402

ROWS = [
    {
        "prompt": [{"role": "user", "content": f"Question {i}?"}],
        "chosen": [{"role": "assistant", "content": f"good {i}"}],
        "rejected": [{"role": "assistant", "content": "bad" * (1 + i % 3)}],
        "subset": "a" if i % 2 else "b",
    }
    for i in range(12)
]
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def quiet(monkeypatch):
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("shards", [1, 3])
def test_what_save_to_disk_wrote_is_read_whole(shards, tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "one", num_shards=shards)
    datasets.DatasetDict(test=data).save_to_disk(tmp_path / "split")
    datasets.DatasetDict(train=data, test=data.select([1, 5])).save_to_disk(tmp_path / "several")

    expected = load(ROWS).frame
    for folder in ("one", "split", "several/train"):
        got = load(tmp_path / folder).frame
        pd.testing.assert_frame_equal(got[expected.columns], expected)
    assert len(load(tmp_path / "several" / "test")) == 2
    with pytest.raises(DataError, match="splits train, test; give one"):
        load(tmp_path / "several")


def cached_dataset(home, folder):
    """Org/data as `datasets` leaves it in its cache after a download."""
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    datasets.load_dataset(str(folder), cache_dir=str(home / "datasets"))
    (home / "datasets" / folder.name).rename(home / "datasets" / "org___data")


def cached_model(home, folder):
    """Org/model at tag v1 as `huggingface_hub` leaves it in its cache after a download."""
    repository = home / "hub" / "models--org--model"
    shutil.copytree(folder, repository / "snapshots" / REVISION)
    (repository / "refs").mkdir()
    (repository / "refs" / "v1").write_text(REVISION)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """What HF_HOME and HF_HUB_OFFLINE=1 say, had they been set before the libraries were loaded."""
    home = tmp_path / "home"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(home / "datasets"))
    return home


@pytest.mark.usefixtures("quiet")
def test_model_and_data_come_from_the_hub_cache_without_a_network(tmp_path, offline):
    cached_dataset(offline, tmp_path / "data")
    cached_model(offline, save(tmp_path / "model", "gpt2"))
    data, rows = load("org/data:test"), load(ROWS)
    pd.testing.assert_frame_equal(data.frame[rows.frame.columns], rows.frame)
    assert data.source.sha256 == rows.source.sha256

    hub, local = load_reward_model("org/model@v1"), load_reward_model(tmp_path / "model")
    assert hub.fingerprint == local.fingerprint
    got = score(hub, data, cache=False)
    assert len(got) == 2 * len(ROWS)
    assert set(got["model"]) == {"org/model@v1"}
    expected = score(local, rows, cache=False)
    pd.testing.assert_frame_equal(got.drop(columns="model"), expected.drop(columns="model"))

    with pytest.raises(RewardModelError, match="org/model: not a directory here, and the hub"):
        load_reward_model("org/model@v2")
    with pytest.raises(DataError, match="org/data:nowhere: cannot be loaded from the hub"):
        load("org/data:nowhere")
