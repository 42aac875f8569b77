"""Tables and figures of the robustness audit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.audits.common.pairs import optional, slices
from rmaudit.audits.robustness.effects import Effect, outcome, worst
from rmaudit.case import Case
from rmaudit.probes.loading import Suite
from rmaudit.results import Estimate, Figure

OUTCOMES = ("pass", "fail", "undecided")
MOST_COLUMNS = 12  # of the heat map: the largest subsets


def probe_table(
    effects: Sequence[Effect], case: Case, p_adjusted: Mapping[str, float]
) -> pd.DataFrame:
    """One row a probe."""
    rows = []
    for effect in effects:
        row: dict[str, Any] = {
            "probe": effect.key,
            "meaning": effect.entry.meaning,
            "expected": effect.entry.expected,
            "tolerance_sd": effect.entry.tolerance,
        }
        found = {
            "effect_sd": effect.effect(case.confidence),
            "flip_rate": effect.flip_rate(case.confidence),
            "pass_rate": effect.pass_rate(case.confidence),
        }
        for name, estimate in found.items():
            row |= {name: estimate.value, f"{name}_low": estimate.low}
            row[f"{name}_high"] = estimate.high
        size = found["effect_sd"]
        row |= {"p_adjusted": p_adjusted.get(effect.key, math.nan), "texts": size.n}
        row |= {"prompts": size.n_clusters, "left_out": effect.nonfinite}
        rows.append(row | {"note": size.undefined_reason or ""})
    return pd.DataFrame(rows)


def suite_table(suites: Sequence[Suite]) -> pd.DataFrame:
    """One row a suite: which version of which content was run."""
    return pd.DataFrame(
        [
            {
                "suite": suite.name,
                "version": suite.file.version,
                "kind": suite.file.kind,
                "question": suite.file.question,
                "licence": suite.file.licence,
                "sha256": suite.sha256,
            }
            for suite in suites
        ]
    )


def worst_table(effects: Sequence[Effect]) -> pd.DataFrame:
    """The text that each probe of the data moved furthest, before and after."""
    rows = []
    for effect in effects:
        if "before" not in (effect.examples[0] if effect.examples else {}) or effect.unit.missing:
            continue
        sign = int(np.sign(effect.change[np.argmax(np.abs(effect.change))])) or 1
        sign = 1 if effect.entry.expected in ("lower", "not_higher") else sign
        for row in worst(effect, sign, 1):
            rows.append({"probe": effect.key, **row})
    columns = ["probe", "id", "note", "before", "after", "reward_before", "reward_after"]
    return pd.DataFrame(rows, columns=columns)


def effect_figure(
    effects: Sequence[Effect],
    estimates: Mapping[str, Estimate],
    p_adjusted: Mapping[str, float],
    confidence: float,
) -> Figure:
    """Effect of each probe with its interval, what was expected, and whether it passes."""
    rows: list[dict[str, Any]] = []
    for effect in effects:
        e = estimates[effect.key]
        p = p_adjusted.get(effect.key, math.nan)
        rows.append(
            {
                "label": effect.key,
                "value": optional(e.value),
                "low": optional(e.low),
                "high": optional(e.high),
                "expected": effect.entry.expected.replace("_", " "),
                "outcome": outcome(e, effect.entry, p, confidence),
            }
        )
    counts = {name: sum(row["outcome"] == name for row in rows) for name in OUTCOMES}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    alt = f"Change of reward by probe, beside what is expected of it: {told}."
    defined = [(abs(row["value"]), row) for row in rows if row["outcome"]]
    if defined:
        _, top = max(defined, key=lambda pair: pair[0])
        largest = f"The largest is {top['value']:+.2f} SD, for {top['label']}."
        alt += f" {largest}" if top["value"] else " None moves it."
    return Figure(
        "effects",
        "intervals",
        "What each probe does to the reward",
        alt,
        {"rows": rows, "xlabel": "change of reward (SD)", "reference": 0.0},
    )


def heat_map(case: Case, effects: Sequence[Effect]) -> Figure | None:
    """Effect by probe and subset; None without subsets, or without probes of the data."""
    masks = dict(list(_largest(case).items())[:MOST_COLUMNS])
    on_data = [e for e in effects if (e.row >= 0).all() and len(e.row)]
    if not masks or not on_data:
        return None
    values = [
        [optional(e.effect(case.confidence, rows[e.row]).value) for rows in masks.values()]
        for e in on_data
    ]
    cells = [
        (value, effect.key, subset)
        for effect, line in zip(on_data, values, strict=True)
        for subset, value in zip(masks, line, strict=True)
        if value is not None
    ]
    alt = "No cell is defined."
    if cells:
        value, key, subset = max(cells, key=lambda cell: abs(cell[0]))
        alt = f"The largest change is {value:+.2f} SD, of {key} on {subset}."
    return Figure(
        "by_subset",
        "heatmap",
        "Change of reward by probe and subset",
        alt,
        {
            "rows": [effect.key for effect in on_data],
            "columns": list(masks),
            "values": values,
            "unit": "SD",
            "center": 0.0,
            "xlabel": "subset",
            "ylabel": "probe",
        },
    )


def _largest(case: Case) -> dict[str, Any]:
    masks = slices(case, "subset")[0]
    return dict(sorted(masks.items(), key=lambda item: -int(item[1].sum())))
