r"""What each component of a reward does in the groups of samples that a trainer sees.

Within a group of samples of one prompt, a trainer makes advantages :math:`A` of the totals. With
weighted components :math:`w_k r_k` they are a sum :math:`A = \sum_k a_k`, by the scale:

- none: :math:`a_k = w_k (r_k - \bar r_k)`;
- group (GRPO): the same, divided by the group's SD of the total;
- component (GDPO, arXiv 2601.05242): :math:`a_k = w_k (r_k - \bar r_k) / SD(r_k)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from rmaudit.results import Estimate
from rmaudit.rewards.mix import Scale
from rmaudit.stats.best_of_n import best_of_n_mean
from rmaudit.stats.intervals import cluster_mean, cluster_ratio, for_skewness
from rmaudit.typing import Float, Integers, Mask

FEWEST = 4  # samples that a group needs
REST = "(rest)"  # of a total that is no weighted sum of its components
_SAME = 1e-9  # relative: differences that are rounding
_ROUNDED = 1e-4  # of the totals' SD: what recorded totals of a few decimals are rounded by


@dataclass(frozen=True)
class Groups:
    """Totals and components of samples, grouped by prompt.

    Attributes
    ----------
    total
        (n_groups, most samples); NaN where there is no sample, or its total is not finite.
    components
        By name, of the same shape; NaN where a component does not apply.
    weights
        By name of component.
    codes
        Prompt codes of the groups, (n_groups,).
    scale
        How the trainer scales.
    confidence
        Two-sided level of the intervals.
    """

    total: Float
    components: dict[str, Float]
    weights: dict[str, float]
    codes: Integers
    scale: Scale
    confidence: float = 0.95

    @property
    def there(self) -> Mask:
        """Which samples are there, (n_groups, most samples)."""
        return np.isfinite(self.total)

    def parts(self, scale: Scale | None = None) -> dict[str, Float]:
        """The terms :math:`a_k` of the advantages by name; 0 where there is no sample."""
        scale = self.scale if scale is None else scale
        there = self.there
        weighted = {
            name: self.weights[name] * np.where(np.isfinite(values), values, 0.0)
            for name, values in self.components.items()
        }
        rest = np.where(there, self.total, 0.0) - sum(weighted.values())
        rest = np.where(np.abs(rest) > _SAME * np.maximum(1, np.abs(self.total)), rest, 0.0)
        spread = [np.sum(_centred(np.where(there, v, 0.0), there) ** 2) for v in (rest, self.total)]
        if spread[0] > _ROUNDED**2 * spread[1]:
            weighted[REST] = rest
        centred = {name: _centred(values, there) for name, values in weighted.items()}
        if scale == "none":
            return centred
        if scale == "component":
            return {
                name: abs(self.weights.get(name, 1.0)) * _over(values, _sd(values, there))
                for name, values in centred.items()
            }
        sd = _sd(_centred(np.where(there, self.total, 0.0), there), there)
        return {name: _over(values, sd) for name, values in centred.items()}


def _centred(values: Float, there: Mask) -> Float:
    """Deviations from the group's mean; exactly 0 where they are rounding."""
    kept = np.where(there, values, 0.0)
    mean = kept.sum(axis=1, keepdims=True) / np.maximum(there.sum(axis=1, keepdims=True), 1)
    deviation = np.where(there, values - mean, 0.0)
    return np.where(np.abs(deviation) > _SAME * np.maximum(np.abs(kept), 1e-3), deviation, 0.0)


def _sd(centred: Float, there: Mask) -> Float:
    freedom = np.maximum(there.sum(axis=1) - 1, 1)
    return np.asarray(np.sqrt((centred**2).sum(axis=1) / freedom))


def _over(values: Float, sd: Float) -> Float:
    return np.divide(values, sd[:, None], out=np.zeros_like(values), where=sd[:, None] > 0)


def fitted_weights(total: Float, components: dict[str, Float]) -> dict[str, float]:
    """Weights of the components in a total, by least squares on deviations within groups."""
    there = np.isfinite(total)
    target = _centred(np.where(there, total, 0.0), there)[there]
    columns = np.stack(
        [_centred(np.where(np.isfinite(v), v, 0.0), there)[there] for v in components.values()],
        axis=1,
    )
    found = np.linalg.lstsq(columns, target, rcond=None)[0]
    return {name: float(weight) for name, weight in zip(components, found, strict=True)}


def advantage_shares(groups: Groups, scale: Scale | None = None) -> dict[str, Estimate]:
    """``Cov(A, a_k) / Var(A)`` by component, pooled over groups; they add to 1.

    May be negative (a component that the others outvote). Undefined where no group has a
    difference. Few groups may have most of a rare component's share, so the intervals allow for
    skewness.
    """
    parts = groups.parts(scale)
    advantage = np.sum(list(parts.values()), axis=0)
    variance = (advantage**2).sum(axis=1)
    return {
        name: for_skewness(
            cluster_ratio(
                (advantage * part).sum(axis=1), variance, groups.codes, confidence=groups.confidence
            )
        )
        for name, part in parts.items()
    }


