"""The two-sample test: its promise on equal sets, its power on others, and what it counts."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfinv
from scipy.stats import binom

from rmaudit.support.two_sample import told_apart
from rmaudit.typing import Vectors


def unit(points: np.ndarray) -> Vectors:
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def names(letter: str, n: int) -> list[str]:
    return [f"{letter}{i}" for i in range(n)]


def test_interval_of_equal_sets_holds_one_half() -> None:
    draws, held, values = 200, 0, []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        sets = [(unit(rng.normal(size=(60, 8))), names(letter, 60)) for letter in "ab"]
        auroc = told_apart(*sets, rng).auroc
        values.append(auroc.value)
        held += auroc.low <= 0.5 <= auroc.high
    # Half of the prompts are tested, 30 of each set: the SD of the rank test of equal sets.
    deviation = math.sqrt(61 / (12 * 30 * 30))
    assert abs(np.mean(values) - 0.5) < 4 * deviation / math.sqrt(draws)
    # 95 % but for two points, what a t interval of 60 rows misses; by chance one in a thousand.
    assert binom.ppf(0.0005, draws, 0.93) <= held <= binom.ppf(0.9995, draws, 0.97)


def test_detectable_shift_is_found_eight_times_in_ten() -> None:
    """Sets that differ by the shift whose AUROC is the one said to be detectable."""
    n, draws = 400, 150
    rng = np.random.default_rng(0)
    least = math.sqrt((n + 1) / (12 * (n / 2) ** 2)) * (1.96 + 0.8416) + 0.5
    move = 2 * float(erfinv(2 * least - 1))  # normal means so far apart have this AUROC
    found = 0
    for _ in range(draws):
        # One direction alone differs and nothing else varies, so the classifier is the best one.
        a, b = rng.normal(size=n), rng.normal(move, 1, n)
        sets = [
            (np.column_stack([x, np.ones(n)]).astype(np.float32), names(letter, n))
            for letter, x in (("a", a), ("b", b))
        ]
        result = told_apart(*sets, rng)
        found += result.auroc.low > 0.5
    assert math.isclose(result.detectable.value, least, abs_tol=0.01)
    assert binom.ppf(0.0005, draws, 0.8) - 5 <= found <= binom.ppf(0.9995, draws, 0.8) + 5


def test_a_prompt_counts_once_and_cannot_be_told_from_itself() -> None:
    rng = np.random.default_rng(1)
    points = unit(rng.normal(size=(40, 6)))
    same = (points, names("a", 40))
    assert told_apart(same, same, np.random.default_rng(2)).auroc.value == 0.5
    other = (unit(rng.normal(3, 1, (40, 6))), names("b", 40))
    once = told_apart(same, other, np.random.default_rng(3))
    often = told_apart(
        (np.repeat(points, 5, axis=0), [name for name in same[1] for _ in range(5)]),
        other,
        np.random.default_rng(3),
    )
    assert once.auroc == often.auroc
    assert once.auroc.value > 0.95
    assert once.alike < 0.2
    assert np.isfinite(once.score).sum() < 40  # the half that the classifier was fitted on


def test_few_prompts_are_undefined_with_the_count() -> None:
    rng = np.random.default_rng(0)
    few, many = [(unit(rng.normal(size=(n, 4))), names(str(n), n)) for n in (24, 90)]
    result = told_apart(few, many, rng)
    assert result.auroc.undefined_reason is not None
    assert "24 and 90 distinct prompts" in result.auroc.undefined_reason
    assert math.isnan(result.detectable.value)
