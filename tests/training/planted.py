"""Preference data whose rule a tiny model can learn."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rmaudit.data.types import Dataset, Source

WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
TEXTS = [*WORDS, "good bad number ?", *map(str, range(30))]  # all words of the preferences


def preferences(n: int, seed: int = 0, prompts: int = 30) -> Dataset:
    """Pairs in which the chosen output says "good" and the rejected one "bad"."""
    rng = np.random.default_rng(seed)

    def words(low: int, high: int) -> str:
        return " ".join(rng.choice(WORDS, rng.integers(low, high)))

    questions = [f"{words(1, 9)} number {i}?" for i in range(prompts)]
    rows = [
        {
            "id": str(i),
            "prompt": questions[rng.integers(prompts)],
            "chosen": f"{words(0, 9)} good {words(0, 4)}",
            "rejected": f"{words(0, 9)} bad {words(0, 4)}",
            "tie": False,
            "row": i + 1,
        }
        for i in range(n)
    ]
    return Dataset("preference", pd.DataFrame(rows), Source("planted.jsonl", "", n, n, 0))
