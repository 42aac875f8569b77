"""Outputs like the feedback are inside its support, others are not."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from planted import preferences

from rmaudit.errors import DataError
from rmaudit.rewards.base import Text
from rmaudit.training.support import outside_support


def outputs(n: int, seed: int) -> list[Text]:
    frame = preferences(n, seed=seed).frame
    return [Text("p", output) for output in [*frame["chosen"], *frame["rejected"]]]


def test_an_unmoved_policy_is_outside_as_often_as_promised() -> None:
    shares = []
    for seed in range(16):
        outside = outside_support(preferences(300, seed=seed, prompts=90), seed=seed)
        like = outside(outputs(100, seed=seed + 1000))
        assert set(like) <= {0.0, 1.0}
        shares.append(like.mean())
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - 1 / 31) <= 4 * error  # 30 prompts are held out
    assert error < 0.015


def test_what_the_feedback_never_says_is_outside() -> None:
    outside = outside_support(preferences(300, prompts=90))
    unlike = outside([Text("p", f"word{i} never seen{i} anywhere{i}") for i in range(50)])
    assert unlike.mean() > 0.9
    some = outputs(200, seed=7)
    assert np.array_equal(outside(some), outside_support(preferences(300, prompts=90))(some))


def test_too_few_prompts_say_so() -> None:
    few = preferences(300)
    with pytest.raises(DataError, match="30 distinct prompts: the support test needs 50"):
        outside_support(few)
    with pytest.raises(DataError, match="distinct prompts"):
        outside_support(replace(few, frame=few.frame.head(5)))
