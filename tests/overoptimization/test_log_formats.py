"""One run, written as each trainer and logger writes it: always the same series."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError
from rmaudit.overoptimization.logs import TRAINERS, Log, read_log

STEPS = 12
TOKEN = 0.004 * np.arange(STEPS)  # KL per token
LENGTH = 100.0 + 3 * np.arange(STEPS)
KL = TOKEN * LENGTH
PROXY = 1.0 + 0.25 * np.arange(STEPS)
GOLD = np.sqrt(np.arange(STEPS)) - 0.1 * np.arange(STEPS)


def records(**keys: Any) -> list[dict[str, float]]:
    """Records of the run; a key's values, or those of a quantity by its name."""
    known = {"token": TOKEN, "length": LENGTH, "kl": KL, "proxy": PROXY, "gold": GOLD}
    values = {
        key.replace("__", "/"): known[v] if isinstance(v, str) else v for key, v in keys.items()
    }
    return [
        {"step": i, **{k: float(v[i]) if np.ndim(v) else v for k, v in values.items()}}
        for i in range(STEPS)
    ]


TRL = {"kl": "token", "completions__mean_length": "length", "rewards__rm__mean": "proxy",
       "rewards__gold_rm__mean": "gold", "reward": 7.0}  # fmt: skip


def same(log: Log) -> bool:
    run = log.run
    assert run.step.size == STEPS
    return all(
        np.allclose(a, b, rtol=1e-6)
        for a, b in ((run.kl, KL), (run.proxy, PROXY), (run.gold, GOLD))
    )


