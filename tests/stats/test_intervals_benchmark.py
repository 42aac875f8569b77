"""The benchmark of intervals counts what it says: by hand, and once end to end."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
    def row(prompts: int, found: list[float] | None) -> dict[str, object]:
        return {"prompts": prompts, "several": False, "seed": 0, "found": {"a": found}}

    population = [row(intervals.POPULATION, [value, 0.0, 0.0]) for value in (1.0, 3.0)]  # mean 2
    sets = [row(200, [0.0, 1.0, low]) for low in (1.5, 2.0, 2.5)] + [row(200, None)]
    assert intervals.coverage([*population, *sets]) == {"a": {(200, False): (2, 3)}}


def test_verdict_says_where_chance_may_be_why(intervals: ModuleType) -> None:
    assert intervals.verdict({(200, False): (19, 20)}) == ""
    assert intervals.verdict({(200, False): (9, 10)}) == "short?"
    assert intervals.verdict({(200, False): (850, 1_000)}) == "short"
    assert intervals.verdict({(200, True): (1_000, 1_000)}) == "wide"
    assert intervals.verdict({(50, True): (1, 1_000)}) == ""


def test_one_set_of_each_kind(intervals: ModuleType) -> None:
    for several in (False, True):
        rows = dict(intervals.rows_of(60, several, 0, intervals.MEASURES))
        assert list(rows) == list(intervals.MEASURES)
        value, low, high = rows["preference"]["found"]["preference.accuracy"]
        assert low < value < high
        assert rows["overoptimization"]["found"]["overoptimization.fit_alpha bon"] is not None
        assert sum(len(row["found"]) for row in rows.values()) > 60


def test_each_audit_goes_on_where_it_was(
    intervals: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intervals, "POPULATION", 100)
    monkeypatch.setattr(intervals, "POPULATIONS", 1)

    def run(sets: int, *audits: str) -> dict[str, int]:
        given = ["--prompts", "50", "--sets", str(sets), "--out", str(tmp_path), "--audits"]
        monkeypatch.setattr(sys, "argv", ["intervals.py", *given, *audits])
        intervals.main()
        return {file.stem: len(file.read_text().splitlines()) for file in tmp_path.glob("*.jsonl")}

    assert run(1, "tails") == {"tails": 4}  # two populations, two sets
    assert run(2, "tails", "teacher") == {"tails": 6, "teacher": 6}
    assert "`teacher.within_prompt_sd`" in (tmp_path / "intervals.md").read_text()
