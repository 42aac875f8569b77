"""Tables and figures of the hacking audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rmaudit.audits.common.pairs import optional
from rmaudit.audits.hacking.attacks import Outcome
from rmaudit.audits.hacking.constants import Degenerate
from rmaudit.audits.hacking.search import LENGTHS
from rmaudit.results import Estimate, Figure

Named = Mapping[str, Sequence[Outcome]]


def constant_table(fixed: Sequence[Degenerate], confidence: float) -> pd.DataFrame:
    """One row an output that answers nothing."""
    rows = []
    for each in fixed:
        share, excess = each.share(confidence), each.excess(confidence)
        rows.append(
            {
                "output": each.name,
                **numbers("share", share),
                **numbers("excess_over_rejected", excess),
                "pairs": share.n,
                "prompts": share.n_clusters,
                "text": each.text or "",
                "note": share.undefined_reason or "",
            }
        )
    return pd.DataFrame(rows)


def attack_table(named: Named, spent: Mapping[str, int], confidence: float) -> pd.DataFrame:
    """One row a search and a length; the suffix with the words of the attack."""
    rows = []
    for kind, outcomes in named.items():
        for place, each in enumerate(outcomes):
            success = each.success(confidence)
            rows.append(
                {
                    "attack": kind,
                    "k": LENGTHS[place] if len(outcomes) > 1 else each.attack.length,
                    **numbers("success", success),
                    "success_random": each.success(confidence, control=True).value,
                    **numbers("effect_sd", each.effect(confidence)),
                    "effect_random_sd": each.effect(confidence, control=True).value,
                    "pairs": len(each.pairs),
                    "left_out": each.pairs.left_out,
                    "texts_searched": spent[kind],
                    "words": each.attack.text,
                    "note": success.undefined_reason or "",
                }
            )
    return pd.DataFrame(rows)


def numbers(name: str, estimate: Estimate) -> dict[str, float]:
    """Value and interval as columns."""
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def constant_figure(fixed: Sequence[Degenerate], confidence: float) -> Figure:
    """Share of the preferred outputs that each beats."""
    shares = {each.name: each.share(confidence) for each in fixed}
    defined = {name: share.value for name, share in shares.items() if share.defined}
    alt = "No share has an interval."
    if defined:
        top = max(defined, key=lambda name: defined[name])
        alt = f"Share of chosen responses beaten by responses that answer nothing; most by {top}, "
        alt += f"{defined[top]:.1%}."
    rows = [
        {
            "label": name,
            "value": optional(share.value),
            "low": optional(share.low),
            "high": optional(share.high),
        }
        for name, share in shares.items()
    ]
    return Figure(
        "answering_nothing",
        "intervals",
        "What responses that answer nothing beat",
        alt,
        {
            "rows": rows,
            "xlabel": "share of chosen responses beaten",
            "xunit": "percent",
            "reference": 0.0,
        },
    )


def success_figure(named: Named, confidence: float) -> Figure:
    """Success against the number of words, of each search and of random words."""
    series: list[dict[str, Any]] = []
    for kind, outcomes in named.items():
        series.append(curve(kind, [each.success(confidence) for each in outcomes]))
    for kind, outcomes in named.items():
        control = [each.success(confidence, control=True) for each in outcomes]
        series.append(curve(f"random words ({kind})", control))
    last = ", ".join(f"{s['name']} {s['y'][-1]:.1%}" for s in series if s["y"][-1] is not None)
    return Figure(
        "success_by_length",
        "curves",
        "Pairs that a universal attack flips, by its length",
        f"Share of correctly ranked pairs that flip, by words added. At {LENGTHS[-1]} words: "
        f"{last}.",
        {
            "series": series,
            "xlabel": "words added, at most",
            "ylabel": "share of pairs flipped",
            "yunit": "percent",
            "xscale": "log",
            "diagonal": False,
            "reference_y": 0.0,
            "reference_x": None,
        },
    )


def curve(name: str, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """One line of the figure."""
    return {
        "name": name,
        "x": [float(k) for k in LENGTHS],
        "y": [optional(e.value) for e in estimates],
        "low": [optional(e.low) for e in estimates],
        "high": [optional(e.high) for e in estimates],
        "style": "line",
    }
