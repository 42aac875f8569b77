"""Random pairs with recorded rewards and lengths, for the audits that measure on pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.case import Case
from rmaudit.results import AuditResult


def random_pairs(n: int = 240, prompts: int = 80, seed: int = 0, ties: float = 0.1) -> pd.DataFrame:
    """Several pairs per prompt; rewards and lengths in columns; some equal rewards and lengths."""
    rng = np.random.default_rng(seed)
    prompt = rng.permutation(np.arange(n) % prompts)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {p}" for p in prompt],
            "subset": rng.choice(["chat", "code", "maths"], n),
            "tie": rng.random(n) < ties,
        }
    )
    for side in ("chosen", "rejected"):
        frame[f"{side}_length"] = rng.integers(1, 9, n)
        marks = rng.integers(0, 3, n)
        frame[side] = [
            "\n- point" * k + f" {side} {i}" + " word" * length
            for i, (k, length) in enumerate(zip(marks, frame[f"{side}_length"], strict=True))
        ]
        level = 0.6 if side == "chosen" else 0.0
        frame[f"{side}_reward"] = np.round(rng.normal(level, 1.0, n) + 0.1 * prompt, 1)
    return frame


def given(frame: pd.DataFrame) -> dict[str, Any]:
    """Rewards and lengths of such rows, as `run_audit` takes them."""
    sides = ("chosen", "rejected")
    return {
        "rewards": {side: frame[f"{side}_reward"].to_numpy() for side in sides},
        "lengths": {side: frame[f"{side}_length"].to_numpy() for side in sides},
    }


def shifted_by_prompt(frame: pd.DataFrame) -> pd.DataFrame:
    """Another constant for each prompt."""
    shift = pd.factorize(frame["prompt"])[0] * 4.0
    return frame.assign(**{f"{s}_reward": frame[f"{s}_reward"] + shift for s in _SIDES})


def scaled(frame: pd.DataFrame) -> pd.DataFrame:
    """Rewards in another unit."""
    return frame.assign(**{f"{s}_reward": frame[f"{s}_reward"] * 8.0 for s in _SIDES})


def shuffled(frame: pd.DataFrame) -> pd.DataFrame:
    """Another order of the rows."""
    return frame.sample(frac=1.0, random_state=3).reset_index(drop=True)


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    """Each row twice."""
    return pd.concat([frame, frame], ignore_index=True)


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    """Chosen for rejected, and rewards negated."""
    other = dict(zip(_SIDES, reversed(_SIDES), strict=True))
    columns = {s: frame[other[s]] for s in _SIDES}
    columns |= {f"{s}_length": frame[f"{other[s]}_length"] for s in _SIDES}
    columns |= {f"{s}_reward": -frame[f"{other[s]}_reward"] for s in _SIDES}
    return frame.assign(**columns)


_SIDES = ("chosen", "rejected")


Make = Callable[..., Case]


Run = Callable[..., AuditResult]


FIVE = [
    # margins 2, 0, -1 | 3 | labelled tie
    {"prompt": "p", "chosen": "a a a", "rejected": "b", "subset": "chat"},
    {"prompt": "p", "chosen": "c c", "rejected": "d d", "subset": "chat"},
    {"prompt": "q", "chosen": "e", "rejected": "f f", "subset": "code"},
    {"prompt": "r", "chosen": "g g g g", "rejected": "h", "subset": "code"},
    {"prompt": "s", "chosen": "i i", "rejected": "j", "subset": "code", "tie": True},
]
