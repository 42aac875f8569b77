"""What suites of steps share: prefixes to score, the threshold, labels of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np

from rmaudit.suites.item import Item
from rmaudit.suites.scored import Scored
from rmaudit.typing import Float


def prefixes(steps: Sequence[str]) -> tuple[str, ...]:
    """A solution up to each of its steps: the reward of a prefix is that of its last step."""
    return tuple(accumulate(steps, lambda before, step: f"{before}\n\n{step}"))


def threshold(scored: Scored) -> float:
    """Above which a step is good: as given; else 1/2 if all rewards are from 0 to 1, else 0."""
    if scored.threshold is not None:
        return scored.threshold
    known = [rewards[~np.isnan(rewards)] for rewards in scored.rewards]
    inside = all(((r >= 0) & (r <= 1)).all() for r in known)
    return 0.5 if inside else 0.0


def good(rewards: Iterable[float], cut: float) -> list[bool]:
    """Which steps are good; one without a reward is not."""
    return [reward > cut for reward in rewards]


def threshold_note(scored: Scored) -> list[str]:
    """What threshold was used, and where it is from."""
    if scored.recorded:
        return []
    origin = (
        "as given"
        if scored.threshold is not None
        else "by default: 0.5 where every reward is from 0 to 1, else 0; --threshold sets the "
        "model's own"
    )
    return [f"A step is called good above {threshold(scored):g} ({origin})."]


def all_good(items: Sequence[Item]) -> dict[str, list[Float]]:
    """The blind rule of suites of steps: every step is good."""
    return {"all_good": [np.full(max(item.size, 0), math.inf) for item in items]}
