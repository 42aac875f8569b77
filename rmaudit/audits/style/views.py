"""Tables and figures of the style audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rmaudit.audits.common.pairs import optional
from rmaudit.audits.style.attributes import ATTRIBUTES
from rmaudit.results import Estimate, Figure
from rmaudit.typing import Float

MOST_COLUMNS = 12  # of the heat map: the largest subsets


@dataclass(frozen=True)
class Style:
    """What one attribute brings."""

    amount: Float  # of every output, (m,): log2(1 + count)
    effect: Estimate
    excess: Estimate
    differing: int  # pairs in which the outputs differ in it


def attribute_table(overall: Mapping[str, Style]) -> pd.DataFrame:
    """One row per attribute."""
    rows = []
    for name, style in overall.items():
        row: dict[str, object] = {"attribute": name, "what": ATTRIBUTES[name].words}
        row |= {"share_of_outputs": float(np.mean(style.amount > 0)) if len(style.amount) else 0.0}
        row |= {"pairs_that_differ": style.differing}
        for key, estimate in (("effect", style.effect), ("excess", style.excess)):
            row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
        note = style.effect.undefined_reason or style.excess.undefined_reason or ""
        rows.append(row | {"note": note})
    return pd.DataFrame(rows)


def subset_table(by_subset: Mapping[str, Mapping[str, Style]]) -> pd.DataFrame:
    """One row per subset and attribute."""
    rows = [
        {
            "subset": subset,
            "attribute": name,
            "pairs_that_differ": style.differing,
            "effect": style.effect.value,
            "excess": style.excess.value,
        }
        for subset, styles in by_subset.items()
        for name, style in styles.items()
    ]
    return pd.DataFrame(rows)


def effect_figure(overall: Mapping[str, Style]) -> Figure:
    """Slope of reward on each attribute."""
    named = {name: style.effect for name, style in overall.items()}
    unit: Literal["SD per doubling"] = "SD per doubling"
    return intervals("effects", "Reward by style, at equal length", named, unit, unit)


def excess_figure(overall: Mapping[str, Style]) -> Figure:
    """Excess preference for each attribute."""
    named = {name: style.excess for name, style in overall.items()}
    label = "model picks more of it minus label picks more, points"
    return intervals("excess", "Excess preference by style", named, label, "points")


def heat_map(by_subset: Mapping[str, Mapping[str, Style]]) -> Figure:
    """Effect by attribute and subset."""
    sizes = {s: max(f.effect.n for f in styles.values()) for s, styles in by_subset.items()}
    columns = sorted(by_subset, key=lambda s: -sizes[s])[:MOST_COLUMNS]
    values = [[optional(by_subset[s][name].effect.value) for s in columns] for name in ATTRIBUTES]
    cells = [
        (value, name, subset)
        for name, line in zip(ATTRIBUTES, values, strict=True)
        for subset, value in zip(columns, line, strict=True)
        if value is not None
    ]
    alt = "No cell is defined."
    if cells:
        value, name, subset = max(cells, key=lambda cell: abs(cell[0]))
        alt = f"The largest effect is {value:+.2f} SD per doubling, of {_words(name)} on {subset}."
    data = {
        "rows": [_words(name) for name in ATTRIBUTES],
        "columns": columns,
        "values": values,
        "unit": "SD per doubling",
        "center": 0.0,
        "xlabel": "subset",
        "ylabel": "attribute",
    }
    return Figure("by_subset", "heatmap", "Reward by style and subset", alt, data)


def _words(attribute: str) -> str:
    return attribute.replace("_", " ")


def intervals(
    name: str,
    title: str,
    named: Mapping[str, Estimate],
    xlabel: str,
    unit: Literal["SD", "SD per doubling", "points"] = "SD",
) -> Figure:
    """A row per attribute, with its interval; shares are said in points."""
    defined = {key: e.value for key, e in named.items() if e.defined}
    alt = "No attribute varies within a prompt."
    if defined:
        top = max(defined, key=lambda key: abs(defined[key]))
        value = defined[top]
        size = f"{100 * value:+.1f} points" if unit == "points" else f"{value:+.2f} {unit}"
        alt = (
            f"{title}: the largest is {size}, for {_words(top)}."
            if value
            else f"{title}: all are 0."
        )
    rows = [
        {
            "label": _words(k),
            "value": optional(e.value),
            "low": optional(e.low),
            "high": optional(e.high),
        }
        for k, e in named.items()
    ]
    xunit = unit if unit == "points" else None
    data = {"rows": rows, "xlabel": xlabel, "xunit": xunit, "reference": 0.0}
    return Figure(name, "intervals", title, alt, data)
