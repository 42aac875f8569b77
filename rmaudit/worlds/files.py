"""The clinic world's data sets as files that every command takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rmaudit.worlds.clinic import ClinicWorld


@dataclass(frozen=True, slots=True)
class ClinicFiles:
    """Paths of the four data sets, in JSONL."""

    feedback: Path  # preference data, narrow, labelled by annotators
    evaluation: Path  # preference data, as broad as deployment, labelled by R*
    deployment: Path  # what the assistant will meet
    samples: Path  # replies of pi_pre with their true rewards


def write_clinic(
    folder: str | Path,
    seed: int = 0,
    *,
    feedback: int = 2000,
    evaluation: int = 1400,
    deployment: int = 1400,
    samples: int = 140,
    outputs_per_prompt: int = 16,
) -> ClinicFiles:
    """Draw the four data sets of a clinic world and write them.

    Parameters
    ----------
    seed
        Of the annotators' tastes and of every draw; the same seed gives the same bytes.
    feedback, evaluation, deployment, samples
        Rows of each.
    outputs_per_prompt
        Replies in each row of `samples`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    world = ClinicWorld(seed)
    # A generator each: changing the size of one data set leaves the others as they are.
    rngs = [np.random.default_rng([seed, purpose]) for purpose in range(4)]
    frames = {
        "feedback": world.draw_feedback(feedback, rngs[0]),
        "evaluation": world.draw_evaluation(evaluation, rngs[1]),
        "deployment": world.draw_deployment(deployment, rngs[2]),
        "samples": world.draw_samples(samples, outputs_per_prompt, rngs[3]),
    }
    paths = {name: folder / f"{name}.jsonl" for name in frames}
    for name, frame in frames.items():
        frame.to_json(paths[name], orient="records", lines=True, force_ascii=False)
    return ClinicFiles(**paths)
