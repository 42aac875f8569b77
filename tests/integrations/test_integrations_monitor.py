"""The monitor: false alarms over whole runs by simulation, and planted faults found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.integrations.monitor import RunMonitor

STEPS, BATCH = 150, 16


def run(rng: np.random.Generator, drift: dict[str, float], monitor: RunMonitor) -> RunMonitor:
    """A run whose quantities change linearly by `drift` SDs over its steps, after step 50."""
    level = rng.normal(size=4) * 10  # no unit is known
    for step in range(STEPS):
        part = max(0.0, (step - 50) / (STEPS - 50))
        prompt = rng.normal(size=BATCH) * 0.5
        noise = rng.standard_t(3, size=(3, BATCH))  # heavy tails, and each with its own scale

        def drawn(name: str, k: int, noise: np.ndarray = noise, prompt: np.ndarray = prompt,
                  part: float = part) -> np.ndarray:  # fmt: skip
            return (noise[k] + prompt + drift.get(name, 0.0) * part) * 3 + level[k]

        monitor.update(
            step,
            outside=rng.random(BATCH) < 0.05 + drift.get("outside", 0.0) * part,
            disagreement=np.exp(drawn("disagreement", 0) / 5),
            proxy=drawn("proxy", 1),
            gold=drawn("gold", 2),
        )
    return monitor


def test_false_alarms_over_whole_runs_are_bounded() -> None:
    rng = np.random.default_rng(0)
    repeats, alpha = 120, 0.2
    alarms = sum(bool(run(rng, {}, RunMonitor(alpha=alpha)).alarms) for _ in range(repeats))
    assert alarms / repeats <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repeats)


@pytest.mark.parametrize("drift", [{"proxy": 3.0, "gold": 3.0}, {"gold": -3.0, "proxy": -1.0}])
def test_a_run_that_gains_or_fails_openly_raises_no_gold_alarm(drift: dict[str, float]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(10):
        assert run(rng, drift, RunMonitor(alpha=0.05)).alarms == []


@pytest.mark.parametrize(
    ("name", "drift"),
    [
        ("support", {"outside": 0.6}),
        ("disagreement", {"disagreement": 4.0}),
        ("gold", {"proxy": 3.0, "gold": -3.0}),
    ],
)
def test_planted_faults_are_found(name: str, drift: dict[str, float]) -> None:
    rng = np.random.default_rng(2)
    found = [run(rng, drift, RunMonitor(alpha=0.05)).alarms for _ in range(10)]
    assert all([a.name for a in alarms] == [name] for alarms in found)
    assert all(50 < alarms[0].step < STEPS for alarms in found)


def test_gold_that_rose_before_it_fell() -> None:
    """Back at its first level the gold reward is still lower than it was."""
    rng = np.random.default_rng(3)
    monitor = RunMonitor(alpha=0.05)
    for step in range(300):
        gold = 4 * min(step, 300 - step) / 150  # up to 4 at step 150, down to 0
        monitor.update(step, proxy=rng.normal(size=16) + step / 50, gold=rng.normal(size=16) + gold)
    assert [a.name for a in monitor.alarms] == ["gold"]
    assert 150 < monitor.alarms[0].step < 280


def test_steps_without_values_are_passed_over() -> None:
    monitor = RunMonitor()
    for step in range(30):
        assert monitor.update(step, proxy=[math.nan], gold=[1.0], outside=[]) == []
    assert set(monitor.evidence.values()) == {1.0}
    with pytest.raises(ValueError, match="alpha"):
        RunMonitor(alpha=0)