def constant_shares(groups: Groups) -> dict[str, Estimate]:
    """Share of groups in which all samples have the same value of a component, by component."""
    there = groups.there
    return {
        name: cluster_mean(
            (~_centred(np.where(np.isfinite(values), values, 0.0), there).any(axis=1)).astype(
                float
            ),
            groups.codes,
            confidence=groups.confidence,
            bounds=(0, 1),
        )
        for name, values in groups.components.items()
    }


def first_movers(groups: Groups) -> dict[str, Estimate]:
    r"""Slope of each component against the square root of KL at the start, in its SDs.

    :math:`\sqrt 2 \, Cov(A, r_k) / (SD(A) \, SD(r_k))`, within groups: along the path of policies
    tilted by :math:`A`, KL starts as half the variance of the tilt, so the component's mean rises
    by this much per :math:`\sqrt{KL}`. From -sqrt(2) to sqrt(2). Undefined for a component that
    never varies.
    """
    there = groups.there
    advantage = np.sum(list(groups.parts().values()), axis=0)
    return {
        name: _correlation(
            advantage,
            _centred(np.where(np.isfinite(values), values, 0.0), there),
            groups,
            math.sqrt(2),
        )
        for name, values in groups.components.items()
    }


def gold_correlations(groups: Groups, gold: Float) -> dict[str, Estimate]:
    """Correlation of each component with the gold reward within groups, by component."""
    both = groups.there & np.isfinite(gold)
    deviations = _centred(np.where(both, gold, 0.0), both)
    return {
        name: _correlation(
            deviations, _centred(np.where(np.isfinite(v), v, 0.0), both), groups, 1.0
        )
        for name, v in groups.components.items()
    }


def correlation_within(groups: Groups, one: Float, other: Float) -> Estimate:
    """Correlation of two values within groups, (n_groups, most samples) each; NaN counts as 0."""
    there = groups.there
    first, second = (_centred(np.where(np.isfinite(v), v, 0.0), there) for v in (one, other))
    return _correlation(first, second, groups, 1.0)


def _correlation(one: Float, other: Float, groups: Groups, factor: float) -> Estimate:
    """A pooled within-group correlation times a factor, by the delta method over prompts."""
    n = int(groups.there.sum())
    codes = groups.codes
    count = int(codes.max(initial=-1)) + 1
    sums = np.stack([(one * other).sum(1), (one**2).sum(1), (other**2).sum(1)], axis=1)
    by_prompt = np.stack([np.bincount(codes, s, minlength=count) for s in sums.T], axis=1)
    product, first, second = by_prompt.sum(axis=0)
    n_prompts = int(np.unique(codes).size)
    if first <= 0 or second <= 0 or n_prompts < 2:
        reason = "it never varies within a prompt" if n_prompts > 1 else "one prompt: no interval"
        return Estimate.undefined(reason, n=n, n_clusters=n_prompts, confidence=groups.confidence)
    value = min(1.0, max(-1.0, product / math.sqrt(first * second)))  # rounding aside
    influence = by_prompt[:, 0] / math.sqrt(first * second) - value / 2 * (
        by_prompt[:, 1] / first + by_prompt[:, 2] / second
    )
    error = math.sqrt(float((influence**2).sum()) * n_prompts / (n_prompts - 1))
    reach = float(stdtrit(n_prompts - 1, (1 + groups.confidence) / 2)) * error
    low, high = max(-1.0, value - reach), min(1.0, value + reach)
    return Estimate(
        factor * value,
        factor * low,
        factor * high,
        groups.confidence,
        "cluster-robust",
        n,
        n_prompts,
        bounds=(-factor, factor),
    )


def collapsed_share(groups: Groups) -> Estimate:
    """Share of groups whose advantages another group of other components shares.

    What summing before scaling throws away (GDPO, arXiv 2601.05242): two groups whose samples
    differ otherwise in their components get the same advantages, sample for sample. The order of
    the samples does not count; groups in which nothing differs are left out.
    """
    parts = groups.parts()
    advantage = np.sum(list(parts.values()), axis=0)
    there = groups.there
    deviations = np.stack(
        [_centred(np.where(np.isfinite(v), v, 0.0), there) for v in groups.components.values()],
        axis=2,
    )  # (n_groups, samples, components)
    varied = deviations.any(axis=(1, 2))
    of_advantage: dict[bytes, set[bytes]] = {}
    keys: list[tuple[bytes, bytes]] = []
    for g in np.flatnonzero(varied).tolist():
        rows = np.round(deviations[g][there[g]], 9) + 0.0
        order = np.lexsort(rows.T)
        values = np.round(np.sort(advantage[g][there[g]]), 9) + 0.0
        key, component = values.tobytes(), rows[order].tobytes()
        keys.append((key, component))
        of_advantage.setdefault(key, set()).add(component)
    shared = np.array([len(of_advantage[key]) > 1 for key, _ in keys], dtype=np.float64)
    return cluster_mean(shared, groups.codes[varied], confidence=groups.confidence, bounds=(0, 1))


def best_of_n(groups: Groups, sizes: tuple[int, ...]) -> dict[str, list[float]]:
    """Mean of each component over best-of-n choices by the total, one value an n."""
    return {
        name: [mean_of_known(best_of_n_mean(values, groups.total, n)) for n in sizes]
        for name, values in groups.components.items()
    }


def mean_of_known(values: Float) -> float:
    """Mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else math.nan
