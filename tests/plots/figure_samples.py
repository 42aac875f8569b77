"""One figure of each kind, with plausible numbers and a hostile label in each."""

from __future__ import annotations

import itertools
import math
from typing import Any

from rmaudit.results import Figure

HOSTILE = "<script>alert('x')</script> $\\frac{1}{0}$ \u202eesrever & _名前"


def samples() -> list[Figure]:
    """Seven kinds; deterministic."""
    return [
        Figure("by_subset", "intervals", "Accuracy by subset", "Code is lowest.", _intervals()),
        Figure("margins", "histogram", "Margins of both labels", "They overlap.", _histogram()),
        Figure("gain", "curves", "Gold and proxy reward against KL", "Gold falls.", _curves()),
        Figure("ledger", "heatmap", "Coverage ledger", "Two holes.", _heatmap()),
        Figure("blind", "bars", "Against blind rules", "Longer wins 0.61.", _bars()),
        Figure("length", "scatter", "Margin against length", "Rising.", _scatter()),
        Figure("reliability", "reliability", "Reliability diagram", "Too sure.", _reliability()),
    ]


def _intervals() -> dict[str, Any]:
    names = ["all", "chat", "code", "maths", "safety", HOSTILE]
    rows: list[dict[str, Any]] = [
        {"label": n, "value": 0.74 - 0.05 * i, "low": 0.70 - 0.06 * i, "high": 0.78 - 0.04 * i}
        for i, n in enumerate(names)
    ]
    rows.append({"label": "empty subset", "value": None, "low": None, "high": None})
    return {"rows": rows, "xlabel": "accuracy, 95 % interval", "reference": 0.5}


def _histogram() -> dict[str, Any]:
    edges = [-4 + 0.4 * i for i in range(21)]
    middle = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    series = [
        {
            "name": n,
            "edges": edges,
            "counts": [round(200 * math.exp(-((m - c) ** 2))) for m in middle],
        }
        for n, c in (("label agrees", 0.8), (HOSTILE, -0.4))
    ]
    return {"series": series, "xlabel": "margin (SD)", "ylabel": "pairs", "reference_x": 0.0}


def _curves() -> dict[str, Any]:
    kl = [0.05 * 1.35**i for i in range(16)]
    gold = [math.sqrt(k) * (0.6 - 0.22 * math.sqrt(k)) for k in kl]
    proxy = [0.55 * math.sqrt(k) for k in kl]

    def series(name: str, y: list[float], style: str) -> dict[str, Any]:
        low, high = ([v + d for v in y] for d in (-0.05, 0.05))
        return {"name": name, "x": kl, "y": y, "low": low, "high": high, "style": style}

    return {
        "series": [
            series("gold", gold, "line"),
            series("proxy", proxy, "line"),
            series(HOSTILE, [g * 0.9 for g in gold], "points"),
        ],
        "xlabel": "KL from the initial policy (nats)",
        "ylabel": "gain (SD)",
        "xscale": "log",
        "diagonal": False,
        "reference_x": 1.86,
        "reference_y": 0.0,
    }


def _heatmap() -> dict[str, Any]:
    rows = ["booking", "cancellation", "insurance", "urgent symptom", HOSTILE]
    columns = ["plain", "markdown", "reassuring", "long"]
    values: list[list[float | None]] = [
        [0.9 - 0.12 * i - 0.05 * j for j in range(4)] for i in range(5)
    ]
    values[3][1] = None
    return {
        "rows": rows,
        "columns": columns,
        "values": values,
        "unit": "probability",
        "center": 0.5,
        "xlabel": "answer style",
        "ylabel": "",
    }


def _bars() -> dict[str, Any]:
    values = [0.71, 0.61, 0.39, 0.55]
    return {
        "labels": ["model", "longer", "shorter", HOSTILE],
        "series": [
            {
                "name": "all",
                "values": values,
                "low": [v - 0.02 for v in values],
                "high": [v + 0.02 for v in values],
            },
            {"name": "code", "values": [0.6, 0.66, None, 0.52], "low": None, "high": None},
        ],
        "ylabel": "accuracy",
        "reference": 0.5,
    }


def _scatter() -> dict[str, Any]:
    x = [math.sin(i * 12.9898) * 2 for i in range(900)]
    y = [0.5 * v + math.cos(i * 78.233) for i, v in enumerate(x)]
    return {
        "series": [{"name": HOSTILE, "x": x, "y": y}],
        "xlabel": "log2 length ratio",
        "ylabel": "margin (SD)",
    }


def _reliability() -> dict[str, Any]:
    bins = []
    for i in range(15):
        c = 0.5 + 0.5 * (i + 0.5) / 15
        a = 0.5 + 0.7 * (c - 0.5)
        bins.append(
            {
                "confidence": c,
                "accuracy": a,
                "low": a - 0.04,
                "high": a + 0.04,
                "count": 60 + 10 * i,
            }
        )
    x = [0.5 + 0.02 * i for i in range(26)]
    return {
        "bins": bins,
        "band": {"x": x, "low": [v - 0.03 for v in x], "high": [min(1, v + 0.03) for v in x]},
        "smooth": {"x": x, "y": [0.5 + 0.7 * (v - 0.5) for v in x]},
        "xlabel": "stated confidence",
        "ylabel": "accuracy",
    }
