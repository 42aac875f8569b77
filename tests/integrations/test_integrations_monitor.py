"""The monitor: false alarms over whole runs by simulation, and planted falls found."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rmaudit.integrations.monitor import RunMonitor
from rmaudit.stats.falls import BLOCK, FallTest

STEPS = 150


def ar1(rng: np.random.Generator, n: int, phi: float) -> np.ndarray:
    """Stationary AR(1) noise of variance 1."""
    out = np.empty(n)
    out[0] = rng.standard_normal()
    for t, shock in enumerate(rng.standard_normal(n - 1) * math.sqrt(1 - phi**2), 1):
        out[t] = phi * out[t - 1] + shock
    return out


def rises_then_falls() -> np.ndarray:
    u = np.arange(STEPS) / STEPS
    return 1 - np.exp(-6 * u) - 2.5 * np.maximum(u - 0.4, 0)


def first_alarm(gold: np.ndarray, noise: np.ndarray, alpha: float = 0.05) -> int | None:
    test = FallTest()
    for step, value in enumerate(gold + noise):
        if test.update(float(value)).p <= alpha:
            return step
    return None


@pytest.mark.parametrize("phi", [0.0, 0.8])
def test_false_alarms_over_whole_runs_are_bounded(phi: float) -> None:
    rng = np.random.default_rng(0)
    alpha, repeats = 0.2, 60
    alarms = sum(
        first_alarm(np.zeros(STEPS), ar1(rng, STEPS, phi), alpha) is not None
        for _ in range(repeats)
    )
    assert alarms / repeats <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / repeats)


def test_a_rise_is_no_fall_whatever_its_noise() -> None:
    rng = np.random.default_rng(1)
    rising = 1 - np.exp(-4 * np.arange(STEPS) / STEPS)
    for phi in (0.0, 0.8):
        found = [first_alarm(rising, 0.1 * ar1(rng, STEPS, phi)) for _ in range(20)]
        assert found == [None] * 20


def test_gold_that_rises_and_then_falls_is_found_early_and_earlier_with_more_samples() -> None:
    """Half of the gain is lost at step 94: 1 - exp(-6 u) is flat there, and 2.5 (u - 0.4) is 0.57
    of which the rise since step 60 gives back a tenth."""
    steps = []
    for samples in (64, 512):
        found = []
        for seed in range(10):
            rng = np.random.default_rng([seed, samples])
            monitor = RunMonitor()
            for t, gold in enumerate(rises_then_falls()):
                z = rng.standard_normal(samples)
                level = 3 * (1 - math.exp(-3 * t / STEPS))
                monitor.update(t, proxy=level + z, gold=gold + z)
            assert [a.name for a in monitor.alarms] == ["gold"]
            found.append(monitor.alarms[0].step)
        assert min(found) > 60
        steps.append(float(np.median(found)))
    assert steps[0] <= 100
    assert steps[1] < min(steps[0], 94)


def test_a_saturated_proxy_hides_nothing_and_a_run_that_fails_openly_is_no_such_alarm() -> None:
    rng = np.random.default_rng(3)
    for proxy, expected in ((0.0, ["gold"]), (-1.0, [])):
        monitor = RunMonitor()
        for t in range(STEPS):
            part = max(0.0, (t - 60) / 30)
            gold = -part + 0.1 * rng.standard_normal(8)
            monitor.update(t, proxy=5 + proxy * part + 0.1 * rng.standard_normal(8), gold=gold)
        assert [a.name for a in monitor.alarms] == expected


def test_a_fixed_set_of_prompts_needs_few_evaluations() -> None:
    rng = np.random.default_rng(4)
    prompts = 3 * rng.standard_normal(200)  # what makes prompts differ is not noise of the change
    falls, still = RunMonitor(), RunMonitor()
    for k, gold in enumerate([0.0, 0.5, 0.7, 0.4, 0.1]):
        falls.update(50 * k, gold=prompts + gold + 0.5 * rng.standard_normal(200), paired=True)
        still.update(50 * k, gold=prompts + 0.5 * rng.standard_normal(200), paired=True)
    assert [(a.name, a.step) for a in falls.alarms] == [("gold", 150)]
    assert still.alarms == []
    with pytest.raises(ValueError, match="3 gold values, and 200 before"):
        still.update(300, gold=[1.0, 2.0, 3.0], paired=True)


def test_an_alarm_names_the_component_that_gained() -> None:
    rng = np.random.default_rng(5)
    monitor = RunMonitor()
    for t, gold in enumerate(rises_then_falls()):
        parts = {"correct": 0.2 * rng.standard_normal(32), "format": t / 50 + rng.random(32)}
        proxy = sum(parts.values())
        monitor.update(t, proxy=proxy, gold=gold + 0.3 * rng.standard_normal(32), components=parts)
    assert [(a.name, a.component) for a in monitor.alarms] == [("gold", "format")]


@pytest.mark.parametrize(
    ("name", "drift"),
    [("outside", 0.6), ("disagreement", 2.0), ("length", 200.0), ("entropy", -1.5),
     ("flat_groups", 0.6)],
)  # fmt: skip
def test_without_gold_drifts_are_watched_and_called_weaker(name: str, drift: float) -> None:
    start = {"outside": 0.05, "disagreement": 1.0, "length": 100.0, "entropy": 2.0,
             "flat_groups": 0.1}[name]  # fmt: skip
    rng = np.random.default_rng(6)
    moving, still = RunMonitor(), RunMonitor()
    for t in range(STEPS):
        noise = 0.1 * start * rng.standard_normal(32)
        moving.update(t, **{name: start + drift * max(0, t - 50) / 100 + noise})
        still.update(t, **{name: start + 0.1 * start * rng.standard_normal(32)})
    assert len(moving.alarms) == 1
    assert moving.alarms[0].step > 50
    assert still.alarms == []
    assert "not that it got worse" in moving.watches


def test_the_inputs_there_are_share_the_risk() -> None:
    monitor = RunMonitor(alpha=0.05)
    monitor.update(0, gold=[1.0], proxy=[1.0])
    assert monitor.needed == pytest.approx(20)
    monitor.update(1, gold=[1.0], disagreement=[1.0])
    assert monitor.needed == pytest.approx(40)


def test_steps_without_values_are_passed_over() -> None:
    monitor = RunMonitor()
    for step in range(30):
        assert monitor.update(step, proxy=[math.nan], gold=[], outside=[]) == []
    assert monitor.evidence == {}
    with pytest.raises(ValueError, match="alpha"):
        RunMonitor(alpha=0)


def test_the_windows_of_an_alarm_lie_where_gold_was_high_and_low() -> None:
    test = FallTest()
    values = np.concatenate([np.full(60, 1.0), np.zeros(60)])
    noise = np.random.default_rng(7).standard_normal(values.size) * 0.01
    for value in values + noise:
        test.update(float(value))
    assert test.fall.best_steps[1] <= 60 <= test.fall.now_steps[0]
    assert test.fall.best == pytest.approx(1, abs=0.02)
    assert test.fall.now == pytest.approx(0, abs=0.02)
    assert test.fall.now_steps[1] - test.fall.now_steps[0] >= BLOCK
