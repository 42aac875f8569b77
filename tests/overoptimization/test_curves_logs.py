"""Logs of other trainers: what is read as what, and what is said of a log that is not whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rmaudit.errors import DataError
from rmaudit.overoptimization import from_logs
from rmaudit.overoptimization.logs import read_log
from rmaudit.overoptimization.rl_curve import Run, rl_curve
from rmaudit.overoptimization.rl_findings import rl_overoptimization


def lines(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def test_trainer_state_of_trl_with_a_kl_of_tokens(tmp_path: Path) -> None:
    history = [
        {
            "step": s,
            "kl": 0.01 * s,
            "completions/mean_length": 20.0,
            "reward": 0.9 * s,
            "rewards/model/mean": 1.0 * s,
            "rewards/gold/mean": 2.0 * s,
            "rewards/gold/std": 9.0,
        }
        for s in range(1, 5)
    ]
    folder = tmp_path / "my-run" / "checkpoint-4"
    folder.mkdir(parents=True)
    state = {"log_history": [*history, {"step": 4, "train_runtime": 3.0}], "max_steps": 4}
    (folder / "trainer_state.json").write_text(json.dumps(state))
    log = read_log(tmp_path / "my-run")
    assert log.keys == {
        "step": "step",
        "kl": "kl",
        "proxy": "rewards/model/mean",
        "gold": "rewards/gold/mean",
    }
    assert log.run.kl.tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert log.run.proxy.tolist() == [1, 2, 3, 4]
    assert log.run.gold.tolist() == [2, 4, 6, 8]
    assert log.notes == (
        "KL is kl per token times completions/mean_length",
        "SD of the gold: 9, the mean of rewards/gold/std over the first steps",
    )
    assert log.name == "my-run"


def test_jsonl_of_openrlhf(tmp_path: Path) -> None:
    records = [
        {"global_step": s, "kl": 0.1, "response_length": 30, "reward": s, "gold_reward": -s}
        for s in range(3)
    ]
    log = read_log(lines(tmp_path / "openrlhf.jsonl", records))
    assert log.run.kl.tolist() == pytest.approx([3, 3, 3])
    assert (log.run.proxy.tolist(), log.run.gold.tolist()) == ([0, 1, 2], [0, -1, -2])


def test_verl_file_and_console(tmp_path: Path) -> None:
    data = {
        "critic/score/mean": 0.5,
        "actor/reward_kl_penalty": 0.02,
        "response_length/mean": 100.0,
        "val/gold/mean": 0.25,
    }
    log = read_log(lines(tmp_path / "metrics.jsonl", [{"step": 1, "data": data}]))
    console = tmp_path / "run.txt"
    pairs = " - ".join(f"{k}:{v}" for k, v in data.items())
    console.write_text(f"(TaskRunner pid=1) step:1 - {pairs} - x:nan\nsome words\n")
    printed = read_log(console)
    for one in (log, printed):
        assert one.run.kl.tolist() == pytest.approx([2.0])
        assert (one.run.proxy.tolist(), one.run.gold.tolist()) == ([0.5], [0.25])


def test_own_log_and_keys_of_the_users_choice(tmp_path: Path) -> None:
    record = {"step": 0, "kl_k1": 0.5, "kl_k3": 0.6, "proxy": 1.0, "gold": 2.0, "other": 3.0}
    path = lines(tmp_path / "ppo.jsonl", [record])
    assert read_log(path).run.kl.tolist() == [0.5]
    assert read_log(path, kl="kl_k3", gold="other", name="x").run.gold.tolist() == [3]
    with pytest.raises(DataError, match="no key 'nowhere' in the log; name its key with --log-kl"):
        read_log(path, kl="nowhere")


def test_nan_and_a_last_line_that_is_cut_off(tmp_path: Path) -> None:
    rows = [{"step": s, "kl_k1": s / 10, "proxy": s / 2, "gold": 1.0} for s in range(6)]
    rows[2]["gold"] = float("nan")
    del rows[3]["kl_k1"]
    path = lines(tmp_path / "run.jsonl", rows)
    path.write_text(path.read_text() + '{"step": 6, "kl_k1": 0.')
    log = read_log(path)
    assert log.run.step.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.isnan(log.run.gold).tolist() == [False, False, True, False, False, False]
    assert log.run.series("kl")[0].tolist() == [0, 1, 2, 4, 5]
    assert log.notes == (
        "the last line is cut off: read up to there",
        "gold: 1 of 6 values are no finite number: left out",
    )


def test_what_a_log_cannot_say(tmp_path: Path) -> None:
    rows = [{"step": s, "kl_k1": s / 10, "proxy": 1.0, "gold": float("nan")} for s in range(9)]
    with pytest.raises(DataError, match=r"no record has finite gold \(gold\);"):
        read_log(lines(tmp_path / "gold.jsonl", rows))
    same = lines(tmp_path / "same.jsonl", [{**row, "gold": 2.0} for row in rows])
    assert read_log(same).notes == ("the proxy (proxy) never changes: nothing was optimised",)
    result = from_logs([same], resamples=100)
    reason = result.studies[0].found.safe_kl.undefined_reason
    assert reason
    assert f"same: safe KL {reason}" in result.notes


def test_texts_in_a_log_may_hold_any_line_end(tmp_path: Path) -> None:
    rows = [{"step": s, "kl_k1": s / 10, "proxy": s / 2, "gold": 1.0} for s in range(3)]
    texts = [json.dumps({**r, "text": "a\u2028b\x85c"}, ensure_ascii=False) for r in rows]
    path = tmp_path / "run.jsonl"
    path.write_text("\r\n".join(texts) + "\r\n", encoding="utf-8", newline="")
    log = read_log(path)
    assert log.run.step.tolist() == [0, 1, 2]
    assert log.notes == ()


def test_a_resumed_run_writes_steps_again(tmp_path: Path) -> None:
    rows = [{"step": s, "kl_k1": 0.1, "proxy": p, "gold": 1.0} for s, p in ((1, 1), (2, 2), (2, 5))]
    log = read_log(lines(tmp_path / "run.jsonl", rows))
    assert log.run.proxy.tolist() == [1, 5]
    assert log.notes == ("1 steps were written twice: the last record counts",)


def test_what_is_no_log_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such log"):
        read_log(tmp_path / "nothing.jsonl")
    with pytest.raises(DataError, match=r"holds no trainer_state\.json"):
        read_log(tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="no record"):
        read_log(empty)
    tokens = lines(tmp_path / "t.jsonl", [{"step": 1, "kl": 0.1, "reward": 1, "gold": 1}])
    with pytest.raises(DataError, match="mean over tokens"):
        read_log(tokens)
    nans = [{"step": 1, "kl_k1": float("nan"), "proxy": 1, "gold": 1}]
    with pytest.raises(DataError, match="no record has finite"):
        read_log(lines(tmp_path / "n.jsonl", nans))
    with pytest.raises(DataError, match="no gold in the log; name its key with --log-gold"):
        read_log(lines(tmp_path / "g.jsonl", [{"step": 1, "kl_k1": 1, "proxy": 1}]))


def planted(seed: int, steps: int = 200) -> Run:
    rng = np.random.default_rng(seed)
    d = np.linspace(0.2, 4, steps)
    noise = rng.normal(size=(2, steps)) * 0.05
    gold = d * (0.6 - 0.35 * np.log(d)) + noise[0]
    return Run(np.arange(steps) * 1.0, d**2, d + noise[1], gold)


@pytest.mark.parametrize("runs", [1, 6])
def test_a_planted_run_turns_where_it_should(runs: int) -> None:
    curve = rl_curve([planted(i) for i in range(runs)])
    assert curve.runs == runs
    found = rl_overoptimization(curve, np.random.default_rng(0))
    top = np.exp(0.6 / 0.35 - 1) ** 2
    assert found.best_kl.value == pytest.approx(top, abs=2.5)
    assert found.best_kl.low <= top <= found.best_kl.high
    turn = 199 * (np.sqrt(top) - 0.2) / 3.8  # the step whose d is that of the top
    assert found.onset_step is not None
    assert found.onset_step.low <= turn <= found.onset_step.high
    fit = found.fit("rl")
    assert fit.peak_kl.low <= top <= fit.peak_kl.high
    assert found.safe_kl.value < found.measured_kl
    assert found.loss_after_peak.low > 0


def test_a_run_that_is_too_short_is_said() -> None:
    with pytest.raises(ValueError, match="1 gold value in a run: 2 are needed"):
        rl_curve([planted(0, steps=1)])


def test_a_log_nested_too_deeply_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"a":' * 100_000)
    with pytest.raises(DataError, match="no record in it"):
        read_log(path)


def test_a_number_of_four_hundred_digits_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    records = [
        {"step": i, "kl_k1": i, "proxy": i, "gold": 10**400 if i == 2 else i} for i in range(5)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    log = read_log(path)
    assert np.isnan(log.run.gold).tolist() == [False, False, True, False, False]
    assert log.notes == ("gold: 1 of 5 values are no finite number: left out",)


def test_a_step_that_no_computer_counts_to_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    records = [{"step": s, "kl_k1": 1.0, "proxy": 1.0, "gold": 1.0} for s in (0, 1e300, 2)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    log = read_log(path)
    assert log.run.step.tolist() == [0, 2]
    assert "1 records have no finite step: left out" in log.notes
