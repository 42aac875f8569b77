"""Curves of optimisation: proxy and gold reward against KL, prompt by prompt.

A curve starts at the policy that was sampled (KL 0) and goes on to stronger optimisation: larger n
for best of n, smaller beta for the tilted policy. Runs of RL: `rmaudit.overoptimization.rl_curve`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.results import Estimate
from rmaudit.stats.best_of_n import (
    best_of_n_kl,
    best_of_n_mean,
    best_of_poisson_kl,
    best_of_poisson_mean,
    n_grid,
    poisson_beyond,
)
from rmaudit.stats.intervals import cluster_mean, count_codes
from rmaudit.stats.prediction_powered import prediction_powered_values
from rmaudit.stats.tilting import (
    effective_size,
    tilted_kl_jackknife,
    tilted_mean,
    tilted_weights,
)
from rmaudit.typing import Float, Integers

Method = Literal["bon", "tilted", "poisson"]
MOST_BEYOND = 0.01  # share of a best-of-Poisson mixture that may need more samples than there are
LEAST_GOLD = 30  # prompts with gold, under which a judge's weight on them cannot be told
EFFECTIVE_SHARE, LEAST_EFFECTIVE, ENOUGH_EFFECTIVE = 0.5, 10.0, 20.0
"""Median effective sample size of a tilted point that a fit may use: half of the samples, but no
fewer than ten and no more than twenty. Beyond, what no sample shows biases the mean by a standard
error and more where gold turns (``benchmarks/estimator_coverage.py``)."""
BETAS_PER_OCTAVE = 2
BETA_OCTAVES = (4, -4)  # from 16 proxy SDs a nat, weak, to a sixteenth, strong


@dataclass(frozen=True)
class Pool:
    """Samples of a policy with both rewards, (n_prompts, size); see `Pool.of`."""

    proxy: Float
    gold: Float  # NaN throughout on prompts that only the judge has seen
    clusters: Integers
    set_aside: Mapping[str, int] = field(default_factory=dict)  # prompts, by reason
    judge: Float | None = None  # a cheap stand-in of the gold reward on every prompt, any scale
    judge_aside: str = ""  # why one that was given is not used

    @classmethod
    def of(cls, proxy: Float, gold: Float, clusters: Integers, judge: Float | None = None) -> Pool:
        """Prompts that have enough samples with both rewards finite; the others are counted.

        The size of the pools is the one that keeps the most samples: larger pools keep their first
        samples, prompts with smaller pools are set aside, so that every point of a curve is about
        the same prompts.

        Parameters
        ----------
        proxy, gold
            (n_prompts, at most N each), NaN where there is no sample or no reward.
        clusters
            Prompt codes, (n_prompts,).
        judge
            As `gold`, where a judge has seen prompts without gold: they are kept, and count by
            what the judge is worth on those with gold (see `rmaudit.stats.prediction_powered`).
            Left aside under `LEAST_GOLD` prompts with gold, or where all prompts have it.
        """
        there, aside = np.isfinite(proxy) & np.isfinite(gold), ""
        if judge is not None:
            carried = _with_judge(there, np.isfinite(proxy) & np.isfinite(judge), clusters)
            if isinstance(carried, str):
                judge, aside = None, carried
            else:
                there = carried
        counts = there.sum(axis=1)
        size = _common_size(counts)
        kept = counts >= max(size, 2)
        reasons = {
            "no sample has both rewards": int(np.sum(counts == 0)),
            "one sample has both rewards": int(np.sum(counts == 1)),
            f"fewer samples with both rewards than the pool of {size}": int(
                np.sum((counts > 1) & ~kept)
            ),
        }
        # Sorting by "is missing" is stable: what is there moves to the front, in its order.
        order = np.argsort(~there[kept], axis=1, kind="stable")[:, :size]
        return cls(
            np.take_along_axis(proxy[kept], order, axis=1),
            np.take_along_axis(gold[kept], order, axis=1),
            np.unique(clusters[kept], return_inverse=True)[1].astype(np.int64),
            {reason: count for reason, count in reasons.items() if count},
            None if judge is None else np.take_along_axis(judge[kept], order, axis=1),
            aside,
        )

    @property
    def labelled(self) -> int:
        """Prompts with gold."""
        return count_codes(self.clusters[np.isfinite(self.gold).all(axis=1)])

    @property
    def size(self) -> int:
        """Samples per prompt."""
        return int(self.proxy.shape[1])

    def lacks(self) -> str | None:
        """Why no curve can be drawn, in words; None if one can."""
        if count_codes(self.clusters) < 2:
            return "fewer than two prompts have two samples with both rewards"
        for values, name in ((self.gold, "gold"), (self.proxy, "proxy")):
            if not _spread(values) > 0:
                return f"the {name} reward is the same for all samples of a prompt"
        return None


@dataclass(frozen=True)
class Curve:
    """Proxy and gold reward under stronger and stronger optimisation, on each prompt."""

    method: Method
    strength: Float  # (n_points,): n, beta or step
    kl: Float  # (n_prompts, n_points), nats
    proxy: Float  # (n_prompts, n_points), raw
    gold: Float
    proxy_start: Float  # (n_prompts,): under the policy that was sampled
    gold_start: Float
    clusters: Integers  # (n_prompts,), codes from 0 without gaps
    proxy_unit: Float  # (n_prompts, 2): squared deviations and degrees of freedom
    gold_unit: Float
    ess: Float  # (n_points,): median effective sample size; NaN where it does not apply
    standardized: bool = False  # strength is in SDs of the proxy: it moves with their estimate
    size: int = 0  # samples per prompt; 0 of an exact curve

    @property
    def kl_at(self) -> Float:
        """Mean KL at each point, (n_points,), nats."""
        return np.asarray(self.kl.mean(axis=0))

    @property
    def sample(self) -> int:
        """Prompts."""
        return len(self.gold)

    @property
    def standard(self) -> bool:
        """Whether gains are in SDs: always, for samples hold them."""
        return True

    def raw(self, which: Literal["proxy", "gold"]) -> Float:
        """The raw mean at each point, (n_points,)."""
        return np.asarray((self.proxy if which == "proxy" else self.gold).mean(axis=0))

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Points that a fit may use, (n_points,): all but those of too few effective samples."""
        return ~(self.ess < least_effective(self.size))

    def sd(self, which: Literal["proxy", "gold"]) -> float:
        """Pooled within-prompt SD of a reward, in its own unit."""
        square, freedom = (self.proxy_unit if which == "proxy" else self.gold_unit).sum(axis=0)
        return math.sqrt(square / freedom) if freedom > 0 else math.nan

    def means(self, which: Literal["proxy", "gold"], confidence: float = 0.95) -> list[Estimate]:
        """The raw mean at each point, with intervals clustered by prompt."""
        values = self.proxy if which == "proxy" else self.gold
        return [cluster_mean(v, self.clusters, confidence=confidence) for v in values.T]

    def gains(self, which: Literal["proxy", "gold"], confidence: float = 0.95) -> list[Estimate]:
        """Gain over the policy that was sampled, in SDs of the reward, at each point.

        Paired by prompt; the interval holds the error of the SD too, which moves with the gain.
        """
        values = self.proxy if which == "proxy" else self.gold
        start = self.proxy_start if which == "proxy" else self.gold_start
        square, freedom = (self.proxy_unit if which == "proxy" else self.gold_unit).T
        gain = (values - start[:, None]) / self.sd(which)
        # The derivative of 1 / SD, spread over the prompts whose deviations it is made from: it
        # adds up to zero, so the mean stays what it is.
        off = (square / self.sd(which) ** 2 - freedom) / (2 * freedom.mean())
        gain -= off[:, None] * gain.mean(axis=0)
        return [cluster_mean(v, self.clusters, confidence=confidence) for v in gain.T]


