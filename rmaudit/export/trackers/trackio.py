"""trackio: a run per audit in a local (or Space) project, with the pages as an artifact."""

from __future__ import annotations

from rmaudit.export.trackers import PROJECT, Logged, Tracker, artifact_name, register_tracker


@register_tracker
class Trackio(Tracker):
    """``trackio:PROJECT``, or ``trackio`` alone; a run that is open already is used."""

    name = "trackio"
    package = "trackio"
    accepted = "trackio[:PROJECT]"

    def log(self, logged: Logged, place: str) -> str:
        """See `Tracker.log`."""
        import trackio
        from trackio.context_vars import current_run

        run, begun = current_run.get(), current_run.get() is None
        if run is None:
            config = {**logged.settings, "verdict": logged.answer}
            run = trackio.init(project=place or PROJECT, name=logged.name, config=config)
        run.log(dict(logged.numbers), step=logged.step if begun else None)
        # An artifact, as plain files belong to the project: the next audit would replace them.
        artifact = trackio.Artifact(artifact_name(logged.name), type="audit")
        for file in logged.files:
            artifact.add_file(str(file))
        kept = run.log_artifact(artifact)
        if begun:
            trackio.finish()
        return (
            f"trackio project {run.project}, run {run.name}, pages in {kept.name} "
            f"(trackio show --project {run.project})"
        )
