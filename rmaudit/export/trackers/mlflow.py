"""MLflow: a run per audit, with metrics, parameters and the pages as artifacts."""

from __future__ import annotations

import os
import re
import time

from rmaudit.export.trackers import PROJECT, Logged, Tracker, register_tracker

_BATCH = 500  # MLflow takes at most 1000 metrics and 100 parameters per call
_NOT_ALLOWED = re.compile(r"[^\w.\- /]")


@register_tracker
class Mlflow(Tracker):
    """``mlflow:URI``, or ``mlflow`` with MLFLOW_TRACKING_URI.

    MLFLOW_EXPERIMENT_NAME names the experiment, MLFLOW_RUN_ID a run that is there already.
    """

    name = "mlflow"
    package = "mlflow"
    accepted = "mlflow[:URI]"

    def log(self, logged: Logged, place: str) -> str:
        """See `Tracker.log`."""
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri=place or None)
        run_id = os.environ.get("MLFLOW_RUN_ID")
        begun = not run_id
        if run_id is None or begun:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            known = client.get_experiment_by_name(name)
            experiment = client.create_experiment(name) if known is None else known.experiment_id
            run_id = client.create_run(experiment, run_name=logged.name).info.run_id
        now, step = int(time.time() * 1000), logged.step or 0
        metrics = [
            Metric(_NOT_ALLOWED.sub("_", name), value, now, step)
            for name, value in logged.numbers.items()
        ]
        for start in range(0, len(metrics), _BATCH):
            client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        if begun:  # a parameter is set once: another's run has its own
            client.log_batch(run_id, params=[Param(k, v) for k, v in logged.settings.items()])
        client.set_tag(run_id, "rmaudit.verdict", logged.answer)
        for file in logged.files:
            client.log_artifact(run_id, str(file))
        if begun:
            client.set_terminated(run_id)
        return f"mlflow run {run_id} at {place or 'MLFLOW_TRACKING_URI'}"
