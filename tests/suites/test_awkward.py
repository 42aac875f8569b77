"""Files that are not quite as published: the official number with a note, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from published_rows import best_of, judged, official, pair, run, styled, write
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError
from rmaudit.suites.base import suites

PATH = "Helpfulness/A"


def solutions(count: int, problem: str = "p") -> list[dict[str, Any]]:
    """Consecutive rows of RewardMATH, the correct solution first."""
    return [
        {
            "problem": problem,
            "problem_id": problem,
            "eval_solution": [f"step {k}"],
            "solution_reference": "human_to_GPT-4" if k == 0 else f"wrong {k}",
            "score": float(-k),
        }
        for k in range(count)
    ]


def graded(**changes: Any) -> dict[str, Any]:
    """A row of ProcessBench."""
    return {
        "id": "gsm8k-0",
        "problem": "q",
        "steps": ["a", "b"],
        "label": 1,
        "prediction": 1,
        **changes,
    }


def checked(**changes: Any) -> dict[str, Any]:
    """A row of PRMBench."""
    return {
        "idx": "1",
        "classification": "circular",
        "modified_question": "q",
        "modified_process": ["a", "b"],
        "error_steps": [2],
        "scores": {"step_level_validity_labels": [True, False]},
        **changes,
    }


def voted(winner: str) -> dict[str, Any]:
    """A vote of PPE."""
    names = {"model_a": "a", "model_b": "b", "winner": winner, "question_id": "h", "prompt": "q"}
    return names | {"response_1": "x", "response_2": "y", "score_1": 1.0, "score_2": 0.0}


@pytest.mark.parametrize(
    ("suite", "rows", "said"),
    [
        ("rewardmath", [*solutions(10), *solutions(4, "q")], "4 consecutive rows of one problem"),
        ("rewardmath", solutions(10)[::2] + solutions(9, "q"), "or --limit cuts a problem"),
        ("processbench", [graded(label=2)], "label 2 is beyond the last of 2 steps"),
        ("processbench", [graded(prediction="1")], "prediction '1' is no index"),
        ("processbench", [graded(prediction=1.5)], "prediction 1.5 is no index"),
        ("processbench", [graded(id="other-1")], "does not start with gsm8k"),
        ("prmbench", [checked(error_steps=[0])], "places that count from 1"),
        (
            "prmbench",
            [checked(scores={"step_level_validity_labels": ["true", "false"]})],
            "labels of steps must be a list of true and false",
        ),
        ("prmbench", [checked(classification="spelling")], "is none of redundency"),
        ("ppe", [voted("model_c")], "winner 'model_c' is neither"),
        ("judgebench", [judged("A=B", ["A>B"])], "label 'A=B' is neither"),
        ("rewardbench2", [best_of("Math", [1, 0, 0, 0], correct=0)], "not a count of at least 1"),
        ("rewardbench", [], "holds no row"),
    ],
)
def test_what_the_rule_has_no_number_for_is_one_line(
    tmp_path: Path, suite: str, rows: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        run(suite, tmp_path, rows)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "rows.json") in str(caught.value)


def test_what_stands_in_a_whole_number_or_a_list_of_one_is_read(tmp_path: Path) -> None:
    rows = [graded(prediction=[1.0]), graded(id="gsm8k-1", label=-1, prediction=-1)]
    assert official("processbench", tmp_path, rows)["gsm8k.f1"] == 1
    assert official("ppe", tmp_path, [voted("model_a"), voted("tie (bothbad)")]) == pytest.approx(
        {"human.accuracy": 1.0, "correctness.accuracy": float("nan")}, nan_ok=True
    )


@pytest.mark.parametrize(
    ("suite", "rows", "score", "said"),
    [
        (
            "rewardbench",
            [pair("alpacaeval-easy", 1, 0), pair("poems", 0, 1), pair("poems", 0, 1, 1)],
            1.0,
            "in no section, and do not count in the score: poems (2)",
        ),
        (
            "judgebench",
            [judged("A>B", ["A>>B", "[[A]]"]), judged("A>B", ["A>B", "A=B"], id_=1)],
            0.5,
            "2 of 4 decisions are neither A>B, B>A nor A=B (first: 'A>>B')",
        ),
        (
            "judgebench",
            [judged("A>B", ["A>B", "B>A"]), judged("B>A", ["A>B", "A>B"])],
            0.5,
            "Rows that repeat the id of another: 1, first p0; each counts",
        ),
    ],
)
def test_what_counts_otherwise_than_one_would_think_is_told(
    tmp_path: Path, suite: str, rows: list[dict[str, Any]], score: float, said: str
) -> None:
    done = run(suite, tmp_path, rows)
    assert done.official[done.headline or ""].value == score
    assert any(said in note for note in done.notes), done.notes


def test_nothing_is_told_of_files_as_published(tmp_path: Path) -> None:
    done = run("judgebench", tmp_path, [judged("A>B", ["A>B", "A=B"]), judged("A>B", None, id_=1)])
    assert not [note for note in done.notes if "repeat" in note or "decisions" in note]


def test_rows_of_each_suite_are_of_no_other(tmp_path: Path) -> None:
    """Three wrong responses do not make a row of RewardBench 2 one of RM-Bench."""
    for name, row in (
        ("rewardbench2", best_of("Math", [1, 0, 0, 0])),
        ("rm-bench", styled("chat", [1, 1, 1], [0, 0, 0])),
    ):
        assert [suite.name for suite in suites() if suite.fits(row)] == [name]
    (tmp_path / "all").mkdir()
    write(tmp_path / "all" / "a.jsonl", [best_of("Math", [1, 0, 0, 0])])
    arguments = ["bench", "all", "--data", str(tmp_path / "all"), "--model", "recorded"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "rewardbench2" / "bench.json").is_file()