def least_effective(size: int) -> float:
    """The median effective sample size that a tilted point needs in pools of `size` samples."""
    return min(max(EFFECTIVE_SHARE * size, LEAST_EFFECTIVE), ENOUGH_EFFECTIVE)


def best_of_n_curve(pool: Pool, ns: Sequence[int] | None = None) -> Curve:
    """Best of n for each n, exact over the pool; KL is the bound of `best_of_n_kl`.

    Parameters
    ----------
    pool
        Samples; ensembles are aggregated before: what selects is ``pool.proxy``.
    ns
        Each from 1 to ``pool.size``; `n_grid` by default.

    Raises
    ------
    ValueError
        If an n is above the pool.
    """
    grid = n_grid(pool.size) if ns is None else np.array(sorted(set(ns)), dtype=np.int64)
    if grid.size == 0 or grid[0] < 1 or grid[-1] > pool.size:
        raise ValueError(f"n must be from 1 to {pool.size}, the samples per prompt")

    def at(values: Float) -> Float:
        return np.stack([best_of_n_mean(values, pool.proxy, int(n)) for n in grid], axis=1)

    kl = np.broadcast_to([best_of_n_kl(int(n)) for n in grid], (len(pool.proxy), grid.size))
    return _curve(pool, "bon", grid.astype(np.float64), np.array(kl), at)


def poisson_curve(pool: Pool) -> Curve:
    """Best of n with a Poisson n, for each whole mean of n that the pool carries.

    Where the pool is too small for the tilt's weights, this stands in its place: at equal KL the
    two policies are nearly the same.
    """
    means = [n for n in range(1, pool.size + 1) if poisson_beyond(n, pool.size) <= MOST_BEYOND]

    def at(values: Float) -> Float:
        return np.stack([best_of_poisson_mean(values, pool.proxy, n) for n in means], axis=1)

    grid = np.array(means, dtype=np.float64)
    kl = np.broadcast_to([best_of_poisson_kl(n) for n in means], (len(pool.proxy), grid.size))
    return _curve(pool, "poisson", grid, np.array(kl), at)


