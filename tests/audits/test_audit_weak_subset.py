"""A subset that is ranked worse than its margins earn elsewhere, though few pairs are in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from rmaudit.audits.preference.audit import Preference
from rmaudit.case import Case
from rmaudit.results import Finding

Make = Callable[..., Case]
SEEDS = 20


def found(make_case: Make, run_audit: Any, seed: int, random: float) -> list[Finding]:
    """500 pairs of 7 subsets; `random` of one is ranked at random. Two pairs in five are hard."""
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 1, 500) * np.where(rng.random(500) < 0.4, 0.2, 5.0)
    margin = np.where(rng.random(500) < expit(margin), margin, -margin)
    subset = rng.permutation(np.arange(500) % 7)
    turned = (subset == 3) & (rng.random(500) < random / 2)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in range(500)],
            "chosen": [f"good {i}" for i in range(500)],
            "rejected": [f"poor {i}" for i in range(500)],
            "subset": [f"family {k}" for k in subset],
        }
    )
    rewards = {"chosen": np.where(turned, -margin, margin), "rejected": np.zeros(500)}
    result = run_audit(Preference(), make_case(frame), rewards=rewards)
    return [f for f in result.findings if f.metric == "preference.worst_subset_accuracy"]


def test_a_hole_of_seventy_pairs_is_found_and_named(make_case: Make, run_audit: Any) -> None:
    said = [found(make_case, run_audit, seed, 0.9) for seed in range(SEEDS)]
    named = [each[0] for each in said if each and "family 3" in each[0].title]
    assert len(named) >= 0.9 * SEEDS
    # Of these some no difference of two accuracies would have shown.
    assert any("whose margins are as large" in finding.detail for finding in named)


def test_sound_subsets_are_left_in_peace(make_case: Make, run_audit: Any) -> None:
    said = [found(make_case, run_audit, seed, 0.0) for seed in range(SEEDS)]
    assert sum(bool(each) for each in said) <= 2


def test_other_margins_at_the_same_accuracy_are_no_weakness(
    make_case: Make, run_audit: Any
) -> None:
    # Every subset is right in three pairs of four; the errors of one are at other margins.
    n = 400
    subset, wrong = np.arange(n) % 5, np.arange(n) // 5 % 4 == 0
    size = np.where(wrong == (subset == 2), 1.0, 3.0)
    frame = pd.DataFrame(
        {
            "prompt": [f"prompt {i}" for i in range(n)],
            "chosen": [f"good {i}" for i in range(n)],
            "rejected": [f"poor {i}" for i in range(n)],
            "subset": [f"family {k}" for k in subset],
        }
    )
    rewards = {"chosen": np.where(wrong, -size, size), "rejected": np.zeros(n)}
    result = run_audit(Preference(), make_case(frame), rewards=rewards)
    assert not [f for f in result.findings if f.metric == "preference.worst_subset_accuracy"]
