"""Weights & Biases: a run per audit, with the pages as an artifact. WANDB_MODE=offline works."""

from __future__ import annotations

import os

from rmaudit.export.trackers import PROJECT, Logged, Tracker, artifact_name, register_tracker


@register_tracker
class Wandb(Tracker):
    """``wandb:PROJECT``, or ``wandb`` with WANDB_PROJECT; a run that is open already is used."""

    name = "wandb"
    package = "wandb"
    accepted = "wandb[:PROJECT]"

    def log(self, logged: Logged, place: str) -> str:
        """See `Tracker.log`."""
        import wandb

        run, begun = wandb.run, wandb.run is None
        if run is None:
            run = wandb.init(
                project=place or os.environ.get("WANDB_PROJECT", PROJECT),
                name=logged.name,
                config=dict(logged.settings),
                job_type="audit",
                settings=wandb.Settings(silent=True),
            )
        # The summary, not the history: where a run is open its steps are the trainer's.
        run.summary.update({**logged.numbers, "verdict": logged.answer})
        if begun:
            run.log(dict(logged.numbers), step=logged.step)
        artifact = wandb.Artifact(artifact_name(logged.name), type="audit")
        for file in logged.files:
            artifact.add_file(str(file))
        run.log_artifact(artifact)
        where = f"wandb run {run.id} ({'offline, in ' + run.dir if run.offline else run.url})"
        if begun:
            run.finish()
        return where
