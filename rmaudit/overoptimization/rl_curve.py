"""The curve of runs of RL, from what they logged: KL, proxy and gold reward, step by step.

A log holds means over a batch of fresh samples, so neighbouring steps are replicates of nearly the
same policy. Steps are cut into windows of equal length; the j-th step of every window, over all
windows, is one replicate of the whole curve, and replicates take the place of prompts. With five
runs or more, runs do: then the interval is about other seeds too, and not about these runs alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.overoptimization.curves import Curve
from rmaudit.typing import Float

MOST_WINDOWS = 20
LEAST_REPLICATES = 5  # steps a window, where there are as many
LEAST_RECORDS = 8  # of a run: two replicates of four windows
RUNS_ALONE = 5  # runs from which on runs are the replicates


@dataclass(frozen=True)
class Run:
    """What one run logged, in order of its steps; finite throughout."""

    step: Float  # (n_records,)
    kl: Float  # nats a sequence
    proxy: Float
    gold: Float


def rl_curve(runs: Sequence[Run], *, gold_sd: float = 1.0, proxy_sd: float = 1.0) -> Curve:
    """Runs as a curve over windows of steps.

    Parameters
    ----------
    runs
        Each of `LEAST_RECORDS` records or more. Longer runs are cut at the length of the shortest.
    gold_sd, proxy_sd
        The within-prompt SDs of the rewards under the initial policy, which a log does not hold;
        with 1, gains are in the rewards' own units.

    Returns
    -------
    Curve
        Gains are from the first window, and ``kl_start`` is its KL; replicates (or runs, see the
        module) are its rows.

    Raises
    ------
    ValueError
        If a run is too short.
    """
    length = min((run.step.size for run in runs), default=0)
    if length < LEAST_RECORDS:
        raise ValueError(f"{length} records of KL, proxy and gold: {LEAST_RECORDS} are needed")
    windows = min(MOST_WINDOWS, max(4, length // LEAST_REPLICATES))
    width = length // windows

    def cut(values: Float) -> Float:
        """(n_records,) to (width, windows): the last records, so that the end is kept."""
        return values[length - windows * width : length].reshape(windows, width).T

    parts = [[cut(getattr(run, name)) for run in runs] for name in ("step", "kl", "proxy", "gold")]
    if len(runs) >= RUNS_ALONE:
        step, kl, proxy, gold = (np.stack([p.mean(axis=0) for p in part]) for part in parts)
    else:
        step, kl, proxy, gold = (np.concatenate(part) for part in parts)
    rows = len(gold)
    # The start is the mean of all replicates: one batch would add its noise to every gain.
    proxy_start, gold_start = (np.full(rows, float(v[:, 0].mean())) for v in (proxy, gold))
    unit = np.ones((rows, 2))
    return Curve(
        method="rl",
        strength=np.round(step.mean(axis=0)),
        kl=kl,
        proxy=proxy,
        gold=gold,
        proxy_start=proxy_start,
        gold_start=gold_start,
        clusters=np.arange(rows),
        proxy_unit=unit * [proxy_sd**2, 1.0],
        gold_unit=unit * [gold_sd**2, 1.0],
        ess=np.full(windows, math.nan),
        kl_start=max(float(kl[:, 0].mean()), 0.0),
    )
