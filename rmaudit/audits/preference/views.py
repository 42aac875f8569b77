"""Tables and figures of the preference audit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rmaudit.audits.common.pairs import Margins, optional, shifted, standardized
from rmaudit.results import Estimate, Figure
from rmaudit.stats.intervals import cluster_mean, cluster_ratios
from rmaudit.typing import Float, Integers, Mask

HISTOGRAM_BINS = 40
BLIND = {
    "preference.blind_longer": "longer wins",
    "preference.blind_shorter": "shorter wins",
    "preference.blind_markdown": "more markdown wins",
}


def pairs_table(found: Margins) -> pd.DataFrame:
    """How many comparisons were used and left out."""
    counts = {
        "used": len(found.decided),
        "of these with equal rewards": int((found.decided.margin == 0).sum()),
        "labelled ties, in the tie table": int(found.tied.sum()),
        **found.left_out_by_reason,
    }
    return pd.DataFrame({"what": list(counts), "pairs": list(counts.values())})


def subset_table(
    overall: Mapping[str, Estimate], subsets: Mapping[str, Mapping[str, Estimate]]
) -> pd.DataFrame:
    """One row a subset, the whole first: accuracy beside what blind rules score."""
    rows = []
    for name, found in {"(all)": overall, **subsets}.items():
        accuracy = found["preference.accuracy"]
        row: dict[str, object] = {
            "subset": name,
            "pairs": accuracy.n,
            "prompts": accuracy.n_clusters,
            "accuracy": accuracy.value,
            "low": accuracy.low,
            "high": accuracy.high,
            "tie_rate": found["preference.tie_rate"].value,
        }
        row |= {id_.partition(".")[2]: found[id_].value for id_ in BLIND}
        rows.append(row | {"note": accuracy.undefined_reason or ""})
    return pd.DataFrame(rows)


def tie_table(found: Margins, confidence: float) -> pd.DataFrame:
    """How the model treats labelled ties: their margins should be small.

    - ``share_below_median``: share of ties whose absolute margin is below the median of decided
      pairs; 0.5 where the model does not tell them apart, higher is better.
    - ``auroc``: probability that a decided pair has a larger absolute margin than a tie; likewise.
    - ``mean_size_ties``, ``mean_size_decided``: mean absolute margins, SD.
    """
    size, tied = np.abs(found.margin), found.tied
    middle = np.median(size[~tied]) if (~tied).any() else 0.0
    below = np.where(size == middle, 0.5, size < middle)
    rows = {
        "share_below_median": cluster_mean(
            below[tied], found.cluster[tied], confidence=confidence, bounds=(0, 1)
        ),
        "auroc": separation(size, ~tied, found.cluster, confidence),
    }
    for name, mask in (("mean_size_ties", tied), ("mean_size_decided", ~tied)):
        ones = mask.astype(np.float64)
        rows[name] = standardized(
            size * ones, ones, found.cluster, found.unit, confidence=confidence
        )
    return pd.DataFrame(
        [
            {
                "what": name,
                "value": e.value,
                "low": e.low,
                "high": e.high,
                "pairs": e.n,
                "prompts": e.n_clusters,
                "note": e.undefined_reason or "",
            }
            for name, e in rows.items()
        ]
    )


def separation(score: Float, label: Mask, clusters: Integers, confidence: float) -> Estimate:
    """Area under the ROC curve with a cluster-robust interval from placements.

    From 0 to 1, higher: the score tells the labels apart. The placement of a row is the share of
    the other label's rows that it beats (Obuchowski 1997, Biometrics 53): as exact as resampling,
    and a thousand times as fast. Undefined without both labels.
    """
    place = np.zeros(len(score))
    place[label] = _share_below(score[label], score[~label])
    place[~label] = 1 - _share_below(score[~label], score[label])
    area = float(place[label].mean()) if label.any() else 0.0
    masks = [mask.astype(np.float64) for mask in (label, ~label)]
    ratio = cluster_ratios(
        [(1.0, place * mask, mask) for mask in masks],
        clusters,
        confidence=confidence,
        bounds=(area, 1 + area),  # both terms are the area: the sum less one of them is it
    )
    return shifted(ratio, -area)


def _share_below(score: Float, others: Float) -> Float:
    ranked = np.sort(others)
    below = np.searchsorted(ranked, score, "left") + np.searchsorted(ranked, score, "right")
    return below / (2 * max(len(others), 1))


def margin_figure(found: Margins) -> Figure:
    """Margins in SDs, of decided pairs and of labelled ties."""
    scale = found.unit.sd if not found.unit.missing else 1.0
    margin = found.margin / scale
    end = float(np.quantile(np.abs(margin), 0.995)) if len(margin) else 0.0
    end = end or 1.0
    edges = np.linspace(-end, end, HISTOGRAM_BINS + 1)
    series = []
    for name, mask in (("decided pairs", ~found.tied), ("labelled ties", found.tied)):
        if mask.any():
            counts = np.histogram(np.clip(margin[mask], -end, end), edges)[0]
            series.append({"name": name, "edges": edges.tolist(), "counts": counts.tolist()})
    alt = "No decided pair has a margin."
    if len(found.decided):
        alt = (
            f"Histogram of margins; {(found.decided.margin < 0).mean():.1%} of the decided pairs "
            "lie left of zero, where the model prefers the other response. Margins beyond the "
            "ends are in the outer bars."
        )
    return Figure(
        "margins",
        "histogram",
        "Margins: reward of the chosen response minus the other's",
        alt,
        {"series": series, "xlabel": "margin (SD)", "ylabel": "pairs", "reference_x": 0.0},
    )


def subset_figure(
    overall: Mapping[str, Estimate], subsets: Mapping[str, Mapping[str, Estimate]]
) -> Figure:
    """Accuracy by subset with intervals, lowest first below the whole."""
    named = {name: found["preference.accuracy"] for name, found in subsets.items()}
    order = sorted(named, key=lambda name: (not named[name].defined, named[name].value))
    rows = [("all", overall["preference.accuracy"]), *((name, named[name]) for name in order)]
    alt = "No subset has enough prompts for an interval."
    if named and named[order[0]].defined:
        alt = f"Accuracy by subset; lowest on {order[0]}, {named[order[0]].value:.1%}."
    return Figure(
        "by_subset",
        "intervals",
        "Accuracy by subset",
        alt,
        {
            "rows": [
                {
                    "label": name,
                    "value": optional(e.value),
                    "low": optional(e.low),
                    "high": optional(e.high),
                }
                for name, e in rows
            ],
            "xlabel": "accuracy",
            "xunit": "percent",
            "reference": 0.5,
        },
    )


def blind_figure(overall: Mapping[str, Estimate]) -> Figure:
    """The model's accuracy beside that of rules that read no words."""
    named = {"the model": overall["preference.accuracy"]}
    named |= {name: overall[id_] for id_, name in BLIND.items()}
    estimates = list(named.values())
    return Figure(
        "blind_rules",
        "bars",
        "Accuracy beside blind rules",
        "; ".join(f"{name} {e.value:.1%}" for name, e in named.items() if e.defined) + ".",
        {
            "labels": list(named),
            "series": [
                {
                    "name": "accuracy",
                    "values": [optional(e.value) for e in estimates],
                    "low": [optional(e.low) for e in estimates],
                    "high": [optional(e.high) for e in estimates],
                }
            ],
            "ylabel": "accuracy",
            "yunit": "percent",
            "reference": 0.5,
        },
    )
