"""What `preference` finds, what it leaves undefined, and accuracy by strength of preference."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from preference_rows import (
    FIVE,
    Make,
    Run,
    given,
    random_pairs,
)

from rmaudit.audits.preference.audit import Preference
from rmaudit.case import Case
from rmaudit.results import AuditResult


def findings(result: AuditResult) -> dict[str, str]:
    return {finding.metric: finding.severity for finding in result.findings}


def test_a_good_model_has_no_findings(make_case: Make, run_audit: Run) -> None:
    rng = np.random.default_rng(10)
    frame = random_pairs(600, 300, seed=11, ties=0.0)
    sides = {"chosen": rng.normal(1.5, 1, 600), "rejected": rng.normal(0, 1, 600)}
    result = run_audit(Preference(), make_case(frame), rewards=sides)
    assert result.findings == ()


def test_faults_are_found(make_case: Make, run_audit: Run) -> None:
    rng = np.random.default_rng(12)
    frame = random_pairs(600, 300, seed=11, ties=0.3)
    noise = {"chosen": rng.normal(0, 1, 600), "rejected": rng.normal(0, 1, 600)}
    chance = run_audit(Preference(), make_case(frame), rewards=noise)
    assert findings(chance)["preference.accuracy"] == "high"
    assert "chance" in chance.findings[0].title
    assert len(chance.findings[0].examples) == 5
    shown = chance.findings[0].examples[0]
    decided = ~frame["tie"].to_numpy()
    assert shown["reward_rejected"] - shown["reward_chosen"] == pytest.approx(
        (noise["rejected"] - noise["chosen"])[decided].max()
    )
    assert findings(chance)["preference.margin_mean"] == "low"  # labelled ties
    against = {"chosen": noise["chosen"] - 1, "rejected": noise["rejected"]}
    title = run_audit(Preference(), make_case(frame), rewards=against).findings[0].title
    assert "against the labels" in title
    weak = np.where(frame["subset"] == "code", -1.5, 1.5)
    one = run_audit(
        Preference(), make_case(frame), rewards={**noise, "chosen": noise["chosen"] + weak}
    )
    found = [f for f in one.findings if f.metric == "preference.worst_subset_accuracy"]
    assert found[0].severity == "high"
    assert "code" in found[0].title
    coarse = {side: np.round(values / 3) for side, values in noise.items()}
    tied = run_audit(Preference(), make_case(frame), rewards=coarse)
    assert findings(tied)["preference.tie_rate"] == "high"


def test_a_blind_rule_that_ranks_as_well_is_named(make_case: Make, run_audit: Run) -> None:
    rng = np.random.default_rng(13)
    frame = random_pairs(600, 300, seed=11, ties=0.0)
    longer = frame.assign(chosen_length=frame["rejected_length"] + 1)
    sides = {"chosen": rng.normal(0.5, 1, 600), "rejected": rng.normal(0, 1, 600)}
    result = run_audit(
        Preference(), make_case(frame), rewards=sides, lengths=given(longer)["lengths"]
    )
    assert "longer wins" in result.findings[0].title
    assert result.findings[0].severity == "high"


def case_of(make_case: Make, rows: list[dict[str, Any]]) -> Case:
    columns = ["prompt", "chosen", "rejected", "subset"]
    return make_case(pd.DataFrame(rows, columns=columns))


ONE = {"prompt": "p", "chosen": "a b", "rejected": "c", "subset": "s"}


@pytest.mark.parametrize(
    ("rows", "rewards", "reason"),
    [
        ([], {}, "no rows"),
        ([ONE], {}, "one prompt: no interval"),
        ([ONE] * 4, {}, "one prompt: no interval"),
        ([ONE, {**ONE, "prompt": "q"}], {"chosen": [np.nan, np.inf]}, "no rows"),
    ],
)
def test_undefined_with_the_reason(
    rows: list[dict[str, Any]], rewards: Any, reason: str, make_case: Make, run_audit: Run
) -> None:
    result = run_audit(Preference(), case_of(make_case, rows), rewards=rewards)
    accuracy = result["preference.accuracy"]
    assert math.isnan(accuracy.value)
    assert accuracy.undefined_reason == reason
    assert all(math.isnan(m.estimate.value) for m in result.metrics)
    assert all(m.estimate.undefined_reason for m in result.metrics)
    assert result.findings == ()


def test_all_labelled_ties_leave_accuracy_undefined(make_case: Make, run_audit: Run) -> None:
    rows = [{**ONE, "prompt": f"p{i}", "tie": True} for i in range(5)]
    result = run_audit(Preference(), make_case(rows))
    assert result["preference.accuracy"].undefined_reason == "no rows"
    assert len(result.tables["labelled_ties"]) == 4


def test_constant_rewards_are_all_ties(make_case: Make, run_audit: Run) -> None:
    rows = [{**ONE, "prompt": f"p{i}"} for i in range(20)]
    result = run_audit(Preference(), make_case(rows, lambda prompt, output: 0.1))
    assert result["preference.accuracy"].value == 0.5
    assert result["preference.tie_rate"].value == 1.0
    assert result["preference.margin_mean"].undefined_reason == (
        "the reward is the same for all responses of a prompt"
    )


def test_non_finite_pairs_are_counted_and_left_out(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs(ties=0.0)
    kept = frame.iloc[10:].reset_index(drop=True)
    rewards = given(frame)["rewards"]
    rewards["chosen"] = np.r_[[np.nan, np.inf] * 5, rewards["chosen"][10:]]
    result = run_audit(Preference(), make_case(frame), rewards=rewards)
    alone = run_audit(Preference(), make_case(kept), rewards=given(kept)["rewards"])
    assert result["preference.accuracy"].value == alone["preference.accuracy"].value
    assert result.tables["pairs"]["pairs"].tolist() == [
        230,
        alone.tables["pairs"]["pairs"][1],
        0,
        10,
    ]


def test_only_labelled_data_will_do(make_case: Make) -> None:
    case = make_case([{"prompt": "p"}], kind="deployment")
    assert "not deployment" in (Preference().missing(case) or "")
    assert Preference().missing(make_case([ONE])) is None


def test_accuracy_by_strength_of_preference(make_case: Make, run_audit: Run) -> None:
    rows = [{"tie": False, "strength": s, **row} for s, row in zip((3, 1, 1, 3, 0), FIVE)]  # noqa: B905
    result = run_audit(Preference(), make_case(rows))
    table = result.tables["strength"].set_index("strength")
    assert table["accuracy"].to_dict() == {"1": 0.25, "3": 1.0}  # margins 0, -1 and 2, 3
    assert table["pairs"].to_dict() == {"1": 2, "3": 2}
    unit = result["preference.margin_mean"].value / np.mean([2, 0, -1, 3])
    assert table["mean_margin"].to_dict() == pytest.approx({"1": -0.5 * unit, "3": 2.5 * unit})
    sliced = {
        m.slice["strength"]: m.estimate.value for m in result.metrics if "strength" in m.slice
    }
    assert sliced == {"1": 0.25, "3": 1.0}


@pytest.mark.parametrize(
    "strength",
    [[1, 1, 1, 1, 1], [-1, 2, 2, 1, 1], ["much", "little", "much", "little", "none"],
     [None] * 5],
)  # fmt: skip
def test_strengths_that_say_nothing_or_have_a_sign_are_not_used(
    strength: list[object], make_case: Make, run_audit: Run
) -> None:
    rows = [{"tie": False, "margin": s, **row} for s, row in zip(strength, FIVE, strict=True)]
    assert "strength" not in run_audit(Preference(), make_case(rows)).tables


def test_fine_strengths_are_cut_into_thirds(make_case: Make, run_audit: Run) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a b" if i > 8 else "a", "rejected": "c", "tie": False,
             "margin": i / 10} for i in range(12)]  # fmt: skip
    table = run_audit(Preference(), make_case(rows)).tables["strength"]
    assert table["pairs"].tolist() == [4, 4, 4]
    assert table["accuracy"].tolist() == [0.5, 0.5, 0.875]
