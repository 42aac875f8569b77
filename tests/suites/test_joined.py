"""Published results joined with the texts of the benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from published_rows import best_of, judged, rated, rmb_pair, styled, write
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.cli import app
from rmaudit.errors import DataError, UsageError

Rows = list[dict[str, Any]]
TEXTS = ("prompt", "chosen", "rejected", "question", "response_A", "response_B", "reject")
REWARDS = ("scores", "score_chosen", "score_rejected", "judgments", "chosen_reward")

MADE: dict[str, Callable[[int], dict[str, Any]]] = {
    "rewardbench2": lambda k: best_of("Math", [k % 3, 1, 0, 0], str(k)),
    "rm-bench": lambda k: styled("chat", [k % 3, 1, 1], [0, 2, 0], k),
    "rmb": lambda k: rmb_pair("Helpfulness/A", k % 3, 1, k),
    "judgebench": lambda k: rated("A>B", [k % 3, 1], k),
}


def without(rows: Rows, names: tuple[str, ...]) -> Rows:
    return [{name: value for name, value in row.items() if name not in names} for row in rows]


@pytest.mark.parametrize("suite", list(MADE))
def test_joined_results_are_those_of_rows_that_hold_both(suite: str, tmp_path: Path) -> None:
    both = [MADE[suite](k) for k in range(12)]
    data = write(tmp_path / "data.json", without(both, (*REWARDS, "reject_reward")))
    results = write(tmp_path / "results.json", without(both, (*TEXTS, "bon_best"))[::-1])
    report = rma.bench(suite, data, results=results)
    whole = rma.bench(suite, write(tmp_path / "both.json", both))
    assert dict(report.official) == dict(whole.official)
    ids = {metric.id for metric in whole.metrics()}
    assert {metric.id for metric in report.metrics()} == ids
    assert any(id_.endswith(".blind_longer") for id_ in ids), "the texts are there"
    assert report.record.model.name == "results"
    assert set(report.record.inputs) == {"eval", "results"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:-2], "holds 10 results for 12 rows of"),
        (lambda rows: rows[:-2], "2 without a result, first chat/10"),
        (lambda rows: [*rows, rows[0]], "1 of no row, first chat/0#2 (a repeated id)"),
        (lambda rows: [*rows, rows[0] | {"id": 77}], "1 of no row, first chat/77"),
        (lambda rows: [rows[0] | {"id": 77}, *rows[1:]], "1 without a result, first chat/0"),
        (lambda rows: without(rows, REWARDS), "is no file of RM-Bench"),
    ],
)
def test_results_of_other_rows_are_refused_by_name(
    tmp_path: Path, change: Callable[[Rows], Rows], said: str
) -> None:
    both = [MADE["rm-bench"](k) for k in range(12)]
    data = write(tmp_path / "data.json", without(both, REWARDS))
    results = write(tmp_path / "results.json", change(without(both, TEXTS)))
    with pytest.raises(DataError) as caught:
        rma.bench("rm-bench", data, results=results)
    assert said in str(caught.value)


def test_a_result_with_another_number_of_rewards_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "data.json", without([best_of("Math", [1, 0, 0, 0])], REWARDS))
    results = write(tmp_path / "r.json", without([best_of("Math", [1, 0, 0])], TEXTS))
    with pytest.raises(DataError, match="Math/0: 3 rewards for 4 responses"):
        rma.bench("rewardbench2", data, results=results)


def test_a_row_that_was_not_judged_is_no_row_without_a_result(tmp_path: Path) -> None:
    both = [judged("A>B", ["A>B", "A=B"], id_=k) for k in range(4)]
    both[1]["judgments"] = [None, None]
    data = write(tmp_path / "data.json", without(both, REWARDS))
    report = rma.bench("judgebench", data, results=write(tmp_path / "r.json", both))
    assert report.official["both.overall"] == 0.75
    both[1]["judgments"] = None
    with pytest.raises(DataError, match="p1: no recorded rewards"):
        rma.bench("judgebench", data, results=write(tmp_path / "r.json", both))


def test_the_command_joins_and_a_limit_may_leave_results_over(tmp_path: Path) -> None:
    both = [MADE["judgebench"](k) for k in range(12)]
    data = write(tmp_path / "data.jsonl", without(both, REWARDS))
    results = write(tmp_path / "published.jsonl", both)
    out = tmp_path / "out"
    command = ["bench", "judgebench", "--data", data, "--results", results, "--out", out]
    done = CliRunner().invoke(app, [*map(str, command), "--limit", "6"])
    assert done.exit_code == 0, done.output
    assert "published" in done.output
    assert json.loads((out / "bench.json").read_text())["suite"]["items"] == 6
    done = CliRunner().invoke(app, [*map(str, command), "--model", "python:math:fsum"])
    assert done.exit_code == 2
    with pytest.raises(UsageError, match="results hold rewards already"):
        rma.bench("judgebench", data, lambda pairs: [0.0] * len(pairs), results=results)


def test_decisions_without_texts_or_rewards_have_no_blind_rule(tmp_path: Path) -> None:
    rows: Rows = [
        {"pair_id": str(k), "source": "livebench-math", "question": "q", "label": "A>B",
         "judgments": [{"judgment": {"judge_model": "j"}, "decision": d} for d in ("A>B", "B>A")]}
        for k in range(8)
    ]  # fmt: skip
    report = rma.bench("judgebench", write(tmp_path / "decided.json", rows))
    assert report.official["single.overall"] == 1
    assert not [metric.id for metric in report.metrics() if "blind" in metric.id]
