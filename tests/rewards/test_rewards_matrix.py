"""The matrix of docs/models.md: the small version of `benchmarks/model_matrix.py`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[2] / "benchmarks" / "model_matrix.py"


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    spec = importlib.util.spec_from_file_location("model_matrix", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_matrix"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["gpt2", "gemma3", "modernbert-decoder", "bart"])
def test_each_reading_of_an_architecture_is_its_own(matrix, kind):
    row = matrix.row(kind)
    assert list(row) == list(matrix.READINGS)
    for reading, apart in row.items():
        if reading in ("padded left", "shared prompt") and apart == "not used":
            continue
        limit = 0.03 if reading == "bfloat16" else 1e-4
        assert apart <= limit, reading


def test_the_table_has_a_line_per_architecture_and_says_what_is_refused(matrix):
    lines = matrix.table(
        {"a": {"plain": 0.0, "bfloat16": "refused: no"}, "b": {"not built": "x"}}
    ).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| `a` | 0 |")
    assert lines[2].endswith("| refused |")
