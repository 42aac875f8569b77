"""Heavy tails and flat rewards, planted; clean ones; bad input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_rewards import table

from rmaudit.audits.tails import Tails, sample_scales
from rmaudit.audits.teacher import Teacher
from rmaudit.case import Case

Make = Callable[..., Case]
PAIRS = [{"prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)]


def case_of(make_case: Make, rewards: Any, **fields: Any) -> Case:
    """Outputs are their rewards."""
    rows = [
        {"prompt": f"q{i}", "outputs": [repr(float(v)) for v in row]}
        for i, row in enumerate(rewards)
    ]
    return make_case(PAIRS, lambda p, o: float(o), samples=table(rows, "samples"), **fields)


def test_a_heavy_tail_is_found_and_a_normal_one_is_not(make_case: Make, run_audit: Any) -> None:
    rng = np.random.default_rng(0)
    heavy, normal = rng.standard_t(2, size=(200, 16)), rng.normal(size=(200, 16))
    found = run_audit(Tails(), case_of(make_case, heavy))
    assert found["tails.shape"].low > 0.2  # of a Student's t with 2 degrees of freedom: 1/2
    assert found["tails.shape"].high > 0.5
    assert [f.metric for f in found.findings] == ["tails.shape"]
    assert "SD above its prompt's mean" in found.findings[0].examples[0]["note"]
    assert float(found.findings[0].examples[0]["output"]) > 5
    clean = run_audit(Tails(), case_of(make_case, normal))
    assert clean["tails.shape"].value < 0.1
    assert clean.findings == ()
    assert clean.figures[0].kind == "curves"


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_prompts_of_different_spread_are_no_heavy_tail(
    make_case: Make, run_audit: Any, kind: str
) -> None:
    rng = np.random.default_rng(5)
    draw = rng.normal if kind == "normal" else rng.random
    spread = np.exp(0.8 * rng.normal(size=(400, 1)))
    rewards = draw(size=(400, 8)) * spread
    assert run_audit(Tails(), case_of(make_case, rewards)).findings == ()
    # A tail that is heavy within the prompt is found beside the differing spreads.
    heavy = rng.standard_t(1.5, size=(400, 8)) * np.exp(0.4 * rng.normal(size=(400, 1)))
    (finding,) = run_audit(Tails(), case_of(make_case, heavy)).findings
    assert finding.metric == "tails.shape"
    assert finding.p is not None
    assert finding.p < 0.025


def test_prompts_that_are_alike_are_left_as_they_are() -> None:
    rewards = np.random.default_rng(6).normal(size=(2000, 16))
    scales = sample_scales(rewards)
    assert np.log(scales).std() < 0.05
    other = sample_scales(rewards * np.exp(np.random.default_rng(7).normal(size=(2000, 1))))
    assert 0.9 < np.log(other).std() < 1.1  # spreads differ by a factor of e
    assert (sample_scales(rewards[:5]) == 1).all()


def test_a_prompts_level_and_the_unit_do_not_matter(make_case: Make, run_audit: Any) -> None:
    rng = np.random.default_rng(1)
    rewards = rng.exponential(size=(100, 16))
    level = rng.normal(size=(100, 1)) * 10
    one, other = (
        run_audit(Tails(), case_of(make_case, r))["tails.shape"].value
        for r in (rewards, 5 * rewards + level)
    )
    assert one == pytest.approx(other, abs=1e-6)


def test_too_few_samples_and_constant_rewards(make_case: Make, run_audit: Any) -> None:
    for rewards, words in (
        (np.random.default_rng(0).normal(size=(10, 8)), "over the threshold"),
        (np.random.default_rng(0).normal(size=(500, 1)), "over the threshold"),
        (np.ones((200, 8)) * 0.3, "over the threshold"),
    ):
        estimate = run_audit(Tails(), case_of(make_case, rewards))["tails.shape"]
        assert words in (estimate.undefined_reason or "")


def test_within_prompt_sd_by_hand(make_case: Make, run_audit: Any) -> None:
    # Deviations -1, 0, 1 and -2, 0, 2: (2 + 8) / 4 degrees of freedom.
    result = run_audit(Teacher(), case_of(make_case, [[1, 2, 3], [10, 12, 14]]))
    assert result["teacher.within_prompt_sd"].value == pytest.approx(2.5**0.5)
    assert result["teacher.saturated_share"].value == 0


def test_interval_of_the_sd_covers(make_case: Make, run_audit: Any) -> None:
    rng = np.random.default_rng(3)
    rows = np.exp(0.3 * rng.normal(size=(300, 1))) * rng.normal(size=(300, 8))
    estimate = run_audit(Teacher(), case_of(make_case, rows))["teacher.within_prompt_sd"]
    assert estimate.low < np.exp(0.3**2) < estimate.high  # E[exp(2 * 0.3 z)] = exp(2 * 0.09)
    assert estimate.n_clusters == 300


def test_flat_prompts_are_found(make_case: Make, run_audit: Any) -> None:
    rng = np.random.default_rng(2)
    rewards = rng.normal(size=(100, 8))
    rewards[:40] *= 0.001
    result = run_audit(Teacher(), case_of(make_case, rewards))
    assert result["teacher.saturated_share"].value == pytest.approx(0.4)
    assert "40.0% of the prompts" in result.findings[0].title
    assert {e["id"] for e in result.findings[0].examples} <= {f"row{i}" for i in range(40)}
    whole = run_audit(Teacher(), case_of(make_case, rng.normal(size=(100, 8))))
    assert whole.findings == ()


def test_one_outlying_prompt_makes_no_other_flat(make_case: Make, run_audit: Any) -> None:
    rewards = np.random.default_rng(0).normal(size=(40, 8))
    rewards[0] *= 3000
    result = run_audit(Teacher(), case_of(make_case, rewards))
    assert result["teacher.saturated_share"].value == 0
    assert result.findings == ()


def test_differences_lost_beside_levels_or_a_penalty_are_told(
    make_case: Make, run_audit: Any
) -> None:
    rng = np.random.default_rng(0)
    within = 1e-6 * rng.normal(size=(100, 8))
    level = rng.normal(size=(100, 1))
    flat = run_audit(Teacher(), case_of(make_case, within + level))
    assert flat["teacher.saturated_share"].value == 1
    assert {f.metric for f in flat.findings} == {
        "teacher.saturated_share",
        "teacher.within_prompt_sd",
    }
    (finding,) = run_audit(Teacher(), case_of(make_case, within)).findings
    assert finding.metric == "teacher.within_prompt_sd"


def test_prompts_of_the_samples_are_not_taken_for_the_evaluations(
    make_case: Make, run_audit: Any
) -> None:
    proxy = np.random.default_rng(3).normal(size=(200, 8))
    for audit in (Tails(), Teacher()):
        metrics = run_audit(audit, case_of(make_case, proxy)).metrics
        assert metrics
        assert all(metric.estimate.defined for metric in metrics)
        assert all(metric.estimate.influence is None for metric in metrics)


def test_a_constant_reward_teaches_nothing(make_case: Make, run_audit: Any) -> None:
    result = run_audit(Teacher(), case_of(make_case, np.full((30, 4), 0.7)))
    assert result["teacher.within_prompt_sd"].value == 0
    assert result["teacher.saturated_share"].value == 1
    assert result.findings[0].severity == "medium"


def test_what_they_lack(make_case: Make, run_audit: Any) -> None:
    for audit in (Tails(), Teacher()):
        assert "--samples" in (audit.missing(make_case(PAIRS)) or "")
    one = run_audit(Teacher(), case_of(make_case, np.ones((20, 1))))
    assert "two samples" in (one["teacher.within_prompt_sd"].undefined_reason or "")
