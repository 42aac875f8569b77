"""The curve of runs of RL, from what they logged: KL, proxy and gold reward, step by step.

A log holds means over a batch of fresh samples. Steps are cut into windows; a gold reward that is
logged now and then has points of its own, at its own steps. Where a run's completions are at hand
with their prompts, errors are those of the prompts (`rmaudit.overoptimization.rollouts`); else the
run is one time series with errors of `rmaudit.stats.series`. With five runs or more the runs are
the sample: then the interval is about other seeds too, and not about these runs alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.overoptimization.rollouts import Rollouts
from rmaudit.results import Estimate
from rmaudit.stats.series import Points, noise_of, window_means
from rmaudit.typing import Float

MOST_WINDOWS = 20
LEAST_GOLD = 2  # gold values of a run: a start, and one to compare it with
FEW_GOLD = 30  # values, below which the dependence of evaluations that lie apart is not estimated
RUNS_ALONE = 5  # runs from which on runs are the sample
SAME_GRID = 0.5  # of the proxy's steps: from so many gold values on, one window serves both


@dataclass(frozen=True)
class Run:
    """What one run logged, by step; NaN where a quantity was not logged at a step."""

    step: Float  # (n,), ascending
    kl: Float  # nats per sequence; all NaN of a run that logs none
    proxy: Float
    gold: Float
    components: Mapping[str, Float] = field(default_factory=dict)  # of the proxy
    gold_sd: float = math.nan  # within the first steps, where it is logged
    proxy_sd: float = math.nan
    component_sd: Mapping[str, float] = field(default_factory=dict)
    rollouts: Rollouts | None = None  # rewards of completions, by the names of the series

    def series(self, name: str) -> tuple[Float, Float]:
        """Steps and values of "kl", "proxy", "gold" or a component, without the gaps."""
        values = self.components[name] if name in self.components else getattr(self, name)
        there = np.isfinite(values)
        return self.step[there], values[there]


@dataclass(frozen=True)
class Windows:
    """One quantity of a run over windows of steps."""

    step: Float  # (p,): the mean of the steps
    first: Float  # (p,): the first and the last step of each window
    last: Float
    kl: Float  # (p,): mean KL over the window, nats; NaN where none is logged
    points: Points
    place: NDArray[np.int64]  # (p,): rows of the curve


@dataclass(frozen=True)
class RlCurve:
    """Proxy and gold reward of a run, or of several pooled, over its steps."""

    gold_windows: Windows
    proxy_windows: Windows
    strength: Float  # (n_points,): steps of the points of both
    kl_at: Float  # (n_points,): nats
    gold_sd: float  # 1 where gains are in the reward's own units
    proxy_sd: float
    runs: int
    components: Mapping[str, Windows] = field(default_factory=dict)
    component_sd: Mapping[str, float] = field(default_factory=dict)  # of all, or of none
    kl_start: float = 0.0
    method: Literal["rl"] = "rl"

    @property
    def standard(self) -> bool:
        """Whether gains are in SDs; else in the rewards' own units."""
        return not (self.gold_sd == 1.0 and self.proxy_sd == 1.0)

    @property
    def has_kl(self) -> bool:
        """Whether the runs log a KL; without one gains are known by step alone."""
        return bool(np.isfinite(self.kl_at).all())

    @property
    def usable(self) -> NDArray[np.bool_]:
        """All points."""
        return np.ones(self.strength.size, dtype=np.bool_)

    @property
    def ess(self) -> Float:
        """Effective sample sizes do not apply."""
        return np.full(self.strength.size, math.nan)

    @property
    def sample(self) -> int:
        """Values of the gold reward that the curve was made from."""
        return self.gold_windows.points.n

    def windows(self, which: Literal["proxy", "gold"]) -> Windows:
        """Of one reward."""
        return self.proxy_windows if which == "proxy" else self.gold_windows

    def raw(self, which: Literal["proxy", "gold"]) -> Float:
        """The raw mean at each point of the curve; NaN where the reward was not logged."""
        windows = self.windows(which)
        values = np.full(self.strength.size, math.nan)
        values[windows.place] = windows.points.value
        return values

    def sd(self, which: Literal["proxy", "gold"]) -> float:
        """What gains are divided by."""
        return self.proxy_sd if which == "proxy" else self.gold_sd

    def means(self, which: Literal["proxy", "gold"], confidence: float = 0.95) -> list[Estimate]:
        """The raw mean at each point of the curve; undefined where the reward was not logged."""
        windows = self.windows(which)
        return self._at(windows, np.eye(windows.step.size), 1.0, confidence)

    def gains(self, which: Literal["proxy", "gold"], confidence: float = 0.95) -> list[Estimate]:
        """Gain over the first window, with the start's error in the interval."""
        windows = self.windows(which)
        return self._at(windows, _against_start(windows), 1 / self.sd(which), confidence)

    def changes(
        self, component: str, confidence: float = 0.95, *, in_sds: bool = False
    ) -> list[Estimate]:
        """Change of a component over its first window, in its own units or its SDs."""
        windows, sd = self.components[component], self.component_sd[component] if in_sds else 1.0
        return self._at(windows, _against_start(windows), 1 / sd, confidence)

    def _at(self, windows: Windows, contrast: Float, unit: float, level: float) -> list[Estimate]:
        points = windows.points
        out = [points.undefined("not logged at this step", level) for _ in self.strength]
        reach = points.quantile((1 + level) / 2)
        for k, place in enumerate(windows.place.tolist()):
            value = float(contrast[k] @ points.value) * unit
            error = points.error(contrast[k]) * unit * reach
            out[place] = points.estimate(value, value - error, value + error, level)
        return out


