"""League tables: letters, ranks and trends from paired runs."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.cli import app
from rmaudit.comparison import letters
from rmaudit.errors import UsageError
from rmaudit.report.document import Report

N = 400


def run(accuracy: float, seed: int, name: str, shift: int = 0) -> Report:
    """An audit of a model that is correct where a shared difficulty and its own noise say so."""
    shared = np.random.default_rng(0).normal(size=N)
    own = np.random.default_rng(seed).normal(size=N)
    hard = shared + 0.3 * own
    correct = hard < np.quantile(hard, accuracy)
    rows = pd.DataFrame(
        {
            "prompt": [f"question {i + shift}" for i in range(N)],
            "chosen": "yes",
            "rejected": "no",
            "chosen_reward": correct.astype(float),
            "rejected_reward": 0.5,
        }
    )
    report = rma.audit("recorded", rma.load(rows), only=["preference"], cache=False)
    model = report.record.model.model_copy(update={"name": name})
    return Report(
        report.record.model_copy(update={"model": model}), None, None, report.influence, ()
    )


@pytest.fixture(scope="module")
def runs() -> list[Report]:
    """Two alike, one far below, one between."""
    return [
        run(0.5, 1, "low"),
        run(0.8, 2, "high"),
        run(0.8, 3, "high too"),
        run(0.65, 4, "middle"),
    ]


def test_runs_that_differ_are_told_apart_and_equal_ones_share_a_letter(runs: list[Report]) -> None:
    (board,) = rma.league(runs).boards
    shown = {s.name: (s.letters, s.rank_low, s.rank_high) for s in board.standings}
    assert shown["high"] == shown["high too"] == ("a", 1, 2)
    assert shown["middle"] == ("b", 3, 3)
    assert shown["low"] == ("c", 4, 4)
    assert [s.value for s in board.standings] == pytest.approx([0.8, 0.8, 0.65, 0.5], abs=1e-9)


def test_a_pair_in_the_league_is_the_pair_in_a_comparison(runs: list[Report]) -> None:
    (board,) = rma.league(runs[:2]).boards
    alone = rma.compare(runs[0], runs[1])["preference.accuracy"]
    assert board.p_adjusted[0, 1] == pytest.approx(alone.p)


@pytest.mark.parametrize("seed", range(20))
def test_letters_say_exactly_what_is_told_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 9))
    apart = np.triu(rng.random((size, size)) < rng.choice([0.2, 0.5, 0.8]), 1)
    apart = apart | apart.T
    shown = letters(apart)
    for i, j in combinations(range(size), 2):
        assert apart[i, j] == (not set(shown[i]) & set(shown[j])), (apart, shown)
    assert all(shown)


def test_letters_are_as_few_as_a_chain_needs() -> None:
    # 0 1 2 3 in a row: neighbours alike, all others apart: ab, bc, ... as in a textbook.
    apart = np.abs(np.subtract.outer(range(4), range(4))) > 1
    assert letters(apart) == ["a", "ab", "bc", "c"]


def test_a_trend_over_steps_by_hand(runs: list[Report]) -> None:
    steps = [run(0.5 + 0.05 * k, 10 + k, f"model-{100 * k}") for k in range(5)]
    (board,) = rma.league(steps).boards
    assert board.trend is not None
    # Least squares through 0.5, 0.55, ..., 0.7 is that line: it rises by 0.2.
    assert board.trend.change == pytest.approx(0.2, abs=1e-9)
    assert board.trend.low > 0.1
    assert {s.step for s in board.standings} == {0, 100, 200, 300, 400}
    flat = [run(0.7, 20 + k, f"model-{100 * k}") for k in range(5)]
    (still,) = rma.league(flat).boards
    assert still.trend is not None
    assert still.trend.low < 0 < still.trend.high
    assert rma.league(runs).boards[0].trend is None, "names that are no steps"


def test_equal_runs_are_rarely_told_apart() -> None:
    told = sum(
        rma.league([run(0.7, 100 * s + k, f"m{k}") for k in range(4)]).boards[0].apart > 1
        for s in range(1, 6)
    )
    # Each of five leagues errs with a chance of at most 0.05: three or more in 0.1 % of runs.
    assert told <= 2


def test_runs_without_a_common_prompt_are_refused(runs: list[Report]) -> None:
    with pytest.raises(UsageError, match="share no prompt"):
        rma.league([runs[0], run(0.6, 5, "elsewhere", shift=N)])


def test_the_command_shows_the_table_and_writes_it(tmp_path: Path, runs: list[Report]) -> None:
    folders = [str(report.save(tmp_path / str(k))) for k, report in enumerate(runs)]
    done = CliRunner().invoke(app, ["compare", *folders, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "high too" in done.output
    assert "400 shared prompts" in done.output
    written = json.loads((tmp_path / "out" / "league.json").read_text())
    assert written["boards"][0]["shared_prompts"] == N
    assert written["boards"][0]["standings"][0]["rank"] == 1
    page = (tmp_path / "out" / "league.html").read_text()
    assert "<svg" in page
    assert "Which models are told apart?" in page
    # Where the table has no head (on a phone) each number still says what it is.
    for label in ("place", "rank", "letters"):
        assert page.count(f'data-label="{label}"') == len(runs)


def test_identical_folders_are_compared_on_all_their_prompts(
    tmp_path: Path, runs: list[Report]
) -> None:
    folder = runs[0].save(tmp_path / "a")
    assert (
        "400 shared prompts"
        in CliRunner().invoke(app, ["compare", str(folder), str(folder)]).output
    )
    (folder / "influence.parquet").unlink()
    without = rma.compare(folder, folder)
    assert without.prompts["shared"] == N
    assert not without.paired
    shown = CliRunner().invoke(app, ["compare", str(folder), str(folder)]).output
    assert "nothing paired" in shown
    assert "0 shared" not in shown.replace("400 shared", "")
