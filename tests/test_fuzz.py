"""Mutants of valid inputs: no traceback, no hang, rows add up. The small `benchmarks/fuzz.py`."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from rmaudit.data.readers import Intake

FOLDER = Path(__file__).parents[1] / "benchmarks"
SEED = 2026
PARTS, MUTANTS = 4, 75  # the benchmark does thousands

if sys.platform == "win32":
    pytest.skip("the time limit needs signals", allow_module_level=True)


@pytest.fixture(scope="module")
def benchmark() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)  # for its helpers
        spec = importlib.util.spec_from_file_location("benchmark_fuzz", FOLDER / "fuzz.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, module)  # its dataclass asks for its module
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("part", range(PARTS))
def test_mutants_are_accepted_or_refused_in_one_line(
    benchmark: ModuleType, part: int, tmp_path: Path
) -> None:
    outcome = benchmark.fuzz(MUTANTS, SEED, start=part * MUTANTS, keep=tmp_path)
    assert outcome.broken == []
    assert outcome.counts.total() == MUTANTS
    ways = {way for _, way in outcome.counts}
    assert ways == {"accepted", "some rows set aside", "refused"}  # it does all of its work


def failing(*_: object) -> list[object]:
    raise KeyError("planted")


def endless(*_: object) -> list[object]:
    while True:
        pass


def losing(intake: Any, rows: list[tuple[int, object]]) -> list[object]:
    """Checks rows, and passes over the first without a word."""
    checked = [intake._check(number, value) for number, value in list(rows)[1:]]
    intake._used += len(checked)
    return [row for made in checked for row in made]


@pytest.mark.parametrize(
    ("harm", "said"),
    [(failing, "KeyError"), (endless, "Hang"), (losing, "not so: read = used + set aside")],
)
def test_the_fuzzer_sees_what_is_broken(
    benchmark: ModuleType,
    harm: Any,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark, "SECONDS", 0.2)
    monkeypatch.setattr(Intake, "_checked", harm)
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}] * 3
    checked = sys.modules["fuzzing.targets"].checked
    target = (1.0, lambda folder, rng: checked(rows, None, 3, rng))
    monkeypatch.setitem(benchmark.TARGETS, "data", target)
    monkeypatch.chdir(tmp_path)
    outcome = benchmark.Outcome()
    benchmark.run_one(0, 0, "data", outcome, None)
    assert len(outcome.broken) == 1
    assert said in outcome.broken[0]["error"]