def _against_start(windows: Windows) -> Float:
    """Contrasts of each window with the first."""
    every = np.eye(windows.step.size)
    return np.asarray(every - every[0])


def rl_curve(
    runs: Sequence[Run], *, gold_sd: float | None = None, proxy_sd: float | None = None
) -> RlCurve:
    """Runs as a curve over windows of steps.

    Parameters
    ----------
    runs
        Each with two gold values or more. Windows end at the last step of the shortest run.
    gold_sd, proxy_sd
        SDs of the rewards under the initial policy; by default those that the runs hold. Without
        both, gains are in the rewards' own units.

    Raises
    ------
    ValueError
        If a run has too few gold values.
    """
    for run in runs:
        count = int(np.isfinite(run.gold).sum())
        if count < LEAST_GOLD:
            values = "1 gold value" if count == 1 else f"{count} gold values"
            raise ValueError(
                f"{values} in a run: {LEAST_GOLD} are needed, a start and one to compare with it"
            )
    if gold_sd is None or proxy_sd is None:
        gold_sd, proxy_sd = (
            float(np.mean([getattr(run, name) for run in runs])) for name in ("gold_sd", "proxy_sd")
        )
        if not (math.isfinite(gold_sd) and math.isfinite(proxy_sd)):
            gold_sd = proxy_sd = 1.0
    grids = {name: _edges(runs, name) for name in ("gold", "proxy")}
    golds, proxies = (min(run.series(n)[0].size for run in runs) for n in ("gold", "proxy"))
    if golds >= max(SAME_GRID * proxies, MOST_WINDOWS):
        grids["proxy"] = grids["gold"]
    parts = {name: _windows(runs, name, edges) for name, edges in grids.items()}
    middle = {name: part[0] for name, part in parts.items()}
    steps = np.union1d(middle["gold"], middle["proxy"])
    made = {name: _placed(part, steps) for name, part in parts.items()}
    kl = np.full(steps.size, math.nan)
    for name in ("proxy", "gold"):
        kl[made[name].place] = made[name].kl
    common = {n for run in runs for n in run.components}
    components = {
        n: _placed(_windows(runs, n, grids["proxy"]), steps)
        for n in sorted(common)
        if all(n in run.components and run.series(n)[0].size >= 3 for run in runs)
    }
    return RlCurve(
        made["gold"],
        made["proxy"],
        steps,
        np.maximum(kl, 0.0),
        gold_sd,
        proxy_sd,
        len(runs),
        components,
        _component_sds(runs, components),
        kl_start=float(np.maximum(made["gold"].kl[0], 0.0)),
    )


def _component_sds(runs: Sequence[Run], names: Iterable[str]) -> dict[str, float]:
    """Mean SD of every component; nothing unless each is known: one axis has one unit."""
    sds = {n: float(np.mean([run.component_sd.get(n, math.nan) for run in runs])) for n in names}
    return sds if all(sd > 0 for sd in sds.values()) else {}


