"""The benchmark of intervals counts what it says: by hand, and once end to end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rmaudit.audits.base import metric_specs
from rmaudit.results import Estimate, Metric


@pytest.fixture(scope="module")
def intervals() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "intervals.py"
    spec = importlib.util.spec_from_file_location("intervals_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_coverage_by_hand(intervals: ModuleType) -> None:
    def row(part: int, *counts: int) -> dict[str, object]:
        where = {"group": "g", "prompts": 200, "several": False, "part": part}
        return {**where, "counts": {"a": list(counts)}}

    cells = [row(0, 40, 6, 4), row(1, 9, 0, 1), {"group": "g", "several": False, "truth": {}}]
    assert intervals.coverage(cells) == {"a": {(200, False): (49, 60)}}


def test_cells_count_on_which_side_an_interval_misses(intervals: ModuleType) -> None:
    def group(draw: Any) -> list[Any]:
        low = (0.0, 2.0, 4.0)[draw.seed]  # the value 1.5 is above, is in, is below
        estimate = Estimate(low, low - 1, low + 1, 0.95, "by hand", 1, 1)
        return [(Metric("known", estimate), 1.5), Metric("unknown", estimate)]

    found = intervals.cell(group, 200, False, range(3), {"unknown": 4.5})
    assert found == {"known": [1, 1, 1], "unknown": [1, 2, 0]}


def test_verdict_says_where_chance_may_be_why(intervals: ModuleType) -> None:
    assert intervals.verdict({(200, False): (19, 20)}) == ""
    assert intervals.verdict({(200, False): (9, 10)}) == "short?"
    assert intervals.verdict({(200, False): (850, 1_000)}) == "short"
    assert intervals.verdict({(200, True): (1_000, 1_000)}) == "wide"
    assert intervals.verdict({(50, True): (1, 1_000)}) == ""


def test_every_metric_is_simulated_or_has_no_population_value(intervals: ModuleType) -> None:
    draw = intervals.Draw(120, True, 0, 50)
    measured = [each for group in intervals.GROUPS.values() for each in group(draw)]
    pairs = [each if isinstance(each, tuple) else (each, None) for each in measured]
    simulated = {metric.id for metric, _ in pairs}
    assert simulated.isdisjoint(intervals.NO_POPULATION)
    assert simulated | set(intervals.NO_POPULATION) == set(metric_specs())
    assert all(len(why) > 20 for why in intervals.NO_POPULATION.values())
    defined = {metric.id: metric.estimate for metric, _ in pairs if metric.estimate.defined}
    assert len(simulated - set(defined)) <= 3  # peaks of curves that do not turn
    for metric, truth in pairs:
        if truth is not None and metric.estimate.defined:  # of one set: near, no more
            half = max(metric.estimate.high - metric.estimate.low, 1e-3)
            assert abs(metric.estimate.value - truth) < 2.5 * half, metric.id


def test_a_group_goes_on_where_it_was(
    intervals: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(intervals, "POPULATIONS", {"": (100, 1)})
    monkeypatch.setattr(intervals, "AT_ONCE", 2)
    cells = tmp_path / "cells.jsonl"

    def run(sets: int, *groups: str) -> int:
        given = ["--prompts", "50", "--sets", str(sets), "--cells", str(cells), "--groups"]
        monkeypatch.setattr(sys, "argv", ["intervals.py", *given, *groups])
        intervals.main()
        return len(cells.read_text().splitlines())

    assert run(2, "tails") == 4  # two populations, a cell of each setting
    assert run(2, "tails") == 4
    assert run(4, "tails", "mix") == 12
    told = capsys.readouterr().out
    assert "| `mix.constant_share correct` |" in told
    assert "- `coverage.holes`: a number of families" in told
    assert "Not run: " in told
