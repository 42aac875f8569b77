"""Numbers with their intervals, and the pages, reach the trackers' own readers."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from recorded_pairs import audit

from rmaudit.cli.audit import check_trackers
from rmaudit.errors import StoreError, UsageError
from rmaudit.export.trackers import TRACKERS, Logged, Tracker, log_to, logged, register_tracker
from rmaudit.report.document import Report

ACCURACY = "preference.accuracy"


@pytest.fixture(scope="module")
def report() -> Report:
    return audit(np.random.default_rng(0).normal(1.0, 1.0, 300))


@pytest.fixture(scope="module")
def folder(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report.save(tmp_path_factory.mktemp("reports") / "checkpoint-500")


@pytest.fixture
def fake() -> Iterator[type[Tracker]]:
    class Fake(Tracker):
        name, package, accepted = "fake", "json", "fake"
        got: Logged

        def log(self, logged: Logged, place: str) -> str:
            if place == "down":
                raise SystemExit("the server\ndoes not answer")
            type(self).got = logged
            return "here"

    yield register_tracker(Fake)
    del TRACKERS._things["fake"], TRACKERS._homes["fake"]


def test_what_is_logged_is_what_the_report_holds(report: Report, folder: Path) -> None:
    given = logged(report, folder)
    estimate = report[ACCURACY]
    names = (ACCURACY, f"{ACCURACY}.low", f"{ACCURACY}.high")
    assert [given.numbers[name] for name in names] == [estimate.value, *estimate.ci]
    counts = [given.numbers[f"findings.{level}"] for level in ("high", "medium", "low", "info")]
    assert sum(counts) == len(report.findings)
    assert np.isfinite(list(given.numbers.values())).all()
    assert given.step == 500  # of the folder's name
    assert [file.name for file in given.files] == ["report.json", "report.html", "samples.html"][
        : len(given.files)
    ]
    assert {"model", "seed", "eval.sha256"} <= given.settings.keys()


def test_a_tracker_is_looked_for_before_anything_is_scored(
    fake: type[Tracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_trackers(["fake", "tensorboard:runs"])
    for spec, said in (
        ("fack:x", "no tracker is named 'fack'; accepted: fake, mlflow"),
        ("tensorboard", "name a folder: tensorboard:DIR"),
    ):
        with pytest.raises(UsageError, match=said):
            check_trackers([spec])
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with pytest.raises(UsageError, match=r"--log-to wandb needs wandb .*; pip install wandb"):
        check_trackers(["wandb:project"])


def test_a_tracker_that_fails_costs_one_line_and_not_the_report(
    fake: type[Tracker], report: Report, folder: Path
) -> None:
    assert log_to(report, folder, "fake") == "here"
    with pytest.raises(StoreError, match=r"--log-to fake:down: the server does not answer; the"):
        log_to(report, folder, "fake:down")
    assert Report.load(folder)[ACCURACY].value == report[ACCURACY].value


def test_tensorboard_reads_values_intervals_bands_and_the_verdict(
    report: Report, folder: Path, tmp_path: Path
) -> None:
    accumulator = _of("tensorboard.backend.event_processing.event_accumulator")
    log_to(report, folder, f"tensorboard:{tmp_path}")
    (run,) = tmp_path.iterdir()
    events = accumulator.EventAccumulator(str(run))
    events.Reload()
    estimate = report[ACCURACY]
    for tag, value in zip(("", ".low", ".high"), (estimate.value, *estimate.ci), strict=True):
        (event,) = events.Scalars(f"preference/accuracy{tag}")
        assert (event.step, event.value) == (500, pytest.approx(value, rel=1e-6))  # float32
    assert "custom_scalars__config__" in events.Tags()["tensors"]
    text = events.Tensors("verdict/text_summary")[0].tensor_proto.string_val[0].decode()
    assert report.record.model.fingerprint in text
    assert (run / "report.html").read_bytes() == (folder / "report.html").read_bytes()


def test_mlflow_keeps_values_intervals_settings_and_the_page(
    report: Report, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = _of("mlflow.tracking")
    _of("sqlalchemy")
    monkeypatch.chdir(tmp_path)  # artifacts of a local database lie in the working directory
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    store = f"sqlite:///{tmp_path / 'runs.sqlite'}"
    log_to(report, folder, f"mlflow:{store}")
    client = mlflow.MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("rmaudit").experiment_id
    (run,) = client.search_runs([experiment])
    estimate = report[ACCURACY]
    names = (ACCURACY, f"{ACCURACY}.low", f"{ACCURACY}.high")
    assert [run.data.metrics[name] for name in names] == [estimate.value, *estimate.ci]
    assert run.data.params["fingerprint"] == report.record.model.fingerprint
    assert "rmaudit.verdict" in run.data.tags
    assert {"report.html", "report.json"} <= {
        a.path for a in client.list_artifacts(run.info.run_id)
    }
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    log_to(report, folder, f"mlflow:{store}")  # into the run that the environment names
    assert len(client.search_runs([experiment])) == 1


def test_wandb_offline_writes_a_run_with_the_numbers(
    report: Report, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _of("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert "offline" in log_to(report, folder, "wandb:audits")
    (written,) = tmp_path.rglob("run-*.wandb")
    content = written.read_bytes()
    assert ACCURACY.encode() in content
    assert f"{ACCURACY}.low".encode() in content


TWICE = """
import sys
from pathlib import Path
from rmaudit.export.trackers import log_to
from rmaudit.report.document import Report

folder = Path(sys.argv[1])
log_to(Report.load(folder), folder, "trackio:audits")
(folder / "report.html").write_text("another page")
log_to(Report.load(folder), folder, "trackio:audits")
"""


def test_trackio_keeps_values_settings_verdict_and_the_pages_of_each_run(
    report: Report, folder: Path, tmp_path: Path
) -> None:
    _of("trackio")
    script, kept = tmp_path / "log.py", tmp_path / "kept"
    script.write_text(TWICE)
    environment = {**os.environ, "TRACKIO_DIR": str(kept)}
    copy = shutil.copytree(folder, tmp_path / "checkpoint-500")
    done = [sys.executable, str(script), str(copy)]
    subprocess.run(done, env=environment, check=True, capture_output=True)
    with closing(sqlite3.connect(kept / "audits.db")) as database:
        metrics = [json.loads(m) for (m,) in database.execute("select metrics from metrics")]
        config = [json.loads(c) for (c,) in database.execute("select config from configs")]
        versions = database.execute("select count(*) from artifact_versions").fetchone()
        steps = database.execute("select step from metrics").fetchall()
    estimate = report[ACCURACY]
    assert [m[ACCURACY] for m in metrics] == [estimate.value] * 2
    assert metrics[0][f"{ACCURACY}.low"] == estimate.ci[0]
    assert config[0]["fingerprint"] == report.record.model.fingerprint
    assert config[0]["verdict"]
    assert steps == [(500,), (500,)]
    assert versions == (2,)  # the second audit's pages stand beside the first's


def _of(module: str) -> ModuleType:
    return pytest.importorskip(module, exc_type=ImportError)
