"""The check of advisories is honest: what was not looked at fails."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tool() -> Any:
    spec = importlib.util.spec_from_file_location("pip_audit", ROOT / "benchmarks" / "pip_audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_pin_of_the_constraints_is_wanted(tool: Any) -> None:
    text = (ROOT / "constraints.txt").read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert len(tool.pins(text)) == len(lines) > 100


def test_a_pin_that_was_skipped_or_left_out_is_a_fault(tool: Any) -> None:
    wanted = {"a": "1", "b-c": "2", "d": "3", "e": "4"}
    answer = [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "B_c", "version": "2", "vulns": [{"id": "PYSEC-1"}]},
        {"name": "d", "skip_reason": "not on PyPI"},
    ]
    lines = tool.faults(wanted, {"dependencies": answer})
    assert [line.split(":")[0] for line in lines] == [
        *("b-c==2", "d==3 was not looked at", "e==4 was not looked at"),
    ]
    assert tool.faults({"a": "1"}, {"dependencies": answer}) == []


def test_no_answer_is_no_pass(tool: Any) -> None:
    assert tool.main("false", str(ROOT / "constraints.txt")) == 2
    assert tool.main(sys.executable, str(ROOT / "constraints.txt")) == 2
