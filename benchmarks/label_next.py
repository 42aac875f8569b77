"""Label what the coverage audit suggests, retrain, audit again: does the hole close?

    python benchmarks/label_next.py [SEEDS]

In the clinic world: a small transformer on narrow feedback; then the same with the 300 contexts of
the table `label_next` labelled by the world's annotators, eight comparisons each (with one, so
small a model hardly learns that what is wanted here is unwanted elsewhere); and, as the control,
with 300 more contexts drawn like the feedback, labelled as often. Prints a Markdown row for each,
over all seeds.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import rmaudit as rma
from rmaudit.console import Console
from rmaudit.demo import draw
from rmaudit.training.reward.train import train_reward_model
from rmaudit.training.tiny import DEMO_TRAINING, tiny_base
from rmaudit.worlds.clinic.world import ClinicWorld

HOLE = "urgent symptom"
COMPARISONS = 8  # of each context that is labelled
EVALUATION_PAIRS = 3500  # one in seven is urgent
TRAINING = DEMO_TRAINING.but(members=1, epochs=6)
NUMBERS = {
    f"accuracy, {HOLE}": ("preference.accuracy", {"subset": HOLE}),
    "accuracy": ("preference.accuracy", {}),
    "kappa deficit": ("coverage.kappa_deficit", {}),
    "holes": ("coverage.holes", {}),
}


def audited(folder: Path, name: str, feedback: pd.DataFrame, seed: int) -> rma.Report:
    """Train on the feedback and audit what comes out."""
    data = rma.load(feedback)
    texts = [*map(str, feedback["prompt"]), *feedback["chosen"], *feedback["rejected"]]
    base = tiny_base(folder / f"{name}-base", texts)
    model = folder / name
    train_reward_model(base, data, model, config=TRAINING.but(seed=seed))
    return rma.audit(
        rma.load_reward_model(model),
        folder / "eval.jsonl",
        feedback=data,
        deployment=folder / "deployment.jsonl",
        only=["preference", "coverage"],
        cache=False,
    )


def one_seed(seed: int) -> dict[str, rma.Report]:
    """Before, after the suggested labels, and after as many of the usual ones."""
    world, rng = ClinicWorld(seed), np.random.default_rng([seed, 1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(world, folder, seed)
        evaluation = world.draw_evaluation(EVALUATION_PAIRS, rng)
        evaluation.to_json(folder / "eval.jsonl", orient="records", lines=True)
        feedback = pd.read_json(folder / "feedback.jsonl", lines=True)
        before = audited(folder, "before", feedback, seed)
        table = before.audits["coverage"].tables["label_next"]
        ids = [row[table.columns.index("id")] for row in table.rows]
        deployment = rma.load(folder / "deployment.jsonl").frame.set_index("id")
        asked = deployment.loc[ids, "context"].to_numpy(dtype=np.int64)
        usual = world.draw_feedback(len(ids), rng)["context"].to_numpy(dtype=np.int64)
        reports = {"before": before}
        for label, contexts in (("suggested labels", asked), ("as many of the usual", usual)):
            more = world.label(np.repeat(contexts, COMPARISONS), rng)
            more["id"] = [f"{label} {i}" for i in range(len(more))]
            together = pd.concat([feedback, more], ignore_index=True)
            reports[f"after: {label}"] = audited(folder, label.replace(" ", "-"), together, seed)
        return reports


def main() -> None:
    """One row a state: means over seeds, and the range of the seeds' values."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1  # eight minutes of one processor each
    console = Console()
    found: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        for state, report in one_seed(seed).items():
            numbers = [report.get(id_, **where).value for id_, where in NUMBERS.values()]
            found.setdefault(state, []).append(numbers)
            shown = zip(NUMBERS, numbers, strict=True)
            console.say(f"seed {seed}, {state}: " + ", ".join(f"{k} {v:.3f}" for k, v in shown))
    print(f"| {seeds} seeds | " + " | ".join(NUMBERS) + " |")
    print("| --- |" + " --- |" * len(NUMBERS))
    for state, rows in found.items():
        values = np.array(rows)
        cells = [
            f"{m:.2f} ({low:.2f} to {high:.2f})"
            for m, low, high in zip(
                values.mean(axis=0), values.min(axis=0), values.max(axis=0), strict=True
            )
        ]
        print(f"| {state} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