@pytest.mark.parametrize(
    ("trainer", "keys"),
    [
        ("trl", TRL),
        ("trl", {"kl": "token", "completion_length": "length", "rewards__rm": "proxy",
                 "rewards__gold_rm": "gold", "reward": 7.0}),
        ("trl", {"objective__kl": "kl", "kl": 0.5, "objective__scores": "proxy", "gold": "gold"}),
        ("openrlhf", {"kl": "token", "response_length": "length", "reward": "proxy",
                      "gold_reward": "gold"}),
        ("verl", {"actor__ppo_kl": 9.0, "actor__kl_loss": "token", "critic__score__mean": "proxy",
                  "critic__rewards__mean": 8.0, "response_length__mean": "length",
                  "val-core/x/gold/mean@4": "gold", "val-aux/x/gold/std@4": 5.0}),
        ("nemo-rl", {"train__reward": "proxy", "train__kl_penalty": "token",
                     "train__mean_gen_tokens_per_sample": "length", "gold": "gold"}),
        ("tinker", {"env__all__reward__total": "proxy", "kl_policy_base": "token",
                    "optim__kl_sample_train_v1": 3.0, "env__all__ac_tokens_per_turn": "length",
                    "env__all__turns_per_episode": 1.0, "env__all__gold": "gold"}),
        ("trlx", {"policy__sqrt_kl": np.sqrt(KL), "policy__kl_per_token": np.sqrt(TOKEN),
                  "reward__mean": "proxy", "gold": "gold"}),
        ("rmaudit", {"rmaudit__kl": "kl", "kl": "token", "completions__mean_length": "length",
                     "rmaudit__proxy": "proxy", "rmaudit__gold": "gold"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("prefix", ["", "train/"])
def test_every_trainer_gives_the_same_run(
    tmp_path: Path, trainer: str, keys: dict[str, Any], prefix: str
) -> None:
    path = tmp_path / "run.jsonl"
    rows = records(**keys)
    if not any(key.startswith(("train", "rmaudit")) for key in rows[0]):
        rows = [{k if k == "step" else prefix + k: v for k, v in r.items()} for r in rows]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))
    log = read_log(path)
    assert same(log), (log.keys, log.notes)
    assert log.trainer == trainer or prefix


def test_whoever_names_a_key_its_unit_stays(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text(json.dumps({"log_history": records(**TRL)}))
    named = read_log(path, kl="kl")
    assert same(named)
    assert "KL is kl per token times completions/mean_length" in named.notes
    assert np.allclose(read_log(path, kl="kl", length="none").run.kl, TOKEN)
    assert np.allclose(read_log(path, length="50").run.kl, 50 * TOKEN)
    plain = tmp_path / "plain.jsonl"
    rows = records(kl="kl", proxy="proxy", gold="gold")
    plain.write_text("".join(json.dumps(r) + "\n" for r in rows))
    taken = read_log(plain, kl="kl")
    assert same(taken)
    assert any("taken as nats per sequence" in note for note in taken.notes)
    with pytest.raises(DataError, match="give --log-length"):
        read_log(plain)


def written(folder: Path, form: str) -> Path:
    rows = records(**TRL)
    lines = "".join(json.dumps(r) + "\n" for r in rows)
    path = folder / f"run.{form}"
    if form == "parquet":
        pd.DataFrame(rows).to_parquet(path)
    elif form == "csv":
        pd.DataFrame(rows).rename(columns={"step": "Step"}).to_csv(path, index=False)
    elif form == "semicolon.csv":
        pd.DataFrame(rows).to_csv(path, index=False, sep=";", decimal=",")
    elif form == "chart.csv":  # of W&B: the run's name before each key, and what is drawn around it
        frame = pd.DataFrame(rows)
        frame.columns = ["Step", *(f"my-run v2 - train/{c}" for c in frame.columns[1:])]
        frame["my-run v2 - train/kl__MIN"] = -1.0
        frame.to_csv(path, index=False)
    elif form == "utf16.jsonl":
        path.write_text(lines, encoding="utf-16")
    elif form == "bom.jsonl":
        path.write_text(lines, encoding="utf-8-sig")
    elif form == "jsonl.gz":
        path.write_bytes(gzip.compress(lines.encode()))
    elif form == "columns.json":
        path.write_text(pd.DataFrame(rows).to_json())
    elif form in ("stacked.csv", "stacked.json"):
        frame = pd.DataFrame(rows).melt("step", var_name="key").dropna()
        if form == "stacked.csv":
            frame.rename(columns={"key": "tag"}).to_csv(path, index=False)
        else:
            path.write_text(json.dumps({"metrics": frame.to_dict("records")}))
    elif form == "console.log":
        shown = [f"  {i}%|# | {i}/12 [00:0{i % 10}, 1.2it/s]{r!r}" for i, r in enumerate(rows)]
        path.write_text("loading\n" + "\n".join(shown).replace("'reward': 7.0", "'reward': nan"))
    elif form == "strings.log":  # as transformers 5 prints numbers
        path.write_text("\n".join(repr({k: str(v) for k, v in r.items()}) for r in rows))
    elif form == "numpy.log":
        pairs = [
            " - ".join(f"{k}:np.float64({v})" for k, v in r.items() if k != "step") for r in rows
        ]
        shown = [f"\x1b[36m(TaskRunner pid=7)\x1b[0m step:{i} - {p}" for i, p in enumerate(pairs)]
        path.write_text("\n".join(shown))
    elif form == "trackio.db":
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, timestamp TEXT, "
                             "run_name TEXT, step INTEGER, metrics TEXT)")  # fmt: skip
            database.executemany(
                "INSERT INTO metrics (timestamp, run_name, step, metrics) VALUES ('t', 'a', ?, ?)",
                [(r.pop("step"), json.dumps(r)) for r in rows],
            )
        database.close()
    elif form == "mlflow":
        for row in rows:
            for key, value in row.items():
                file = path / "metrics" / key
                file.parent.mkdir(parents=True, exist_ok=True)
                if key != "step":
                    with file.open("a") as out:
                        out.write(f"17000 {value} {row['step']:.0f}\n")
    elif form == "tensorboard":
        writers = pytest.importorskip("torch.utils.tensorboard")
        with writers.SummaryWriter(str(path)) as writer:
            for row in rows:
                for key, value in row.items():
                    writer.add_scalar(f"train/{key}", value, row["step"])
    return path


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
@pytest.mark.parametrize(
    "form",
    ["parquet", "csv", "semicolon.csv", "chart.csv", "utf16.jsonl", "bom.jsonl", "jsonl.gz",
     "columns.json", "stacked.csv", "stacked.json", "console.log", "strings.log", "numpy.log",
     "trackio.db", "mlflow", "tensorboard"],
)  # fmt: skip
def test_every_logger_gives_the_same_run(tmp_path: Path, form: str) -> None:
    log = read_log(written(tmp_path, form))
    assert same(log), (form, log.keys, log.notes)


def test_gold_has_steps_of_its_own(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = []
    for i, r in enumerate(records(kl="token", completions__mean_length="length", reward="proxy")):
        rows.append(r)
        if i % 4 == 3:
            rows.append({"step": i, "eval_rewards/gold/mean": float(GOLD[i]), "eval_kl": 9.0})
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": rows}))
    run = read_log(path).run
    assert np.flatnonzero(np.isfinite(run.gold)).tolist() == [3, 7, 11]
    assert np.allclose(run.proxy, PROXY)
    assert np.allclose(run.kl, KL)
    out = tmp_path / "out"
    arguments = ["overopt", "--log", str(path), "--out", str(out), "--venue", "icml"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    curve = pd.read_csv(out / "curve.csv")
    assert curve["gold"].notna().sum() == 3
    assert curve["proxy"].notna().sum() == STEPS
    assert curve.set_index("step").loc[[3, 7, 11], "kl"].tolist() == pytest.approx(
        KL[[3, 7, 11]].tolist(), rel=0.01
    )
    assert "no fall of the gold reward is shown by step 11" in " ".join(done.output.split())


def test_two_runs_in_one_store_and_a_binary_of_wandb_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "trackio.db")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE metrics SET run_name = 'b' WHERE step > 5")
    database.close()
    with pytest.raises(DataError, match=r"holds 2 runs \(a, b\)"):
        read_log(path)
    binary = tmp_path / "run-1.wandb"
    binary.write_bytes(b"\0" * 20)
    with pytest.raises(DataError, match="export the run's history as CSV"):
        read_log(binary)


@pytest.mark.parametrize("stacked", [True, False])
def test_rows_of_several_runs_in_one_table_are_not_mixed(tmp_path: Path, stacked: bool) -> None:
    values = {"kl": 0.5, "reward": 1.0, "gold_reward": 1.0}
    rows = [
        {"run_id": run, "step": step, **part}
        for run in ("a", "b")
        for step in range(5)
        for part in ([{"key": k, "value": v} for k, v in values.items()] if stacked else [values])
    ]
    file = tmp_path / "export.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(DataError, match=r"run_id names 2 runs \(a, b\); export one run"):
        read_log(file, length="none")
    half = [row for row in rows if row["run_id"] == "a"]
    file.write_text("\n".join(map(json.dumps, half)))
    assert read_log(file, length="none").run.step.tolist() == [0, 1, 2, 3, 4]


def test_a_missing_key_lists_all_that_there_are_rewards_first(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    row = {"step": 1, **{f"a{i}": 0.0 for i in range(30)}, "train/reward": 1.0}
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match=r"no gold in the log.*there are: train/reward, .*a29"):
        read_log(path)


def test_trainers_are_declared_with_a_source() -> None:
    assert {"trl", "openrlhf", "verl", "nemo-rl", "tinker", "trlx"} <= set(TRAINERS)
    assert all(trainer.source and trainer.kl for trainer in TRAINERS.values())
