"""One rule against one interval, by hand and by simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from rmaudit.gating.decision import decide
from rmaudit.stats.law import Law
from rmaudit.stats.multiple import holm

MANY = 10**9  # prompts: Student's law is the normal one


def interval(value: float, error: float, n: int = MANY) -> Law:
    reach = t.ppf(0.975, n - 1) * error
    return Law(value, value - reach, value + reach, 0.95, n)


def test_one_sided_bounds_are_the_value_plus_or_minus_1645_standard_errors() -> None:
    stated = interval(0.7, 0.02)
    assert stated.lower(0.95) == pytest.approx(0.7 - 1.6448536 * 0.02, abs=1e-8)
    assert stated.upper(0.95) == pytest.approx(0.7 + 1.6448536 * 0.02, abs=1e-8)


@pytest.mark.parametrize("n", [3, 5, 20])
def test_with_few_prompts_the_p_value_is_students(n: int) -> None:
    few = interval(0.66, 0.02, n)
    assert decide(few, 0.70, None, 0.95).p_fail == pytest.approx(t.cdf(-2, n - 1))
    # By the normal law z = -2 fails at 5 %; with five prompts p is 0.058.
    assert decide(interval(0.66, 0.02, 5), 0.70, None, 0.95).verdict == "inconclusive"


@pytest.mark.parametrize(
    ("value", "verdict"), [(0.74, "pass"), (0.72, "inconclusive"), (0.66, "fail")]
)
def test_a_minimum_is_passed_failed_or_left_open(value: float, verdict: str) -> None:
    # The one-sided half-width is 1.645 x 0.02 = 0.033: 0.74 clears 0.70, 0.66 misses it.
    assert decide(interval(value, 0.02), 0.70, None, 0.95).verdict == verdict


def test_a_maximum_is_the_mirror_of_a_minimum() -> None:
    stated = interval(0.3, 0.02)
    mirrored = interval(-0.3, 0.02)
    one, two = decide(stated, None, 0.28, 0.95), decide(mirrored, -0.28, None, 0.95)
    assert one == replace(two, bound=-two.bound)


def test_a_rule_with_both_bounds_takes_the_worse() -> None:
    assert decide(interval(0.0, 0.01), -0.05, 0.05, 0.95).verdict == "pass"
    assert decide(interval(0.04, 0.01), -0.05, 0.05, 0.95).verdict == "inconclusive"
    assert decide(interval(0.09, 0.01), -0.05, 0.05, 0.95).verdict == "fail"


def test_prompts_needed_shrink_the_half_width_to_the_distance() -> None:
    # Half-width 0.033 against a distance of 0.0165: twice as narrow takes four times the prompts.
    half = norm.ppf(0.95) * 0.02
    stated = interval(0.70 + half / 2, 0.02)
    decision = decide(replace(stated, n_prompts=100, df=MANY), 0.70, None, 0.95)
    assert decision.prompts_needed in (400, 401)  # rounding up


def test_at_the_threshold_no_number_of_prompts_settles_it() -> None:
    assert decide(interval(0.70, 0.02), 0.70, None, 0.95).prompts_needed is None


def test_an_exact_count_passes_or_fails() -> None:
    exact = Law(3.0, 3.0, 3.0, 0.95, 10, exact=True)
    assert decide(exact, None, 3, 0.95).verdict == "pass"
    assert decide(exact, None, 2, 0.95).verdict == "fail"
    assert decide(exact, None, 2, 0.95).p_fail == 0.0


def test_prompts_that_all_agree_are_no_certainty() -> None:
    # A mean of n equal values: the sign test has p = 2^-n.
    four, five = (Law(0.3, 0.3, 0.3, 0.95, n) for n in (4, 5))
    assert decide(four, 0.5, None, 0.95).verdict == "inconclusive"
    assert decide(four, 0.5, None, 0.95).prompts_needed == 5
    assert decide(five, 0.5, None, 0.95).p_fail == 1 / 32
    assert decide(four, 0.2, None, 0.95).verdict == "inconclusive"
    assert decide(five, 0.2, None, 0.95).verdict == "pass"


def test_a_count_is_never_a_normal_variable() -> None:
    holds = Law(1.0, 0.0, 1.0, 0.95, 300, count=True)
    assert decide(holds, None, 0, 0.95).verdict == "inconclusive"
    assert decide(holds, None, 0, 0.95).prompts_needed is None
    assert decide(holds, None, 1, 0.95).verdict == "pass"
    certain = Law(2.0, 1.0, 4.0, 0.95, 300, count=True)
    assert decide(certain, None, 0, 0.95).p_fail == pytest.approx(0.025)
    # With the p-values of "at most 0, 1, 2": the second thing is not certain at 5 %.
    told = Law(3.0, 1.0, 4.0, 0.95, 300, more_than=(1e-6, 0.2, 0.4), count=True)
    assert decide(told, None, 0, 0.95).p_fail == 1e-6
    assert decide(told, None, 1, 0.95).verdict == "inconclusive"
    assert told.lower(0.95) == 1
    assert told.p_at_most(7) == 1


def test_holm_by_hand() -> None:
    # 4 x 0.01; then 3 x 0.02 = 0.06; then 2 x 0.03 = 0.06; then max(0.06, 0.5).
    assert holm([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.06, 0.5, 0.04, 0.06])


def test_family_wise_false_fails_at_the_boundary() -> None:
    # Ten true metrics exactly at their thresholds: Holm at 5 % lets at most 5 % of reports fail.
    rng = np.random.default_rng(0)
    reports, rules, error = 2000, 10, 0.02
    false_fails = 0
    for _ in range(reports):
        values = 0.7 + error * rng.standard_normal(rules)
        adjusted = holm([decide(interval(v, error), 0.7, None, 0.95).p_fail for v in values])
        false_fails += any(p < 0.05 for p in adjusted)
    # 5 % plus 3.9 Monte Carlo standard errors of a share of 2,000.
    assert false_fails / reports <= 0.05 + 3.9 * np.sqrt(0.05 * 0.95 / reports)
