"""Audits of rewards that are written down: one pair a prompt, margins as given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import rmaudit
from rmaudit.report.document import Report

Float = NDArray[np.float64]


def rows(margins: Float, first: int = 0) -> list[dict[str, Any]]:
    """Pairs of prompts `first`, `first + 1`, ... with these margins, in two subsets."""
    return [
        {
            "prompt": f"question {first + i}",
            "chosen": "the one",
            "rejected": "the other one",
            "subset": "ab"[(first + i) % 2],
            "chosen_reward": float(margin),
            "rejected_reward": 0.0,
        }
        for i, margin in enumerate(margins)
    ]


def audit(margins: Float, first: int = 0, **settings: Any) -> Report:
    """The audit of a model with these margins, without figures: they take seconds to be drawn."""
    settings = {"only": ["preference", "calibration", "length"], **settings}
    report = rmaudit.audit("recorded", eval=rows(margins, first), resamples=200, **settings)
    bare = {name: each.model_copy(update={"figures": []}) for name, each in report.audits.items()}
    return replace(report, record=report.record.model_copy(update={"audits": bare}))
