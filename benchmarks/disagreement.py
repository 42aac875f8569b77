"""How long does `disagreement` take on a million pairs and five members?

    python benchmarks/disagreement.py [--pairs 1000000] [--members 5]

Rewards are drawn, not scored. Prints time, processor time and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from rmaudit.audits.disagreement import Disagreement
from rmaudit.case import Case
from rmaudit.data.types import Dataset, Source
from rmaudit.rewards.functions.function import given_function
from rmaudit.scoring.requests import Column, Key, Scores


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--members", type=int, default=5)
    given = parser.parse_args()
    n = given.pairs
    frame = pd.DataFrame(
        {
            "id": np.arange(n).astype(str),
            "prompt": [f"prompt {i // 2}" for i in range(n)],  # two pairs per prompt
            "chosen": [f"chosen {i}" for i in range(n)],
            "rejected": [f"rejected {i}" for i in range(n)],
            "tie": False,
            "row": np.arange(1, n + 1),
        }
    )
    model = given_function(lambda texts: [0.0] * len(texts))
    case = Case(model, Dataset("preference", frame, Source("drawn", "0" * 64, n, n, 0)))
    shared = np.random.default_rng(0).normal(size=n) + 0.5
    members = [columns(shared, 1 + seed) for seed in range(given.members)]
    scores = Scores(case.data_requests, members[0], members=members)
    started, busy = time.perf_counter(), time.process_time()
    result = Disagreement().measure(case, scores)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    area = result["disagreement.error_auroc"]
    print(
        f"{n:,} pairs, {given.members} members: {seconds:.1f} s (processor {busy:.1f} s), peak "
        f"memory {peak:.1f} GB; error AUROC {area.value:.4f} [{area.low:.4f}, {area.high:.4f}]"
    )


def columns(shared: np.ndarray, seed: int) -> dict[Key, Column]:
    """A member's rewards: what all see, and noise of its own."""
    rng, n = np.random.default_rng(seed), len(shared)
    no, one = np.zeros(n, dtype=bool), np.ones(n, dtype=np.int64)
    rewards = {"chosen": shared + rng.normal(size=n), "rejected": rng.normal(size=n)}
    return {
        ("eval", "", side, "plain"): Column(reward, one, one, no, no, no)
        for side, reward in rewards.items()
    }


if __name__ == "__main__":
    main()
