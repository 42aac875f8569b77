"""How fast, and how near to exact, is the conformal support at scale?

    python benchmarks/coverage.py [--deployment 100000] [--feedback 1000000] [--dimensions 384]

Vectors are made, not embedded: topics of unequal size, with as many directions inside a topic as
embeddings of sentences have (about ten). Prints time, peak memory and recall against exact
neighbours of 10,000 deployment contexts (which takes longer than all the rest: --no-exact).
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from rmaudit.support.conformal import (
    NEIGHBOURS,
    Calibration,
    neighbour_distance,
    split_prompts,
    support_share,
)
from rmaudit.support.neighbours import exact, nearest
from rmaudit.typing import Vectors

TOPICS, DIRECTIONS, RECALL_SAMPLE = 3000, 10, 10_000


def main() -> None:
    """Make the vectors, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deployment", type=int, default=100_000)
    parser.add_argument("--feedback", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=384)
    parser.add_argument("--no-exact", action="store_true")
    given = parser.parse_args()
    world = np.random.default_rng(0)
    centres = world.normal(size=(TOPICS, given.dimensions)).astype(np.float32)
    axes = world.normal(size=(TOPICS, DIRECTIONS, given.dimensions)).astype(np.float32)
    feedback = vectors(given.feedback, centres, axes, np.random.default_rng(1))
    deployment = vectors(given.deployment, centres, axes, np.random.default_rng(2))
    measure(feedback, deployment)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.1f} GB")
    if not given.no_exact:
        recall(feedback, deployment)


def vectors(n: int, centres: Vectors, axes: Vectors, rng: np.random.Generator) -> Vectors:
    """(n, dimensions), rows of length one; topic t has a share proportional to 1 / (t + 10)."""
    share = 1 / (np.arange(len(centres)) + 10)
    topics = np.sort(rng.choice(len(centres), n, p=share / share.sum()))
    made = np.empty((n, centres.shape[1]), dtype=np.float32)
    for topic in np.unique(topics):
        rows = topics == topic
        inside = rng.standard_normal((int(rows.sum()), axes.shape[1]), dtype=np.float32)
        made[rows] = centres[topic] + 0.25 * inside @ axes[topic]
    made += 0.1 * rng.standard_normal(made.shape, dtype=np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made[rng.permutation(n)]


def measure(feedback: Vectors, deployment: Vectors) -> None:
    """The reading of kappa, as the audit takes it."""
    started, busy = time.perf_counter(), time.process_time()
    prompts = [str(i) for i in range(len(feedback))]
    near, held_out = split_prompts(prompts, np.random.default_rng(3))
    reference = feedback[near]
    queries = np.concatenate([feedback[held_out], deployment])
    distance = neighbour_distance(queries, reference)
    held, distance = np.split(distance, [len(held_out)])
    calibration = Calibration(held, len(feedback))
    kappa = support_share(distance, calibration, np.arange(len(distance)))
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    outside = float(np.mean(calibration.outside(distance)))
    print(
        f"{len(deployment):,} contexts against {len(feedback):,}: {seconds:.1f} s "
        f"(processor {busy:.1f} s); kappa {kappa.value:.4f} "
        f"[{kappa.low:.4f}, {kappa.high:.4f}], outside {outside:.4f}"
    )


def recall(feedback: Vectors, deployment: Vectors) -> None:
    """Share of the exact neighbours found, on a sample of the deployment."""
    sample = deployment[:RECALL_SAMPLE]
    found = nearest(deployment, feedback, NEIGHBOURS).place[: len(sample)]
    true = exact(sample, feedback, NEIGHBOURS)[1]
    hits = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    print(f"recall on {len(sample):,} contexts: {np.sum(hits) / true.size:.4f}")


if __name__ == "__main__":
    main()
