"""The benchmark's simulation, small: verdicts at the boundary keep their stated error rates."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import binom

REPORTS = 100
# At a true rate of 5 %, more false verdicts than this come once in ten thousand runs.
MOST = int(binom.ppf(1 - 1e-4, REPORTS, 0.05))


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "gate.py"
    spec = importlib.util.spec_from_file_location("benchmark_gate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ten_rules_at_the_boundary_rarely_fail_and_never_all_pass(benchmark: ModuleType) -> None:
    rates = benchmark.gate_rates(REPORTS, np.zeros(10), 0.0, 1)
    assert round(rates["fail"] * REPORTS) <= MOST
    assert rates["pass"] == 0


def test_a_report_with_one_rule_at_the_boundary_rarely_passes(benchmark: ModuleType) -> None:
    good = np.r_[0.0, np.minimum(8 * benchmark.ERRORS[1:], 0.99 - benchmark.THRESHOLDS[1:])]
    rates = benchmark.gate_rates(REPORTS, good, 0.5, 2)
    assert round(rates["pass"] * REPORTS) <= MOST


def test_a_model_worse_by_the_margin_is_rarely_failed(benchmark: ModuleType) -> None:
    margin = 2 * benchmark.ERRORS
    rates = benchmark.baseline_rates(REPORTS, margin, margin, 0.5, 5)
    assert round(rates["fail"] * REPORTS) <= MOST
    assert rates["pass"] == 0


def test_equal_models_are_rarely_called_different(benchmark: ModuleType) -> None:
    rates = benchmark.compare_rates(REPORTS, np.zeros(10), 0.0, 8)
    assert round(rates["any"] * REPORTS) <= MOST


def test_large_differences_are_found(benchmark: ModuleType) -> None:
    few, far = 20, benchmark.one(8.0)
    assert benchmark.gate_rates(few, -far, 0.5, 3)["fail"] == 1
    assert benchmark.compare_rates(few, far, 0.5, 9)["first worse"] == 1
