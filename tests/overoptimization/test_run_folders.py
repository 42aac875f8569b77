"""A run's folder as a whole: the log and the completions are found, and gold comes from either."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError
from rmaudit.overoptimization.logs import read_log

STEPS = 24


def words(step: int, k: int) -> str:
    """A completion: its gold reward rises to step 12 and falls after it."""
    return "good " * (step if step < 12 else 24 - step) + "!" * k


def trl_run(folder: Path, *, gold_column: bool) -> Path:
    history = [
        {"step": s, "kl": 0.01 * s, "completions/mean_length": 50.0, "rewards/rm/mean": 0.1 * s}
        for s in range(1, STEPS + 1)
    ]
    last = folder / f"checkpoint-{STEPS}"
    last.mkdir(parents=True)
    (last / "trainer_state.json").write_text(json.dumps({"log_history": history}))
    (folder / "completions").mkdir()
    for step in range(1, STEPS + 1):
        rows = [
            {"step": step, "prompt": f"p{k % 2}", "completion": words(step, k), "rm": 0.1 * step,
             "advantage": 0.0, **({"gold": float(step % 3 + k)} if gold_column else {})}
            for k in range(4)
        ]  # fmt: skip
        pd.DataFrame(rows).to_parquet(folder / "completions" / f"completions_{step:05d}.parquet")
    return folder


def test_gold_beside_the_completions_serves_where_the_log_has_none(tmp_path: Path) -> None:
    run = read_log(trl_run(tmp_path / "grpo", gold_column=True)).run
    assert run.gold.tolist() == [s % 3 + 1.5 for s in range(1, STEPS + 1)]
    assert np.allclose(run.kl, 0.5 * np.arange(1, STEPS + 1))


def test_a_second_reward_that_scores_the_completions_is_the_gold(tmp_path: Path) -> None:
    folder = trl_run(tmp_path / "grpo", gold_column=False)
    with pytest.raises(DataError, match="no gold in the log"):
        read_log(folder)
    (tmp_path / "meant.py").write_text(
        "def reward(pairs):\n    return [o.count('good') for _, o in pairs]\n"
    )
    arguments = ["overopt", str(folder), "--gold", f"python:{tmp_path / 'meant.py'}:reward"]
    out = tmp_path / "out"
    done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--venue", "icml"])
    if done.exit_code:  # a module by its name, where a path is not taken
        pytest.MonkeyPatch().syspath_prepend(str(tmp_path))
        arguments[-1] = "python:meant:reward"
        done = CliRunner().invoke(app, [*arguments, "--out", str(out), "--venue", "icml"])
    assert done.exit_code == 0, done.output
    curve = pd.read_csv(out / "curve.csv")
    assert curve["gold"].max() == pytest.approx(12, abs=0.6)
    assert curve["step"][curve["gold"].idxmax()] == pytest.approx(12, abs=1)
    assert "near step 12" in " ".join(done.output.split())


def test_rollouts_of_verl(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "rollouts").mkdir(parents=True)
    rows = [
        {"step": s, "data": {"actor/kl_loss": 0.01 * s, "response_length/mean": 10.0,
                             "critic/score/mean": float(s)}}
        for s in range(1, 9)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for s in range(2, 9, 2):
        lines = [{"input": "p", "output": "x" * s, "score": 1.0, "step": s} for _ in range(3)]
        (folder / "rollouts" / f"{s}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    run = read_log(folder, gold_reward=lambda p, r: np.array([len(o) for o in r])).run
    assert run.series("gold")[0].tolist() == [2, 4, 6, 8]
    assert run.series("gold")[1].tolist() == [2, 4, 6, 8]
    assert run.series("proxy")[1].size == 8


@pytest.mark.parametrize(
    ("turn", "least", "code"), [(12, 4, 0), (12, 12, 3), (12, 20, 1), (24, 4, 0), (24, 24, 3)]
)
def test_the_bracket_of_the_turn_is_in_the_report_and_can_be_gated(
    tmp_path: Path, turn: int, least: int, code: int
) -> None:
    """Gold is highest at step 12 of 24, or rises to the end: then the bracket has no end."""
    rng = np.random.default_rng(0)
    rows = [
        {"step": s, "kl": 0.5 * s, "gold": min(s, 2 * turn - s) + 0.3 * rng.standard_normal(),
         "proxy": 1.0 * s} for s in range(1, STEPS + 1)
    ]  # fmt: skip
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "gate.toml").write_text(
        f'schema_version = 1\n[[rule]]\nmetric = "overoptimization.onset_step"\nmin = {least}\n'
    )
    out = tmp_path / "out"
    keys = ["--log-kl", "kl", "--log-proxy", "proxy", "--log-gold", "gold", "--venue", "icml"]
    run = CliRunner().invoke(
        app, ["overopt", str(tmp_path / "log.jsonl"), *keys, "--out", str(out)]
    )
    assert run.exit_code == 0, run.output
    pgf = list(out.glob("*.pgf"))
    assert bool(pgf) != ("no TeX is installed" in " ".join(run.output.split()))
    record = json.loads((out / "report.json").read_text())
    audit = record["audits"]["overoptimization"]
    onsets = [m for m in audit["metrics"] if m["id"] == "overoptimization.onset_step"]
    assert [m["slice"] for m in onsets] == [{}, {"run": tmp_path.name}]
    low, high = onsets[0]["ci"]
    assert (4 < low <= 12 <= high < 20) if turn == 12 else (4 < low <= 24 and high is None)
    gains = {m["id"]: m for m in audit["metrics"] if m["slice"] == {"method": "rl"}}
    assert gains["overoptimization.gold_gain_at_peak"]["reason"] == (
        "the log holds no SDs of the rewards"
    )
    titles = [finding["title"] for finding in record["findings"]]
    assert [f"{tmp_path.name}: the gold reward turns near step" in t for t in titles] == (
        [True] if turn == 12 else []
    )
    gate = CliRunner().invoke(app, ["gate", str(out), "--policy", str(tmp_path / "gate.toml")])
    assert gate.exit_code == code, gate.output
