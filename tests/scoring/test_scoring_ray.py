"""Two Ray workers, one of which dies on the way, score what one machine scores."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import StoreError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.scoring import Request, ScoreStore, score
from rmaudit.scoring.keys import text_keys
from rmaudit.scoring.ray_pool import Pool, _cluster, _import_ray, _resources, _take, _Worker
from rmaudit.scoring.shards import Collected, read_rewards, read_texts, write_rewards, write_texts

sys.path.insert(0, str(Path(__file__).parents[1] / "rewards"))
from tiny_models import save

# Ray's own calls of what it has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")

AUDIT = ("audit", "--eval", "eval.jsonl", "--only", "preflight,preference,length")
RAY = ("--engine", "ray", "--workers", "2")
MODULE = """
import os
import signal
from pathlib import Path

def reward(pairs):
    # The process above this one is a Ray worker, but where the audit itself asks.
    last = Path("last_breath")
    if last.exists() and last.read_text() != str(os.getppid()):
        last.unlink()
        os.kill(os.getppid(), signal.SIGKILL)
    return [len(o) / 7 - len(str(p)) % 3 for p, o in pairs]

def other(pairs):
    return [float(len(p)) for p, _ in pairs]

def broken(pairs):
    if any("bad" in output for _, output in pairs):
        raise ValueError("no reward today")
    return [1.0 for _ in pairs]

def short(pairs):
    return [1.0 for _, output in pairs if "bad" not in output]
