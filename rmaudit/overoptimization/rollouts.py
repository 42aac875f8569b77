"""What the policy of a run wrote, as rewards by step and prompt: means with intervals by prompt.

Given the policies of a run, its completions differ by their prompts and by chance, and both are
independent between prompts: nothing is assumed of how successive steps depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rmaudit.stats.bootstrap import cluster_sums
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.series import Points
from rmaudit.typing import Float, Integers

LEAST_PROMPTS = 20  # of a window; of fewer the joint error of many windows is known too badly
FIRST_STEPS, FIRST_SHARE = 3, 10  # the start: three steps, or a tenth of them
COLUMNS = ("run", "step", "reward", "mean", "low", "high", "prompts", "completions")
"""The columns of steps.csv."""


@dataclass(frozen=True)
class Rollouts:
    """Completions of a run, one row each.

    Attributes
    ----------
    step : ndarray, (n,)
    prompt : ndarray, (n,)
        Codes from 0; the same prompt at another step has the same code.
    values : mapping of str to ndarray, (n,)
        "gold", "proxy" and the components by name; NaN where a completion has no such reward.
    """

    step: Float
    prompt: Integers
    values: Mapping[str, Float]

    def means(self, name: str) -> dict[float, float]:
        """The mean of a reward by step."""
        rows = np.isfinite(self.values[name])
        steps, place = np.unique(self.step[rows], return_inverse=True)
        sums = np.bincount(place, self.values[name][rows], minlength=steps.size)
        counts = np.bincount(place, minlength=steps.size)
        return dict(zip(steps.tolist(), (sums / np.maximum(counts, 1)).tolist(), strict=True))

    def points(self, name: str, edges: Float) -> Points | None:
        """Means over windows of steps with their joint error by prompt.

        None where a window has fewer than `LEAST_PROMPTS` prompts, or `name` is not here.

        Parameters
        ----------
        name
            Of a reward.
        edges
            (p + 1,), of the windows, see `rmaudit.stats.series.window_means`.
        """
        if name not in self.values:
            return None
        inside = (self.step > edges[0]) & (self.step < edges[-1])
        rows = np.flatnonzero(np.isfinite(self.values[name]) & inside)
        window = np.searchsorted(edges, self.step[rows], side="right") - 1
        count = edges.size - 1
        known, prompt = np.unique(self.prompt[rows], return_inverse=True)
        membership = np.zeros((rows.size, count))
        membership[np.arange(rows.size), window] = 1.0
        n = cluster_sums(membership, prompt)  # (prompts, p)
        prompts = (n > 0).sum(axis=0)
        if known.size == 0 or prompts.min() < LEAST_PROMPTS:
            return None
        sums = cluster_sums(membership * self.values[name][rows, None], prompt)
        total = n.sum(axis=0)
        mean = sums.sum(axis=0) / total
        off = (sums - mean * n) / total * np.sqrt(prompts / (prompts - 1))
        freedom = float(prompts.min() - 1)
        return Points(mean, off.T @ off, freedom, rows.size, prompts=int(known.size))

    def start_sd(self, name: str) -> float:
        """Within-prompt SD of a reward over the first steps; NaN where it cannot be known."""
        there = np.isfinite(self.values.get(name, np.full(self.step.size, math.nan)))
        steps = np.unique(self.step[there])
        if steps.size == 0:
            return math.nan
        last = steps[min(max(FIRST_STEPS, steps.size // FIRST_SHARE), steps.size) - 1]
        rows = there & (self.step <= last)
        frame = pd.DataFrame({"s": self.step[rows], "p": self.prompt[rows]})
        group = frame.groupby(["s", "p"]).ngroup().to_numpy()
        values = self.values[name][rows]
        sizes = np.bincount(group)
        deviation = values - (np.bincount(group, values) / sizes)[group]
        freedom = values.size - sizes.size
        square = float(deviation @ deviation)
        if freedom < 1 or square <= 1e-24 * float(values @ values):
            return math.nan
        return math.sqrt(square / freedom)

    def frame(self, run: str, confidence: float = 0.95) -> pd.DataFrame:
        """The rows of steps.csv: every step's mean of every reward, with its interval by prompt."""
        table = []
        for name, values in self.values.items():
            there = np.flatnonzero(np.isfinite(values))
            order = there[np.argsort(self.step[there], kind="stable")]
            steps, starts = np.unique(self.step[order], return_index=True)
            for step, rows in zip(steps, np.split(order, starts[1:]), strict=True):
                codes = np.unique(self.prompt[rows], return_inverse=True)[1]
                mean = cluster_mean(values[rows], codes, confidence=confidence)
                ends = [None if math.isnan(v) else v for v in (mean.low, mean.high)]
                value = float(values[rows].mean())
                table.append([run, step, name, value, *ends, int(codes.max()) + 1, rows.size])
        return pd.DataFrame(table, columns=list(COLUMNS))
