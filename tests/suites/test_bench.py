"""`rma.bench`, the command, and the folder that both write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from published_rows import pair, rmb_pair, styled, write
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.cli import app


def invoke(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, done.output


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    rows = [
        pair(subset, float(i % 3), float(i % 2), i)
        for subset in ("alpacaeval-easy", "hep-go", "donotanswer", "llmbar-natural")
        for i in range(12)
    ]
    return write(tmp_path / "rows.jsonl", rows)


def test_the_command_writes_what_the_python_interface_returns(tmp_path: Path, pairs: Path) -> None:
    code, output = invoke(
        "bench", "rewardbench", "--data", pairs, "--model", "recorded", "--out", tmp_path / "b"
    )
    assert code == 0, output
    written = json.loads((tmp_path / "b" / "bench.json").read_text())
    report = rma.bench("rewardbench", pairs, "recorded")
    assert written["official"] == dict(report.official)
    # i % 3 > i % 2 for i in 2, 5, 8, 11 and, of 0 1 2 0 1 2 against 0 1 0 1 0 1, for 4 and 10.
    assert written["official"]["score"] == pytest.approx(6 / 12)
    assert written["suite"]["name"] == "rewardbench"
    assert report["rewardbench.score"].value == pytest.approx(6 / 12)
    low, high = report["rewardbench.score"].ci
    assert low < 0.5 < high


def test_a_function_scores_the_texts_as_the_blind_rule_does(tmp_path: Path, pairs: Path) -> None:
    report = rma.bench(
        "rewardbench", pairs, lambda pairs: [float(len(o)) for _, o in pairs], cache=False
    )
    assert report.official["score"] == 1
    assert report["rewardbench.blind_longer"].value == 1
    assert report["rewardbench.blind_shorter"].value == 0


def test_a_bench_folder_is_gated_and_compared_like_an_audit(tmp_path: Path, pairs: Path) -> None:
    rma.bench("rewardbench", pairs, "recorded").save(tmp_path / "a")
    (tmp_path / "gate.toml").write_text(
        'schema_version = 1\n[[rule]]\nmetric = "rewardbench.score"\nmin = 0.2\n'
        '[[rule]]\nmetric = "rewardbench.score"\nslice = { part = "section.Chat" }\nmin = 0.9\n'
    )
    result = rma.gate(tmp_path / "a", tmp_path / "gate.toml")
    assert [outcome.verdict for outcome in result.outcomes] == ["pass", "fail"]
    same = rma.compare(tmp_path / "a", tmp_path / "a")
    assert same.prompts["shared"] == 48
    assert not same.worse


@pytest.mark.parametrize(
    ("suite", "row", "said"),
    [
        ("rm-bench", styled("chat", [1, 1, 1], [0, 0]), "row 1: column 'score_rejected' has 2"),
        ("rm-bench", styled("chat", [1, 1, "x"], [0, 0, 0]), "row 1: column 'score_chosen'"),
        ("rmb", styled("chat", [1, 1, 1], [0, 0, 0]), "it looks like rm-bench"),
        ("rmb", rmb_pair("Elsewhere", 1, 0) | {"category_path": "x"}, "category_path 'x' must"),
        ("rmbench", rmb_pair("Helpfulness/A", 1, 0), "did you mean"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, suite: str, row: dict[str, object], said: str
) -> None:
    path = write(tmp_path / "rows.jsonl", [row])
    code, output = invoke("bench", suite, "--data", path, "--model", "recorded", "--out", tmp_path)
    assert code == 2
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_without_recorded_rewards_the_fields_are_named(tmp_path: Path) -> None:
    row = styled("chat", [], [])
    del row["score_chosen"], row["score_rejected"]
    path = write(tmp_path / "rows.jsonl", [row])
    code, output = invoke("bench", "rm-bench", "--data", path, "--model", "recorded")
    assert code == 2
    assert "score_chosen (3), score_rejected (3)" in " ".join(output.split())


def test_every_suite_of_a_folder(tmp_path: Path, pairs: Path) -> None:
    (tmp_path / "all").mkdir()
    pairs.rename(tmp_path / "all" / "a.jsonl")
    write(tmp_path / "all" / "b.json", [styled("chat", [1, 1, 1], [0, 0, 0])])
    write(tmp_path / "all" / "other.jsonl", [{"what": 1}])
    out = tmp_path / "out"
    code, output = invoke(
        *("bench", "all", "--data", tmp_path / "all", "--model", "recorded", "--out", out)
    )
    assert code == 0, output
    assert sorted(path.name for path in out.iterdir()) == ["rewardbench", "rm-bench"]


def test_the_suites_are_listed_with_what_to_download() -> None:
    code, output = invoke("bench", "list")
    assert code == 0
    assert "allenai/reward-bench-2" in output
    assert "chosen_reward, reject_reward" in " ".join(output.split())
