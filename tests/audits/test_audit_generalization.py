"""Generalization: a model that is right inside the support and wrong outside; and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_rewards import table

from rmaudit.audits.common.support import support
from rmaudit.audits.generalization.audit import Generalization
from rmaudit.case import Case

WORDS = [f"{a}{b}" for a in ("red", "blue", "green", "gold", "grey") for b in ("oak", "elm", "fir")]
Make = Callable[..., Case]


def rows(kind: str, n: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    start = {"known": "please book a visit on", "new": "sudden chest pain since"}[kind]
    return [
        {
            "prompt": f"{start} {' '.join(rng.choice(WORDS, 3))}",
            "chosen": f"we will gladly book {rng.choice(WORDS)}",
            "rejected": f"we will not book {rng.choice(WORDS)} {rng.choice(WORDS)}",
        }
        for _ in range(n)
    ]


def reward(prompt: str, output: str) -> float:
    """Right about what is known; of what is new, wrong, by a larger margin."""
    good = 1.0 if "gladly" in output else 0.0
    return good if "please" in prompt else -3 * good


@pytest.fixture
def case(make_case: Make) -> Case:
    return make_case(
        rows("known", 60, 1) + rows("new", 40, 2), reward, feedback=table(rows("known", 300, 3))
    )


def test_accuracy_by_support(case: Case, run_audit: Any) -> None:
    p = support(case)
    outside, new = int((p <= 0.05).sum()), int((p[60:] <= 0.05).sum())
    assert new >= 36
    inside = (60 - outside + new) / (100 - outside)  # accuracy
    result = run_audit(Generalization(), case)
    # New prompts are ranked wrongly, known ones rightly; a few lie on the other side.
    assert result["generalization.accuracy_in"].value == pytest.approx(inside)
    assert result["generalization.accuracy_out"].value == pytest.approx((outside - new) / outside)
    assert result["generalization.accuracy_gap"].value == pytest.approx(
        inside - (outside - new) / outside
    )
    assert result["generalization.error_distance_auroc"].value > 0.9
    # Over-confidence is sigmoid(1) - 1 on known prompts and sigmoid(3) on new ones.
    sure, very = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    over_out = (new * very + (outside - new) * (sure - 1)) / outside
    expected = over_out - (very * (1 - inside) + (sure - 1) * inside)
    assert result["generalization.calibration_gap"].value == pytest.approx(expected)
    assert result.findings[0].severity == "high"
    assert all("chest" in shown["prompt"] for shown in result.findings[0].examples)
    assert "delta_j" in [part.what for part in result.not_run]


def test_nothing_outside_is_undefined_not_zero(make_case: Make, run_audit: Any) -> None:
    known = rows("known", 100, 3)
    result = run_audit(Generalization(), make_case(known[:1] * 30, reward, feedback=table(known)))
    for name in ("accuracy_out", "accuracy_gap", "calibration_gap"):
        estimate = result[f"generalization.{name}"]
        assert math.isnan(estimate.value)
        assert "two are needed" in (estimate.undefined_reason or "")
    assert "reward_inflation" in [part.what for part in result.not_run]


def test_constant_rewards_count_one_half(case: Case, make_case: Make, run_audit: Any) -> None:
    constant = make_case(case.eval.frame, lambda prompt, output: 2.0, feedback=case.feedback)
    result = run_audit(Generalization(), constant)
    assert result["generalization.accuracy_gap"].value == 0
    assert result["generalization.accuracy_out"].value == 0.5
    assert math.isnan(result["generalization.reward_inflation"].value)


@pytest.mark.parametrize(("truly", "paid"), [(1.5, 1.5), (-0.5, 1.0)])
def test_inflation_is_against_the_truth_that_labels_bear_out(
    make_case: Make, run_audit: Any, truly: float, paid: float
) -> None:
    """Strange responses are truly worth `truly` log-odds more, and paid `paid`."""
    rng = np.random.default_rng(4)
    distinct = {row["prompt"]: row for row in rows("known", 2500, 1)}
    data = list(distinct.values())[:900]
    worth: dict[str, tuple[float, float]] = {}
    for i, row in enumerate(data):
        texts, gains = [], []
        for k in range(2):
            quality, strange = float(rng.normal()), (i + k) % 2 == 0
            start = " ".join(f"zq{j}" for j in rng.integers(10**6, size=12))
            text = start if strange else f"we will gladly book {rng.choice(WORDS)} {i}"
            worth[text] = (quality + truly * strange, quality + paid * strange)
            texts.append(text)
            gains.append(worth[text][0])
        first = rng.random() < 1 / (1 + math.exp(gains[1] - gains[0]))
        row["chosen"], row["rejected"] = texts if first else texts[::-1]

    case = make_case(data, lambda p, o: worth[o][1], feedback=table(rows("known", 300, 3)))
    result = run_audit(Generalization(), case)
    found = result["generalization.reward_inflation"]
    margin = np.array([worth[row["chosen"]][1] - worth[row["rejected"]][1] for row in data])
    sd = math.sqrt(np.mean(margin**2) / 2)  # of two responses: their variance is margin^2 / 2
    assert found.low < (paid - truly) / sd < found.high
    assert found.high - found.low < 0.9
    told = [f.metric for f in result.findings]
    assert ("generalization.reward_inflation" in told) == (paid > truly)


def test_few_distinct_prompts_leave_support_undefined(make_case: Make, run_audit: Any) -> None:
    known = rows("known", 40, 3)
    case = make_case(rows("known", 60, 1), reward, feedback=table(known * 5))
    result = run_audit(Generalization(), case)
    for name in ("accuracy_in", "accuracy_out", "accuracy_gap", "reward_inflation"):
        reason = result[f"generalization.{name}"].undefined_reason
        assert "40 distinct prompts: the support test needs 50" in str(reason)
    assert result["generalization.error_distance_auroc"].undefined_reason != reason


def test_says_what_is_missing(make_case: Make) -> None:
    assert "--feedback" in (Generalization().missing(make_case(rows("known", 3, 0))) or "")
    one = make_case(rows("known", 3, 0), feedback=table(rows("known", 1, 0)))
    assert "two rows" in (Generalization().missing(one) or "")
