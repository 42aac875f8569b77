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
    return [Text("p", output) for output in frame["chosen"]]


def test_five_percent_of_the_like_and_all_of_the_unlike_are_outside() -> None:
    outside = outside_support(preferences(300))
    like = outside(outputs(400, seed=7))
    assert set(like) <= {0.0, 1.0}
    # 5 % at most, with the error of 400 samples and about 200 calibration rows
    assert like.mean() < 0.05 + 5 * math.sqrt(0.05 * 0.95 * (1 / 400 + 1 / 200))
    unlike = outside([Text("p", f"word{i} never seen{i} anywhere{i}") for i in range(50)])
    assert unlike.mean() > 0.9
    assert np.array_equal(outside(outputs(400, seed=7)), like)


def test_too_little_feedback_says_so() -> None:
    few = preferences(300)
    with pytest.raises(DataError, match="at least 30"):
        outside_support(replace(few, frame=few.frame.head(5)))
