"""Tables and figures of the prompt audit."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rmaudit.audits.common.pairs import optional
from rmaudit.results import Estimate, Figure


def subset_table(subsets: Mapping[str, Mapping[str, Estimate]]) -> pd.DataFrame:
    """One row a subset."""
    rows = []
    for name, found in subsets.items():
        shift = found["prompt.margin_shift"]
        row: dict[str, object] = {"subset": name, "pairs": shift.n, "prompts": shift.n_clusters}
        row |= {id_.partition(".")[2]: estimate.value for id_, estimate in found.items()}
        row |= {"margin_shift_low": shift.low, "margin_shift_high": shift.high}
        reasons = [estimate.undefined_reason for estimate in found.values()]
        rows.append(row | {"note": next((reason for reason in reasons if reason), "")})
    return pd.DataFrame(rows)


def accuracy_figure(accuracy: Estimate, overall: Mapping[str, Estimate]) -> Figure:
    """Accuracy under the right prompt, another's and none, on the same pairs."""
    named = {
        "own prompt": accuracy,
        "another on the topic": overall["prompt.accuracy_same_topic"],
        "another's prompt": overall["prompt.accuracy_shuffled"],
        "no prompt": overall["prompt.accuracy_removed"],
    }
    parts = [f"{estimate.value:.1%} with {name}" for name, estimate in named.items()]
    alt = f"Accuracy is {', '.join(parts)}." if accuracy.defined else "No pairs."
    title = "Accuracy with and without the prompt"
    return _intervals("accuracy", title, alt, named, "accuracy", 0.5, "percent")


def shift_figure(
    overall: Mapping[str, Estimate], subsets: Mapping[str, Mapping[str, Estimate]], blind: float
) -> Figure:
    """How far margins move under another prompt, by subset."""
    named = {"all": overall["prompt.margin_shift"]}
    named |= {name: found["prompt.margin_shift"] for name, found in subsets.items()}
    defined = {name: e.value for name, e in named.items() if e.defined and name != "all"}
    alt = "No subset has an interval."
    if defined:
        least = min(defined, key=lambda name: defined[name])
        alt = f"Margins move least on {least}, by {defined[least]:.2f} SD."
    title = "How far another prompt moves the margin, by subset"
    return _intervals("shift_by_subset", title, alt, named, "mean absolute change (SD)", blind)


def _intervals(
    name: str,
    title: str,
    alt: str,
    named: Mapping[str, Estimate],
    xlabel: str,
    reference: float,
    xunit: str | None = None,
) -> Figure:
    rows = [
        {
            "label": label,
            "value": optional(e.value),
            "low": optional(e.low),
            "high": optional(e.high),
        }
        for label, e in named.items()
    ]
    data = {"rows": rows, "xlabel": xlabel, "xunit": xunit, "reference": reference}
    return Figure(name, "intervals", title, alt, data)
