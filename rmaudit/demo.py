"""The embedded default: the clinic world, a reward-model ensemble trained on it, and its audit.

Feedback is narrow (mostly polite scheduling), deployment is broad. The page shows what the reward
model learnt instead of what was meant.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rmaudit.api import audit
from rmaudit.data import load
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.worlds.clinic.world import ClinicWorld

if TYPE_CHECKING:
    import pandas as pd

    from rmaudit.console import Console
    from rmaudit.report.document import Report
    from rmaudit.rewards.base import RewardModel

FEEDBACK_PAIRS = 2400
EVALUATION_PAIRS = 800
DEPLOYMENT_CONTEXTS = 1200
SAMPLES = (150, 16)  # prompts, replies each
SEARCH_TEXTS = 300  # a search: enough for a model this small


def run(out: Path, seed: int, console: Console, *, train: bool = True) -> Report:
    """Draw the data into ``out/inputs``, train there (or take a synthetic model), audit, save."""
    inputs = out / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    paths = draw(ClinicWorld(seed), inputs, seed)
    model = _train(paths, inputs, seed, console) if train else _synthetic()
    report = audit(
        model,
        paths["eval"],
        feedback=paths["feedback"],
        deployment=paths["deployment"],
        samples=paths["samples"],
        seed=seed,
        search_texts=SEARCH_TEXTS,
        store=inputs / "scores.sqlite",
        progress=console.progress(),
        debug=console.debug,
    )
    report.save(out)
    return report


def draw(world: ClinicWorld, folder: Path, seed: int) -> dict[str, Path]:
    """The four tables of an audit, drawn from the world, as JSONL files by option name."""
    rng = np.random.default_rng(seed)
    tables = {
        "feedback": world.draw_feedback(FEEDBACK_PAIRS, rng),
        "eval": world.draw_evaluation(EVALUATION_PAIRS, rng),
        "deployment": world.draw_deployment(DEPLOYMENT_CONTEXTS, rng),
        "samples": world.draw_samples(*SAMPLES, rng),
    }
    return {name: _write(table, folder / f"{name}.jsonl") for name, table in tables.items()}


def _write(table: pd.DataFrame, path: Path) -> Path:
    table.to_json(path, orient="records", lines=True, force_ascii=False)
    return path


def _train(paths: dict[str, Path], folder: Path, seed: int, console: Console) -> RewardModel:
    """Three small transformers, from different seeds, on the same feedback."""
    from rmaudit.training.reward.train import train_reward_model
    from rmaudit.training.tiny import DEMO_TRAINING, tiny_base

    feedback = load(paths["feedback"])
    frame = feedback.frame
    texts = [*map(str, frame["prompt"]), *frame["chosen"], *frame["rejected"]]
    base = tiny_base(folder / "base", texts)
    console.say(f"training {DEMO_TRAINING.members} reward models on {len(feedback)} pairs")
    with console.training() as on_progress:
        done = train_reward_model(
            base,
            feedback,
            folder / "model",
            config=DEMO_TRAINING.but(seed=seed),
            on_progress=on_progress,
        )
    for member in done.members:
        console.say(
            f"member {member.seed - seed}: held-out accuracy {member.held_out_accuracy:.3f} "
            f"on feedback like its own, {member.pairs_per_second:.0f} pairs/s"
        )
    return load_reward_model(folder / "model")


def _synthetic() -> RewardModel:
    members = [
        load_reward_model(f"python:rmaudit.worlds.clinic.careful_tone:member_{i}") for i in range(3)
    ]
    return Ensemble(members, name="careful (synthetic)")