"""
REQUESTS = [
    Request("chosen", ["a", "b"], ["p", [{"role": "user", "content": "lone \ud800"}]], ["x", "y"]),
    Request("variant", ["b"], ["q"], ["\udfff z"], audit="prompt", mode="alone", data="feedback"),
]


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "pooled.py").write_text(MODULE)
    rows = [
        {"prompt": f"q {i % 20}", "chosen": f"yes, it is {i}", "rejected": "no " * (1 + i % 9)}
        for i in range(40)
    ]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("pooled", None)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        with _cluster(_import_ray()):
            yield


def report(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((folder / "report.json").read_text())
    del kept["created"], kept["cost"]["seconds"]
    return kept


def rewards(folder: Path, model: str) -> np.ndarray:
    frame = pd.read_parquet(folder / "scores.parquet")
    return frame.loc[frame["model"] == model, "reward"].to_numpy()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_dies_and_the_report_is_that_of_one_machine(folder: Path) -> None:
    save(folder / "member", "bert")
    audit = (*AUDIT, "--model", "python:pooled:reward", "--ensemble", "member")
    code, shown = run(*audit, "--store", "local.sqlite", "--out", "local")
    assert code == 0, shown
    Path("last_breath").write_text(str(os.getpid()))
    code, shown = run(*audit, *RAY, "--store", "ray.sqlite", "--out", "ray")
    assert code == 0, shown
    assert not Path("last_breath").exists()
    assert not list(folder.glob("ray.sqlite.ray-*"))
    assert report(folder / "ray") == report(folder / "local")
    local, ray = (rewards(folder / name, "pooled:reward") for name in ("local", "ray"))
    assert ray.tolist() == local.tolist()
    # A transformer: other batches, other padding, so float32 rounds otherwise.
    local, ray = (rewards(folder / name, "member") for name in ("local", "ray"))
    assert local.std() > 0.1
    np.testing.assert_allclose(ray, local, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_text_that_fails_is_named_and_what_was_scored_before_is_kept(folder: Path) -> None:
    with Path("eval.jsonl").open("a") as file:
        file.write(json.dumps({"prompt": "q", "chosen": "a bad one", "rejected": "no"}) + "\n")
    audit = ("audit", "--eval", "eval.jsonl", "--only", "preflight,length", *RAY, "--model")
    code, shown = run(*audit, "python:pooled:broken", "--store", "ray.sqlite", "--out", "ray")
    assert code == 0, shown
    first, again = (line for line in shown.splitlines() if " to score (" in line)
    asked = int(first.split()[0])
    assert again.startswith(f"{asked} texts, 1 to score ({asked - 1} scored before)")
    found = report(folder / "ray")["findings"]
    assert [each["title"] for each in found] == ["The reward failed on 1 text"]
    assert "(chosen of eval): raised ValueError: no reward today" in found[0]["detail"]
    # A reward that cannot be used at all ends the audit.
    code, shown = run(*audit, "python:pooled:short", "--store", "ray.sqlite")
    assert code == 2
    assert "pooled:short failed on the text of id" in shown
    assert "it must return one number per text" in shown


def worker(load: Callable[[], RewardModel], model: RewardModel) -> _Worker:
    return _Worker(load, frozenset({model.fingerprint}), str(Path.cwd()))


def told(worker: _Worker, texts: Path) -> dict[str, Any]:
    answer = worker({"texts": np.array([str(texts)])})
    return {name: value for name, (value,) in answer.items()}


def test_what_a_worker_scores_is_what_the_engine_scores(folder: Path) -> None:
    model = load_reward_model("python:pooled:reward")
    write_texts(folder / "texts-0.parquet", REQUESTS)
    done = told(worker(lambda: model, model), folder / "texts-0.parquet")
    assert (done["failure"], done["texts"]) == ("", 3)
    with ScoreStore(folder / "store") as store:
        _take(Path(done["rewards"]), store)
        kept = score(model, REQUESTS, store=store)
    assert kept.cost.texts_scored == 0
    fresh = score(model, REQUESTS)
    assert done["tokens"] == fresh.cost.tokens
    for key, column in fresh.by_request.items():
        for name in ("reward", "tokens", "output_tokens", "truncated"):
            expected, found = getattr(column, name), getattr(kept.by_request[key], name)
            assert found.tolist() == expected.tolist(), (key, name)


def test_a_worker_names_the_text_that_its_model_fails_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_reward_model("python:pooled:reward")
    score_batch = model.score_batch

    def fail(batch: Any, *, pad_left: bool = False) -> Any:
        if any(each.payload.output == "x" for each in batch):
            raise ValueError("no reward today")
        return score_batch(batch, pad_left=pad_left)

    monkeypatch.setattr(model, "score_batch", fail)
    write_texts(folder / "texts-0.parquet", REQUESTS[:1])
    done = told(worker(lambda: model, model), folder / "texts-0.parquet")
    assert (
        "pooled:reward failed on the text of id 'a' (chosen of eval): ValueError: no reward today"
        in done["failure"]
    )
    # The longer text came first.
    assert done["texts"] == 1
    assert Path(done["rewards"]).is_file()


def test_trouble_on_a_worker_is_told_in_a_line(folder: Path) -> None:
    def unknown() -> RewardModel:
        return load_reward_model("python:nowhere:reward")

    model, other = (load_reward_model(f"python:pooled:{name}") for name in ("reward", "other"))
    texts = folder / "texts-0.parquet"
    write_texts(texts, REQUESTS)
    assert (
        "could not load the model: python:nowhere" in told(worker(unknown, model), texts)["failure"]
    )
    assert "must be the same on all" in told(worker(lambda: other, model), texts)["failure"]
    assert (
        "disk that all machines share"
        in told(worker(lambda: model, model), folder / "texts-1.parquet")["failure"]
    )
    sound = worker(lambda: model, model)
    failures = [told(sound, texts)["failure"] for _ in range(3)]
    assert failures[:2] == ["", ""]
    assert "died 4 times over the same texts" in failures[2]
    with ScoreStore(folder / "store") as store, pytest.raises(StoreError, match="machines share"):
        _take(folder / "rewards-9.parquet", store)


def test_texts_and_rewards_survive_parquet(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts", REQUESTS)
    assert read_texts(tmp_path / "texts") == REQUESTS
    collected, keys = Collected(), text_keys(REQUESTS)
    _, nothing = collected.look_up("m", keys)
    assert not nothing.any()
    rows, _ = collected.look_up("m", keys)
    rows["reward"] = [np.nan, -np.inf, 0.1]
    rows["tokens"], rows["truncated"] = [1, 2, 2**32 - 1], [True, False, True]
    collected.add("m", keys[:2], rows[:2])
    collected.add("n", keys, rows)
    collected.add("m", keys[2:], rows[2:])
    write_rewards(tmp_path / "rewards", collected)
    read = {model: (k, r) for model, k, r in read_rewards(tmp_path / "rewards")}
    assert list(read) == ["m", "n"]
    for found_keys, found in read.values():
        assert found_keys.tolist() == keys.tolist()
        assert found.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("there", "pool", "workers", "gpus"),
    [
        ({"CPU": 6.0}, Pool(), 6, 0),
        ({"CPU": 6.0}, Pool(2), 2, 0),
        ({"CPU": 8.0, "GPU": 4.0}, Pool(), 4, 1),
        ({"CPU": 8.0, "GPU": 4.0}, Pool(None, 0.5), 8, 0.5),
        ({"CPU": 8.0, "GPU": 4.0}, Pool(None, 0.0), 8, 0),
    ],
)
def test_as_many_workers_as_there_is_room_for(
    there: dict[str, float], pool: Pool, workers: int, gpus: float
) -> None:
    assert _resources(there, pool) == (workers, {"num_cpus": 1.0, "num_gpus": gpus})


def test_what_ray_cannot_do_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="the Ray cluster has 0 GPUs"):
        _resources({"CPU": 2.0}, Pool(1, 1.0))
    audit = (*AUDIT, *RAY, "--model")
    assert "leave out --no-cache" in run(*audit, "python:pooled:reward", "--no-cache")[1]
    assert "leave out --engine" in run(*audit, "python:pooled:reward", "--shard", "1/2")[1]
    rows = [json.loads(line) for line in Path("eval.jsonl").read_text().splitlines()]
    rewarded = [{**row, "chosen_reward": 1.0, "rejected_reward": 0.5} for row in rows]
    Path("rewarded.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rewarded))
    recorded = ("--only", "preference", "--eval", "rewarded.jsonl")
    code, shown = run(*audit, "recorded", *recorded, "--store", "s")
    assert (code, "rewards are recorded" in shown) == (2, True), shown
    monkeypatch.setitem(sys.modules, "ray", None)
    code, shown = run(*audit, "python:pooled:reward", "--store", "s")
    assert (code, "pip install 'ray[data]'" in shown) == (2, True), shown
