"""trackio: a run per audit in a local (or Space) project."""

from __future__ import annotations

from rmaudit.export.trackers import PROJECT, Logged, Tracker, register_tracker


@register_tracker
class Trackio(Tracker):
    """``trackio:PROJECT``, or ``trackio`` alone."""

    name = "trackio"
    package = "trackio"
    accepted = "trackio[:PROJECT]"

    def log(self, logged: Logged, place: str) -> str:
        """See `Tracker.log`."""
        import trackio

        project = place or PROJECT
        run = trackio.init(project=project, name=logged.name, config=dict(logged.settings))
        trackio.log(dict(logged.numbers), step=logged.step)
        for file in logged.files:
            trackio.save(str(file), project=project)
        trackio.finish()
        return f"trackio project {project}, run {run.name} (trackio show --project {project})"
