"""The clinic's population values, by enumeration, lie in the intervals: the benchmark in small.

`benchmarks/population.py` does the same over 100 seeds, with rho beside it.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rmaudit.worlds.clinic.world import ClinicWorld

SEEDS = 20
LEAST = 14  # of 20 intervals of 95 %: fewer have a chance of 3 in 100,000


@pytest.fixture(scope="module")
def population() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "population.py"
    spec = importlib.util.spec_from_file_location("population", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SAMPLES = (100, 256)
    module.FEEDBACK, module.DEPLOYMENT = 1200, 600
    return module


def test_one_context_stands_for_those_alike(population: ModuleType) -> None:
    """Enumeration over one context a family and kind is that over all 2,520."""
    world = ClinicWorld(0)
    weights = population._alike(world)
    assert weights.sum() == pytest.approx(1)
    assert world.expected_reward(distribution=weights) == pytest.approx(world.expected_reward())


def test_performance_gap_holds_the_population(population: ModuleType) -> None:
    held: Counter[str] = Counter()
    for seed in range(SEEDS):
        world, rng = ClinicWorld(seed), np.random.default_rng([seed, 3])
        for name, (estimate, true) in population.gaps(world, rng).items():
            held[name] += estimate.low <= true <= estimate.high
    assert len(held) == 16
    assert min(held.values()) >= LEAST, held
    assert sum(held.values()) / (16 * SEEDS) >= 0.85


def test_kappa_holds_the_population(population: ModuleType) -> None:
    held: Counter[str] = Counter()
    for seed in range(SEEDS // 2):
        world, rng = ClinicWorld(seed), np.random.default_rng([seed, 4])
        for name, (estimate, true) in population.kappas(world, rng, seed).items():
            held[name] += estimate.low <= true <= estimate.high
    # 10 intervals of 95 %: fewer than 6 have a chance of 6 in 100,000.
    assert min(held.values()) >= 6, held
    assert len(held) == 3
