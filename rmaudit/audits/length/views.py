"""Tables and figures of the length audit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rmaudit.audits.common.attribute import centred, difference
from rmaudit.audits.common.pairs import Margins, optional
from rmaudit.results import Estimate, Figure
from rmaudit.stats.intervals import Bounds, cluster_mean
from rmaudit.typing import Float, Integers

CURVE_BINS = 20
DIFFERENCE_BINS = 10


def equal_mass(values: Float, bins: int) -> Integers:
    """Bin codes, (n,), of about equal numbers; equal values share a bin, so there may be fewer."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1]))
    codes = np.searchsorted(edges, values, side="left")
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def binned(
    x: Float,
    y: Float,
    clusters: Integers,
    bins: int,
    confidence: float,
    bounds: Bounds | None = None,
) -> pd.DataFrame:
    """Mean of y with its interval by equal-mass bins of x; x is given by its mean in the bin."""
    codes = equal_mass(x, bins)
    columns = ("x", "value", "low", "high", "n", "prompts")
    rows = []
    for code in range(int(codes.max(initial=-1)) + 1):
        here = codes == code
        mean = cluster_mean(y[here], clusters[here], confidence=confidence, bounds=bounds)
        rows.append(
            (float(x[here].mean()), mean.value, mean.low, mean.high, mean.n, mean.n_clusters)
        )
    return pd.DataFrame(rows, columns=list(columns))


def reward_curve(found: Margins, doublings: Float, confidence: float) -> pd.DataFrame:
    """Reward (SD) by log2 length, both less their means over the prompt."""
    x, y = centred(found, doublings)
    scale = 1.0 if found.unit.missing else found.unit.sd
    clusters = found.outputs.cluster[found.distinct]
    return binned(x, y / scale, clusters, CURVE_BINS, confidence)


def accuracy_curve(decided: Margins, doublings: Float, confidence: float) -> pd.DataFrame:
    """Accuracy by how much longer the preferred output is, in doublings."""
    x = difference(decided, doublings)
    return binned(x, decided.correct, decided.cluster, DIFFERENCE_BINS, confidence, (0, 1))


def curve_figure(curve: pd.DataFrame) -> Figure:
    """Reward against length within prompts."""
    alt = "No two responses of a prompt differ in length."
    if len(curve) > 1:
        first, last = curve.iloc[0], curve.iloc[-1]
        alt = (
            f"From responses {2 ** -first['x']:.1f} times shorter than their prompt's mean to "
            "those "
            f"{2 ** last['x']:.1f} times longer, the reward goes from {first['value']:+.2f} to "
            f"{last['value']:+.2f} SD around that mean."
        )
    return _curve(
        "reward_by_length",
        "Reward against length, within prompts",
        alt,
        curve,
        ("length against the prompt's mean (doublings)", "reward above the mean (SD)"),
        0.0,
    )


def accuracy_figure(curve: pd.DataFrame) -> Figure:
    """Accuracy against the difference in length."""
    alt = "No pairs."
    if len(curve):
        first, last = curve.iloc[0], curve.iloc[-1]
        alt = (
            f"Accuracy is {first['value']:.1%} where the chosen response is shortest against the "
            f"other and {last['value']:.1%} where it is longest."
        )
    return _curve(
        "accuracy_by_length",
        "Accuracy by difference in length",
        alt,
        curve,
        ("chosen response against the other (doublings of length)", "accuracy"),
        0.5,
        "percent",
    )


def excess_figure(
    overall: Mapping[str, Estimate], subsets: Mapping[str, Mapping[str, Estimate]]
) -> Figure:
    """Excess preference for length by subset."""
    named = {"all": overall, **subsets}
    estimates = {name: found["length.excess_preference"] for name, found in named.items()}
    defined = {name: e.value for name, e in estimates.items() if e.defined and name != "all"}
    alt = "No subset has an interval."
    if defined:
        top = max(defined, key=lambda name: defined[name])
        alt = f"Excess preference for the longer response by subset; highest on {top}, "
        alt += f"{100 * defined[top]:+.1f} points."
    return Figure(
        "excess_by_subset",
        "intervals",
        "Excess preference for the longer response, by subset",
        alt,
        {
            "rows": [
                {
                    "label": name,
                    "value": optional(e.value),
                    "low": optional(e.low),
                    "high": optional(e.high),
                }
                for name, e in estimates.items()
            ],
            "xlabel": "model prefers the longer minus label prefers the longer, points",
            "xunit": "points",
            "reference": 0.0,
        },
    )


def _curve(
    name: str,
    title: str,
    alt: str,
    curve: pd.DataFrame,
    axes: tuple[str, str],
    reference: float,
    yunit: str | None = None,
) -> Figure:
    columns = {
        key: [optional(float(value)) for value in curve[column]]
        for key, column in (("x", "x"), ("y", "value"), ("low", "low"), ("high", "high"))
    }
    return Figure(
        name,
        "curves",
        title,
        alt,
        {
            "series": [{"name": axes[1], **columns, "style": "line"}],
            "xlabel": axes[0],
            "ylabel": axes[1],
            "yunit": yunit,
            "xscale": "linear",
            "diagonal": False,
            "reference_y": reference,
            "reference_x": 0.0,
        },
    )
