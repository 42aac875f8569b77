"""Watches a run of RL and raises an alarm that can be believed.

With a gold reward: an alarm when it has fallen below its best so far by more than noise, and the
proxy has not. Successive steps may depend on each other (AR(1)); the test may be looked at after
every step (`rmaudit.stats.falls`). On a fixed set of prompts gold is compared prompt by prompt.

Without one the monitor watches what there is: disagreement, support, length, entropy, groups
without variation. Such an alarm is weaker: it says that the policy has left what it was, not that
it got worse. `RunMonitor.watches` says which of the two it is.

The chance that a run in which nothing falls raises any alarm at any step is at most `alpha`, split
evenly over the inputs that are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtr, zeta

from rmaudit.stats.falls import FallTest
from rmaudit.typing import Float

SUPPORT, DISAGREEMENT, GOLD = "support", "disagreement", "gold"
LENGTH, ENTROPY, FLAT = "length", "entropy", "flat_groups"
MEANING = {
    GOLD: "the gold reward has fallen below its best so far, and the proxy has not",
    SUPPORT: "more samples lie outside the reward model's support than at the start",
    DISAGREEMENT: "the ensemble's disagreement is higher than at the start",
    LENGTH: "responses are longer than at the start",
    ENTROPY: "the policy's entropy is lower than at the start",
    FLAT: "more groups have rewards without variation than at the start",
}
# What counts as a drift, of values as they are given: shares in points, the others relative to the
# start's mean. Every optimised policy moves; these are sizes at which a person should look.
DRIFTS = {SUPPORT: 0.05, FLAT: 0.2, DISAGREEMENT: 0.1, LENGTH: 0.25, ENTROPY: 0.25}
_RELATIVE = (DISAGREEMENT, LENGTH, ENTROPY)
_DOWN = (ENTROPY,)  # a fall is the drift; of the others a rise
SPENDING = 1.3  # the k-th evaluation of fixed prompts may spend k^-1.3 / zeta(1.3) of the risk
START = 8  # steps that a relative drift is measured from


@dataclass(frozen=True)
class Alarm:
    """What was found, and when."""

    name: str
    step: int
    evidence: float  # one over the anytime-valid p-value; at least what was needed
    meaning: str
    component: str = ""  # of the proxy: the one that gained most while gold fell


class RunMonitor:
    """Takes the samples of every step; see the module.

    Parameters
    ----------
    alpha
        Chance of a false alarm over the whole run, in (0, 1).
    tolerance
        A fall of the gold reward by no more than this, in its own unit, is none.
    window, generations
        Without effect since steps enter by their means; taken so that older scripts run.

    Attributes
    ----------
    alarms : list of Alarm
        Raised so far, each name once.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        tolerance: float = 0.0,
        window: int | None = None,
        generations: int | None = None,
    ) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        self.alpha, self.tolerance = alpha, tolerance
        self.alarms: list[Alarm] = []
        self._drifts: dict[str, _Drift] = {}
        self._gold: _Gold | _PairedGold | None = None
        self._components: dict[str, list[tuple[int, float]]] = {}

    @property
    def needed(self) -> float:
        """The evidence that raises an alarm: the inputs there are share the risk."""
        return max(len(self.evidence), 1) / self.alpha

    @property
    def evidence(self) -> dict[str, float]:
        """The present evidence of each alarm that has an input; 1 or less says nothing."""
        found = {name: _evidence(drift.p) for name, drift in self._drifts.items()}
        return found if self._gold is None else {**found, GOLD: _evidence(self._gold.p)}

    @property
    def watches(self) -> str:
        """What an alarm can mean, in words."""
        if self._gold is not None:
            return "the gold reward" + (f", and {', '.join(self._drifts)}" if self._drifts else "")
        named = ", ".join(self._drifts) or "nothing yet"
        return (
            f"{named}; no gold reward: an alarm says that the policy moved, not that it got worse"
        )

    def update(
        self,
        step: int,
        *,
        outside: Any = None,
        disagreement: Any = None,
        proxy: Any = None,
        gold: Any = None,
        paired: bool = False,
        components: Mapping[str, Any] | None = None,
        length: Any = None,
        entropy: Any = None,
        flat_groups: Any = None,
    ) -> list[Alarm]:
        """Take a step's samples; the alarms that it raises.

        Parameters
        ----------
        step
            For the record.
        outside
            1 where a sample is outside the support, else 0, (n,).
        disagreement
            SD among the members, (n,).
        proxy, gold
            Rewards, (n,). Non-finite ones are left out, and a step without a finite one is passed
            over. More samples per step make less noise, and the alarm comes earlier.
        paired
            Whether `gold` holds one value per prompt of a fixed set, in its order: then steps are
            compared prompt by prompt, NaN where a prompt was not evaluated.
        components
            Rewards that the proxy is made of, by name: an alarm names the one that gained most.
        length, entropy, flat_groups
            Response lengths, token entropies, 1 for a group whose rewards do not vary, (n,).
        """
        given = {SUPPORT: outside, DISAGREEMENT: disagreement, LENGTH: length, ENTROPY: entropy,
                 FLAT: flat_groups}  # fmt: skip
        for name, values in given.items():
            if (mean := _mean(values)) is not None:
                self._drifts.setdefault(name, _Drift(name)).update(mean)
        for name, values in (components or {}).items():
            if (mean := _mean(values)) is not None:
                self._components.setdefault(name, []).append((step, mean))
        self._take_gold(step, proxy, gold, paired)
        known = {alarm.name for alarm in self.alarms}
        raised = [
            Alarm(name, step, evidence, MEANING[name], self._mover() if name == GOLD else "")
            for name, evidence in self.evidence.items()
            if evidence >= self.needed and name not in known
        ]
        self.alarms += raised
        return raised

    def _take_gold(self, step: int, proxy: Any, gold: Any, paired: bool) -> None:
        level = _mean(gold)
        if level is None:
            if self._gold is not None and (moved := _mean(proxy)) is not None:
                self._gold.take_proxy(step, moved)
            return
        if self._gold is None:
            self._gold = _PairedGold(self.tolerance) if paired else _Gold(self.tolerance)
        if (moved := _mean(proxy)) is not None:
            self._gold.take_proxy(step, moved)
        values = np.atleast_1d(np.asarray(gold, dtype=np.float64))
        self._gold.update(step, values if paired else np.array([level]))

    def _mover(self) -> str:
        """The component that gained most, in its own noise, since gold was at its best."""
        if self._gold is None:
            return ""
        gains = {}
        for name, seen in self._components.items():
            before = [v for s, v in seen if s <= self._gold.best_until]
            after = [v for s, v in seen if s > self._gold.best_until]
            if len(before) > 1 and len(after) > 1:
                noise = np.std(np.diff([v for _, v in seen])) / math.sqrt(2)
                last = after[-max(len(after) // 2, 1) :]
                base = before[-max(len(before) // 4, 1) :]
                gains[name] = float((np.mean(last) - np.mean(base)) / max(noise, 1e-300))
        return max(gains, key=lambda name: gains[name]) if gains else ""


class _Drift:
    """A quantity that leaves its start by more than its size in `DRIFTS`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._first: list[float] = []
        self._test: FallTest | None = None

    @property
    def p(self) -> float:
        return 1.0 if self._test is None else self._test.fall.p

    def update(self, mean: float) -> None:
        sign = 1.0 if self.name in _DOWN else -1.0
        if self._test is not None:
            self._test.update(sign * mean)
            return
        self._first.append(mean)
        if len(self._first) == START:
            size = DRIFTS[self.name]
            if self.name in _RELATIVE:
                size *= abs(float(np.mean(self._first)))
            self._test = FallTest(from_start=True, tolerance=size)
            for value in self._first:
                self._test.update(sign * value)


class _ProxyFell:
    """Whether the proxy lies clearly lower than it did: then the run has failed, not overdone."""

    def __init__(self) -> None:
        self._proxy: dict[int, float] = {}

    def take_proxy(self, step: int, mean: float) -> None:
        self._proxy[step] = mean

    def proxy_fell(self, best: Sequence[int], now: Sequence[int]) -> bool:
        """Between two ranges of steps, both ends included."""
        parts = [[v for s, v in self._proxy.items() if a <= s <= b] for a, b in (best, now)]
        if min(map(len, parts)) < 2:
            return False
        noise = np.std(np.diff(list(self._proxy.values()))) / math.sqrt(2)
        error = noise * math.sqrt(sum(1 / len(part) for part in parts))
        return bool(np.mean(parts[1]) < np.mean(parts[0]) - 3 * error)


class _Gold(_ProxyFell):
    """Gold of fresh samples: a time series of means."""

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self._test = FallTest(tolerance=tolerance)
        self._steps: list[int] = []
        self.p = 1.0
        self.best_until = 0

    def update(self, step: int, values: Float) -> None:
        self._steps.append(step)
        fall = self._test.update(float(values.mean()))
        if fall.p >= self.p:
            return
        best, now = (
            (self._steps[a], self._steps[b - 1]) for a, b in (fall.best_steps, fall.now_steps)
        )
        if not self.proxy_fell(best, now):
            self.p, self.best_until = fall.p, best[1]


class _PairedGold(_ProxyFell):
    """Gold on a fixed set of prompts: steps are compared prompt by prompt.

    The prompts' noise is independent given the policies, so nothing is assumed of the steps.
    """

    def __init__(self, tolerance: float) -> None:
        super().__init__()
        self.tolerance = tolerance
        self._seen: list[tuple[int, Float]] = []
        self.p = 1.0
        self.best_until = 0

    def update(self, step: int, values: Float) -> None:
        for place, (earlier, before) in enumerate(self._seen):
            if before.size != values.size:
                raise ValueError(
                    f"{values.size} gold values, and {before.size} before: one per prompt"
                )
            change = (values - before)[np.isfinite(values - before)]
            if change.size < 2:
                continue
            error = max(float(np.std(change, ddof=1)) / math.sqrt(change.size), 1e-300)
            reached = (-float(change.mean()) - self.tolerance) / error
            looks = len(self._seen)
            p = float(stdtr(change.size - 1, -reached)) * looks * zeta(SPENDING) * looks**SPENDING
            if p < self.p and not self.proxy_fell(
                (self._seen[max(place - 1, 0)][0], earlier), (self._seen[-1][0] + 1, step)
            ):
                self.p, self.best_until = p, earlier
        self._seen.append((step, values))


def _evidence(p: float) -> float:
    return min(1 / max(p, 1e-100), 1e100)


def _mean(given: Sequence[float] | Float | float | None) -> float | None:
    """Mean of the finite values; None where there is none."""
    if given is None:
        return None
    array = np.atleast_1d(np.asarray(given, dtype=np.float64))
    array = array[np.isfinite(array)]
    return float(array.mean()) if array.size else None
