"""Watches a run of RL and raises an alarm that can be believed.

Three alarms: the policy left the reward model's support, the ensemble's disagreement climbs, the
gold reward falls while the proxy rises. Each compares what the policy does now with what it did in
a window of earlier steps, by a share of samples, so nothing has to be known about the rewards'
distribution or unit. The chance that a run in which nothing changes raises any alarm at any step
is at most `alpha`: it is split evenly over the alarms, and within each a fifth pays for what the
window cannot know and the rest for the test, which holds over all steps at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmaudit.stats.sequential import BettingTest, share_bound
from rmaudit.typing import Float

SUPPORT, DISAGREEMENT, GOLD = "support", "disagreement", "gold"
ALARMS = (SUPPORT, DISAGREEMENT, GOLD)
WINDOW_RISK = 0.2  # of an alarm's level, for what the window cannot know
HIGH = 0.9  # quantile of the window's disagreement that counts as high
MEANING = {
    SUPPORT: "more samples lie outside the reward model's support than at the start",
    DISAGREEMENT: "the ensemble disagrees on more samples than at the start",
    GOLD: "the gold reward is lower than it was, and the proxy is higher",
}


@dataclass(frozen=True)
class Alarm:
    """What was found, and when."""

    name: str  # support, disagreement or gold
    step: int
    evidence: float  # of its e-process; at least what was needed
    meaning: str


class RunMonitor:
    """Takes the samples of every step; see the module.

    Parameters
    ----------
    alpha
        Chance of a false alarm over the whole run, in (0, 1).
    window
        Steps that later ones are compared with: the first ones, and for the gold reward also those
        after 1, 3, 7, 15, ... windows, since it may rise before it falls.
    generations
        Samples of one prompt: they count as one, for they depend on each other.
    tolerance
        Rise of the shares outside the support and of high disagreement that is no fault.

    Attributes
    ----------
    alarms : list of Alarm
        Raised so far, each name once.
    """

    def __init__(
        self,
        *,
        alpha: float = 0.05,
        window: int = 10,
        generations: int = 1,
        tolerance: float = 0.05,
    ) -> None:
        if not 0 < alpha < 1:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        if window < 1 or generations < 1:
            raise ValueError("window and generations must be 1 or more")
        level = alpha / len(ALARMS)
        self.needed = 1 / (level * (1 - WINDOW_RISK))
        self.alarms: list[Alarm] = []
        risk = level * WINDOW_RISK
        self._shares = {
            SUPPORT: _Share(window, generations, risk, tolerance, quantile=None),
            DISAGREEMENT: _Share(window, generations, risk, tolerance, quantile=HIGH),
        }
        self._gold = _FallsWhileRises(window, generations, risk)

    @property
    def evidence(self) -> dict[str, float]:
        """The present evidence of each alarm; 1 says nothing, `needed` raises it."""
        found = {name: share.evidence for name, share in self._shares.items()}
        return {**found, GOLD: self._gold.evidence}

    def update(
        self,
        step: int,
        *,
        outside: Any = None,
        disagreement: Any = None,
        proxy: Any = None,
        gold: Any = None,
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
            Rewards, (n,); both are needed for the alarm about them. Non-finite ones are left out,
            and a step without a finite one is passed over.
        """
        self._shares[SUPPORT].update(_values(outside))
        self._shares[DISAGREEMENT].update(_values(disagreement))
        self._gold.update(_values(proxy), _values(gold))
        known = {alarm.name for alarm in self.alarms}
        raised = [
            Alarm(name, step, evidence, MEANING[name])
            for name, evidence in self.evidence.items()
            if evidence >= self.needed and name not in known
        ]
        self.alarms += raised
        return raised


class _Share:
    """The share of samples beyond a limit, against that of the first window."""

    def __init__(
        self, window: int, generations: int, risk: float, tolerance: float, quantile: float | None
    ) -> None:
        self.window, self.generations, self.risk = window, generations, risk
        self.tolerance, self.quantile = tolerance, quantile
        self._seen: list[Float] = []
        self._limit = 0.5
        self._test: BettingTest | None = None

    @property
    def evidence(self) -> float:
        return 1.0 if self._test is None else self._test.evidence

    def update(self, values: Float) -> None:
        if not values.size:
            return
        if self._test is not None:
            self._test.update(float(np.mean(values > self._limit)))
            return
        self._seen.append(values)
        if len(self._seen) == self.window:
            reference = np.concatenate(self._seen)
            if self.quantile is not None:
                self._limit = float(np.quantile(reference, self.quantile, method="higher"))
            share = float(np.mean(reference > self._limit))
            bound = share_bound(share, reference.size / self.generations, self.risk)
            self._test = BettingTest(min(bound + self.tolerance, 0.99))


class _FallsWhileRises:
    """Gold below and proxy above the medians of an earlier window, for any of several windows.

    A window's evidence is the smaller of the two tests', which is below one of them whichever of
    "gold did not fall" and "proxy did not rise" is true; windows share the capital.
    """

    def __init__(self, window: int, generations: int, risk: float) -> None:
        self.window, self.generations, self.risk = window, generations, risk
        self._steps = 0
        self._open: list[tuple[Float, Float]] = []  # of the window that is being filled
        self._next = 0  # window number at which the next reference starts: 0, 1, 3, 7, ...
        self._tests: list[tuple[float, float, BettingTest, BettingTest]] = []

    @property
    def evidence(self) -> float:
        count = len(self._tests)
        weights = [1 / ((r + 1) * (r + 2)) for r in range(count)]
        own = [min(gold.evidence, proxy.evidence) for *_, gold, proxy in self._tests]
        return sum(w * e for w, e in zip(weights, own, strict=True)) + 1 / (count + 1)

    def update(self, proxy: Float, gold: Float) -> None:
        if not (proxy.size and gold.size):
            return
        for gold_limit, proxy_limit, falls, rises in self._tests:
            falls.update(float(np.mean(gold < gold_limit)))
            rises.update(float(np.mean(proxy > proxy_limit)))
        if self._steps // self.window == self._next:
            self._open.append((proxy, gold))
        self._steps += 1
        if len(self._open) == self.window:
            self._tests.append(self._reference())
            self._open, self._next = [], 2 * self._next + 1

    def _reference(self) -> tuple[float, float, BettingTest, BettingTest]:
        proxies, golds = (np.concatenate(part) for part in zip(*self._open, strict=True))
        # The risk is shared by all windows that may ever come, and by the two rewards.
        r = len(self._tests)
        risk = self.risk / (2 * (r + 1) * (r + 2))
        tests = []
        limits = []
        for values, below in ((golds, True), (proxies, False)):
            limit = float(np.median(values))
            share = float(np.mean(values < limit) if below else np.mean(values > limit))
            bound = share_bound(max(share, 0.5), values.size / self.generations, risk)
            tests.append(BettingTest(min(bound, 0.99)))
            limits.append(limit)
        return limits[0], limits[1], tests[0], tests[1]


def _values(given: Sequence[float] | Float | float | None) -> Float:
    """Finite values, (n,)."""
    if given is None:
        return np.zeros(0)
    array = np.atleast_1d(np.asarray(given, dtype=np.float64))
    return array[np.isfinite(array)]
