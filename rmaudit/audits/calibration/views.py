"""Tables and figures of the calibration audit."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from rmaudit.results import Estimate, Figure
from rmaudit.stats.reliability import ReliabilityDiagram
from rmaudit.typing import Float


def finite_or_none(value: float) -> float | None:
    """JSON has no NaN."""
    return float(value) if math.isfinite(value) else None


def subset_table(estimates: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """One row a subset: pairs, prompts, and each metric with its interval."""
    rows = []
    for name, found in estimates.items():
        first = next(iter(found.values()))
        row: dict[str, object] = {"subset": name, "pairs": first.n, "prompts": first.n_clusters}
        for id_, estimate in found.items():
            short = id_.partition(".")[2]
            row |= {short: estimate.value, f"{short}_low": estimate.low}
            row[f"{short}_high"] = estimate.high
        rows.append(row)
    return pd.DataFrame(rows)


def murphy_table(targets: Float, found: Mapping[str, Estimate]) -> pd.DataFrame:
    """Brier = reliability - resolution + uncertainty + spread within bins."""
    brier = found["calibration.brier"].value
    reliability = found["calibration.brier_reliability"].value
    resolution = found["calibration.brier_resolution"].value
    uncertainty = float(np.mean((targets - 0.5) ** 2))
    within = brier - (reliability - resolution + uncertainty)
    return pd.DataFrame(
        [
            ("reliability (miscalibration)", "+", reliability),
            ("resolution (telling pairs apart)", "-", resolution),
            ("uncertainty (what a coin would score)", "+", uncertainty),
            ("spread within bins", "+", within),
            ("Brier score", "=", brier),
        ],
        columns=["part", "sign", "value"],
    )


def diagram_table(diagram: ReliabilityDiagram) -> pd.DataFrame:
    """One row a bin."""
    return pd.DataFrame(
        {
            "confidence": diagram.confidence,
            "accuracy": [a.value for a in diagram.accuracy],
            "low": [a.low for a in diagram.accuracy],
            "high": [a.high for a in diagram.accuracy],
            "calibrated_low": diagram.band_low,
            "calibrated_high": diagram.band_high,
            "pairs": diagram.count,
        }
    )


def diagram_figure(diagram: ReliabilityDiagram) -> Figure:
    """Share correct against confidence."""
    outside = sum(
        not low <= a.value <= high
        for a, low, high in zip(diagram.accuracy, diagram.band_low, diagram.band_high, strict=True)
    )
    bins = [
        {
            "confidence": float(x),
            "accuracy": finite_or_none(a.value),
            "low": finite_or_none(a.low),
            "high": finite_or_none(a.high),
            "count": int(n),
        }
        for x, a, n in zip(diagram.confidence, diagram.accuracy, diagram.count, strict=True)
    ]
    band = {
        "x": diagram.confidence.tolist(),
        "low": diagram.band_low.tolist(),
        "high": diagram.band_high.tolist(),
    }
    return Figure(
        "reliability",
        "reliability",
        "Reliability diagram",
        f"Share of correct choices against the model's confidence in {len(bins)} bins; "
        f"{outside or 'none'} of them {'lies' if outside == 1 else 'lie'} outside the band in "
        "which a perfectly calibrated model would be.",
        {
            "bins": bins,
            "band": band,
            "smooth": {"x": diagram.curve_x.tolist(), "y": diagram.curve_y.tolist()},
            "xlabel": "confidence, max(p, 1 - p)",
            "ylabel": "share correct",
            "xunit": "percent",
            "yunit": "percent",
        },
    )


def forest(estimates: Mapping[str, Mapping[str, Estimate]]) -> list[Figure]:
    """Over-confidence of each subset; no figure where none is defined."""
    rows = [
        {"label": name, "value": e.value, "low": e.low, "high": e.high}
        for name, found in estimates.items()
        if (e := found["calibration.overconfidence"]).defined
    ]
    if not rows:
        return []
    above = sum(row["low"] > 0 for row in rows if isinstance(row["low"], float))
    if len(rows) == 1:
        where = (
            f"on {rows[0]['label']}; the interval {'lies' if above else 'does not lie'} above zero"
        )
    else:
        where = f"in {len(rows)} subsets; in {above or 'none'} of them the interval lies above zero"
    return [
        Figure(
            "overconfidence_by_subset",
            "intervals",
            "Overconfidence by subset",
            f"Mean confidence minus share correct {where}.",
            {
                "rows": rows,
                "xlabel": "mean confidence minus share correct, points",
                "xunit": "points",
                "reference": 0.0,
            },
        )
    ]


def temperature_figure(margins: Float, targets: Float, fitted: Estimate) -> Figure:
    """Negative log-likelihood against the temperature."""
    centre = fitted.value if fitted.defined else 1.0
    temperatures = np.geomspace(min(centre, 1.0) / 5, max(centre, 1.0) * 5, 31)
    loss = []
    for value in temperatures:
        m = margins / value
        loss.append(float(np.mean(np.logaddexp(0, -m) + (1 - targets) * m)))
    best = f"smallest at T = {fitted.value:.2f}" if fitted.defined else "with no smallest value"
    return Figure(
        "temperature",
        "curves",
        "Likelihood against temperature",
        f"Mean negative log-likelihood of sigmoid(margin / T) against T, {best}; T = 1 is the "
        "model as it is.",
        {
            "series": [
                {
                    "name": "negative log-likelihood",
                    "x": temperatures.tolist(),
                    "y": loss,
                    "low": None,
                    "high": None,
                    "style": "line",
                }
            ],
            "xlabel": "temperature T",
            "ylabel": "nats per pair",
            "xscale": "log",
            "diagonal": False,
            "reference_y": None,
            "reference_x": finite_or_none(fitted.value),
        },
    )