def _edges(runs: Sequence[Run], name: str) -> Float:
    """Edges of windows that hold nearly equally many values, from the shortest run's steps."""
    step = min((run.series(name)[0] for run in runs), key=lambda s: s[-1] if s.size else math.inf)
    if step.size == 0:
        raise ValueError(f"a run has no {name}")
    count = min(MOST_WINDOWS, step.size)
    cuts = np.linspace(0, step.size, count + 1).round().astype(int)
    between = (step[cuts[1:-1] - 1] + step[cuts[1:-1]]) / 2
    return np.concatenate([[step[0] - 0.5], between, [step[-1] + 0.5]])


Part = tuple[Float, Float, Float, Float, Points]


def _windows(runs: Sequence[Run], name: str, edges: Float) -> Part:
    """Step, first and last step, KL and points of a quantity over windows, mean over runs."""
    steps, kls, points = [], [], []
    for run in runs:
        step, values = run.series(name)
        inside = (step > edges[0]) & (step < edges[-1])
        step, values = step[inside], values[inside]
        window = np.searchsorted(edges, step, side="right") - 1
        if np.unique(window).size < edges.size - 1:
            raise ValueError(f"the runs' steps of {name} do not fit: draw them one by one")
        logged, kl = run.series("kl")
        steps.append(_window_mean(step, window))
        kls.append(_window_mean(_kl_at(step, edges, logged, kl), window))
        by_prompt = run.rollouts.points(name, edges) if run.rollouts else None
        points.append(by_prompt or _points(values, step, edges, run))
    first = step[np.searchsorted(step, edges[:-1])]
    last = step[np.searchsorted(step, edges[1:]) - 1]
    return np.mean(steps, axis=0), first, last, np.mean(kls, axis=0), _pooled(points)


def _kl_at(step: Float, edges: Float, logged: Float, kl: Float) -> Float:
    """KL at steps where it need not be logged: the mean around a lonely one, else interpolated."""
    if logged.size == 0:
        return np.full(step.size, math.nan)
    if step.size > edges.size - 1:
        return np.interp(step, logged, kl)
    around = [kl[(logged > a) & (logged < b)] for a, b in pairwise(edges)]
    at = np.interp(step, logged, kl)
    # A line through the window's KL, read off at the gold step, has less noise than one step has.
    for k, values in enumerate(around):
        if values.size >= 3:
            x = logged[(logged > edges[k]) & (logged < edges[k + 1])]
            at[k] = np.polynomial.Polynomial.fit(x, values, 1)(step[k])
    return at


def _points(values: Float, step: Float, edges: Float, run: Run) -> Points:
    """Means over windows of one run, with the errors of a time series."""
    gap = float(np.median(np.diff(step))) if step.size > 1 else 1.0
    every = float(np.median(np.diff(run.step))) if run.step.size > 1 else 1.0
    # Noise of neighbouring steps may be dependent; that of evaluations far apart is not.
    phi = 0.0 if values.size < FEW_GOLD and gap >= 4 * every else None
    noise = noise_of(values, phi=phi, turns=True)
    if noise is None:
        count = edges.size - 1
        return Points(values, np.full((count, count), math.nan), 1.0, values.size)
    return window_means(values, step, edges, noise)


def _pooled(points: Sequence[Points]) -> Points:
    """The mean over runs: runs are the sample where there are enough of them."""
    count = len(points)
    if count == 1:
        return points[0]
    values = np.stack([p.value for p in points])
    n = sum(p.n for p in points)
    if count >= RUNS_ALONE:
        covariance = np.cov(values, rowvar=False) / count
        return Points(values.mean(axis=0), np.atleast_2d(covariance), count - 1.0, n, count)
    covariance = np.mean([p.covariance for p in points], axis=0) / count
    return Points(values.mean(axis=0), covariance, sum(p.freedom for p in points), n)


def _placed(part: Part, steps: Float) -> Windows:
    step, first, last, kl, points = part
    return Windows(step, first, last, kl, points, np.searchsorted(steps, step))


def _window_mean(values: Float, window: NDArray[np.int64]) -> Float:
    mean: Float = np.bincount(window, values) / np.bincount(window)
    return mean
