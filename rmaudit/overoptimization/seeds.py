"""Curves of several seeds as one: each seed is a cluster, so the band is over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmaudit.errors import DataError
from rmaudit.overoptimization.curves import Curve
from rmaudit.typing import Float

LEAST_SEEDS = 2


def over_seeds(curves: Sequence[Curve]) -> Curve:
    """The mean curve of seeds, with every interval and every resample over the seeds.

    Parameters
    ----------
    curves
        Of one method: pools that were sampled, or proxies that were trained, with different seeds.
        The gold reward is the same; proxies are put in SDs, since their units differ by seed.
        Best of n keeps the values of n that all seeds have; points of a tilt stand for the same
        beta in SDs of the proxy.

    Raises
    ------
    DataError
        If there are fewer than two seeds, or they share too few points.
    """
    if len(curves) < LEAST_SEEDS:
        raise DataError("one curve: an interval over seeds needs two or more")
    first = curves[0]
    if first.standardized:
        if len({curve.strength.size for curve in curves}) > 1:
            raise DataError("the seeds' curves have different numbers of points")
        places = [np.arange(first.strength.size)] * len(curves)
    else:
        common = sorted(set.intersection(*(set(curve.strength.tolist()) for curve in curves)))
        ordered = common if first.method != "tilted" else common[::-1]
        if not ordered:
            raise DataError("the seeds' curves share no point; give --n, or --beta")
        places = [np.array([curve.strength.tolist().index(s) for s in ordered]) for curve in curves]

    def stacked(rows: list[Float]) -> Float:
        return np.stack([row[place] for row, place in zip(rows, places, strict=True)])

    strength = stacked([curve.strength for curve in curves]).mean(axis=0)
    ess = stacked([curve.ess for curve in curves]).min(axis=0)
    proxy = [
        (curve.raw("proxy") - curve.proxy_start.mean()) / curve.sd("proxy") for curve in curves
    ]
    freedom = np.array([curve.proxy_unit[:, 1].sum() for curve in curves])
    return Curve(
        first.method,
        strength,
        stacked([curve.kl_at for curve in curves]),
        stacked(proxy),
        stacked([curve.raw("gold") for curve in curves]),
        np.zeros(len(curves)),
        np.array([curve.gold_start.mean() for curve in curves]),
        np.arange(len(curves)),
        np.stack([freedom, freedom], axis=1),
        np.stack([curve.gold_unit.sum(axis=0) for curve in curves]),
        ess,
        size=min(curve.size for curve in curves),
    )