def tilted_curve(pool: Pool, betas: Sequence[float] | None = None) -> Curve:
    """The policy tilted by the proxy at each beta, by self-normalised importance weights.

    Parameters
    ----------
    pool
        Samples.
    betas
        > 0, in units of the proxy per nat; by default two an octave, from 16 within-prompt SDs of
        the proxy to a sixteenth.
    """
    standardized = betas is None
    if betas is None:
        high, low = BETA_OCTAVES
        steps = np.arange(high, low - 1e-9, -1 / BETAS_PER_OCTAVE)
        betas = (_spread(pool.proxy) * 2.0**steps).tolist()
    grid = np.array(sorted(betas, reverse=True), dtype=np.float64)
    if grid.size == 0 or not grid[-1] > 0:
        raise ValueError("beta must be positive")
    weights = [tilted_weights(pool.proxy, beta) for beta in grid]
    kl = np.stack([tilted_kl_jackknife(w) for w in weights], axis=1)

    def at(values: Float) -> Float:
        return np.stack([tilted_mean(values, pool.proxy, beta) for beta in grid], axis=1)

    ess = np.array([float(np.median(effective_size(w))) for w in weights])
    curve = _curve(pool, "tilted", grid, kl, at, ess)
    return replace(curve, standardized=standardized)


def unit_parts(values: Float) -> Float:
    """Squared deviations from the prompt's mean and degrees of freedom, (n_prompts, 2).

    Zero where a prompt has no values.
    """
    there = np.isfinite(values).all(axis=1)
    deviation = values - values.mean(axis=1, keepdims=True)
    # The mean of equal numbers may differ from them by rounding; that is no variation.
    deviation[np.abs(deviation) <= 1e-12 * np.abs(values)] = 0.0
    freedom = np.where(there, max(values.shape[1] - 1, 0), 0).astype(np.float64)
    return np.stack([np.where(there, (deviation**2).sum(axis=1), 0.0), freedom], axis=1)


def _curve(
    pool: Pool,
    method: Method,
    strength: Float,
    kl: Float,
    at: Callable[[Float], Float],
    ess: Float | None = None,
) -> Curve:
    """A curve of the means that `at` gives, (n_prompts, n_points), of the pool's rewards."""
    gold, gold_start = at(pool.gold), pool.gold.mean(axis=1)
    if pool.judge is not None:
        gold, gold_start = _carried(pool, gold, at(pool.judge))
    return Curve(
        method,
        strength,
        kl,
        at(pool.proxy),
        gold,
        pool.proxy.mean(axis=1),
        gold_start,
        pool.clusters,
        unit_parts(pool.proxy),
        unit_parts(pool.gold),
        np.full(strength.size, math.nan) if ess is None else ess,
        size=pool.size,
    )


def _carried(pool: Pool, gold: Float, judge: Float) -> tuple[Float, Float]:
    """Gold at each point and at the start, prediction-powered: the judge helps start and gains."""
    if pool.judge is None:
        raise ValueError("the pool has no judge")
    of_gold = np.column_stack([pool.gold.mean(axis=1), gold])
    of_judge = np.column_stack([pool.judge.mean(axis=1), judge])
    for values in (of_gold, of_judge):
        values[:, 1:] -= values[:, :1]
    found = prediction_powered_values(of_gold, of_judge, pool.clusters)
    return found[:, :1] + found[:, 1:], found[:, 0]


def _with_judge(
    gold: NDArray[np.bool_], judge: NDArray[np.bool_], clusters: Integers
) -> NDArray[np.bool_] | str:
    """Samples of a pool in which a judge stands in for gold; in words, why it cannot.

    A prompt has gold on all its rows or counts as one without.
    """
    has_gold = gold.any(axis=1)
    codes = np.unique(clusters, return_inverse=True)[1]
    whole = (np.bincount(codes, ~has_gold) == 0)[codes]
    there = np.where(whole[:, None], gold & judge, judge)
    if whole.all():
        return "every prompt has gold"
    labelled = count_codes(codes[whole])
    if labelled < LEAST_GOLD:
        return f"{labelled} prompts have gold, {LEAST_GOLD} are needed"
    return np.asarray(there)


def judged(pool: Pool) -> str:
    """What stands in for gold on the prompts without, in words; empty where nothing does."""
    if pool.judge is not None:
        total = count_codes(pool.clusters)
        return f"on {pool.labelled} of {total} prompts, the judge on all (prediction-powered)"
    return f"(judge_rewards are left aside: {pool.judge_aside})" if pool.judge_aside else ""


def _common_size(counts: Integers) -> int:
    """The pool size that keeps the most samples, at least 2 where any prompt has two."""
    sizes = np.unique(counts[counts >= 2])
    if sizes.size == 0:
        return 0
    kept = [int(size) * int(np.sum(counts >= size)) for size in sizes]
    return int(sizes[int(np.argmax(kept))])


def _spread(values: Float) -> float:
    square, freedom = unit_parts(values).sum(axis=0)
    return math.sqrt(square / freedom) if freedom > 0 else math.nan
