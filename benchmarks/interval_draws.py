"""One simulated data set, by name; and what a group of metrics makes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rmaudit.results import Metric

Float = NDArray[np.float64]
Integers = NDArray[np.int64]
Measured = Metric | tuple[Metric, float]  # with the population value, where it is known
MOST = 5  # pairs of a prompt


class Draw(NamedTuple):
    """Which data set: prompts, whether some have several rows, a seed, resamples."""

    prompts: int
    several: bool
    seed: int
    resamples: int

    def rng(self, purpose: int) -> np.random.Generator:
        """Randomness of its own for each purpose."""
        return np.random.default_rng([self.prompts, self.several, self.seed, purpose])

    def prompt_of(self, rng: np.random.Generator) -> Integers:
        """The prompt of each row, (n,): one row each, or one to five."""
        counts = rng.integers(1, MOST + 1, self.prompts) if self.several else 1
        return np.repeat(np.arange(self.prompts), counts)


Group = Callable[[Draw], Iterable[Measured]]
