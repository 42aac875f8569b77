"""The performance gap as the audit reports it: planted outside the support, and what it lacks."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_rewards import table

from rmaudit.audits.generalization.audit import Generalization
from rmaudit.case import Case
from rmaudit.stats.tilting import performance_gap

DAYS = ["monday", "tuesday", "friday", "sunday", "april", "june", "noon", "evening"]
Make = Callable[..., Case]


def prompts(kind: str, n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    start = {"known": "please book a visit on", "new": "sudden chest pain since"}[kind]
    return [f"{start} {' '.join(rng.choice(DAYS, 3))} {i}" for i in range(n)]


def pairs(kind: str, n: int, seed: int) -> list[dict[str, Any]]:
    rows = [{"prompt": p, "chosen": "9", "rejected": "1"} for p in prompts(kind, n, seed)]
    return rows


def samples(seed: int, known: int = 40, new: int = 20, k: int = 16) -> list[dict[str, Any]]:
    """Outputs are numbers; gold is the number."""
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in prompts("known", known, seed) + prompts("new", new, seed):
        gold = rng.normal(size=k).round(4).tolist()
        rows.append({"prompt": prompt, "outputs": [str(g) for g in gold], "gold_rewards": gold})
    return rows


def reward(prompt: str, output: str) -> float:
    """Right about what is known; of what is new, the opposite of the truth."""
    return float(output) * (1 if "please" in prompt else -1)


@pytest.fixture
def case(make_case: Make) -> Case:
    return make_case(
        pairs("known", 40, 1) + pairs("new", 20, 2),
        reward,
        feedback=table(pairs("known", 300, 3)),
        samples=table(samples(4), "samples"),
    )


def test_gap_is_that_of_the_samples_and_lies_outside(case: Case, run_audit: Any) -> None:
    result = run_audit(Generalization(), case)
    assert case.samples is not None
    gold = np.array(case.samples.frame["gold_rewards"].tolist())
    proxy = gold * np.where(np.arange(60) < 40, 1, -1)[:, None]
    for beta in (1.0, 2.0):
        known = performance_gap(gold, proxy, beta, np.arange(60))
        found = result.get("generalization.delta_j", beta=f"{beta:g}")
        assert found.value == pytest.approx(known.gap.value)
        row = result.tables["performance_gap"].set_index("beta").loc[beta]
        # Contexts inside that the model is right about lose nothing; all the gap is outside.
        assert row["inside"] == pytest.approx(0, abs=0.02)
        outside = result.get("generalization.delta_j_outside", beta=f"{beta:g}")
        assert outside.value == pytest.approx(row["outside"])
        assert row["outside_contribution"] == pytest.approx(found.value, abs=0.02)
        assert outside.low > found.value
    titles = [f.title for f in result.findings if f.metric == "generalization.delta_j_outside"]
    assert len(titles) == 1
    assert "outside the support" in titles[0]


def test_recorded_proxy_rewards_are_enough(case: Case, make_case: Make, run_audit: Any) -> None:
    rows = samples(4)
    for row in rows:
        row["proxy_rewards"] = [reward(row["prompt"], o) for o in row["outputs"]]
        row["outputs"] = [""] * len(row["outputs"])
    given = make_case(
        pairs("known", 40, 1) + pairs("new", 20, 2),
        reward,
        feedback=case.feedback,
        samples=table(rows, "samples"),
    )
    by_text, by_number = (run_audit(Generalization(), c) for c in (case, given))
    for beta in ("1", "8"):
        one, other = (r.get("generalization.delta_j", beta=beta) for r in (by_text, by_number))
        assert one.value == pytest.approx(other.value)


def test_lists_of_different_length_and_missing_values(make_case: Make, run_audit: Any) -> None:
    rows = samples(5)
    rows[0]["outputs"], rows[0]["gold_rewards"] = ["1.0"], [1.0]
    rows[1]["gold_rewards"][3] = math.nan
    case = make_case(
        pairs("known", 30, 1),
        reward,
        feedback=table(pairs("known", 200, 3)),
        samples=table(rows, "samples"),
    )
    assert run_audit(Generalization(), case).get("generalization.delta_j", beta="1").n == 59


def test_what_it_lacks_is_said(make_case: Make, run_audit: Any) -> None:
    feedback = table(pairs("known", 100, 3))
    without = make_case(pairs("known", 30, 1), reward, feedback=feedback)
    needs = {part.what: part.needs for part in run_audit(Generalization(), without).not_run}
    assert "gold_rewards" in needs["delta_j"]
    constant = make_case(
        pairs("known", 30, 1),
        lambda prompt, output: 0.0,
        feedback=feedback,
        samples=table(samples(6), "samples"),
    )
    estimate = run_audit(Generalization(), constant).get("generalization.delta_j", beta="1")
    assert math.isnan(estimate.value)
    assert "model's reward is the same" in (estimate.undefined_reason or "")
