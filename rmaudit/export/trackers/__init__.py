"""Where people keep their results: ``--log-to mlflow:URI``, ``wandb``, ``tensorboard:DIR``, ...

A tracker is one class in one module. It gets the numbers of a report with their intervals, the
settings, and the report's files. Third parties list their modules under the entry-point group
``rmaudit.trackers``.
"""

from __future__ import annotations

import importlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from rmaudit.errors import RmauditError, StoreError, UsageError
from rmaudit.registry import Registry
from rmaudit.report.folder import BENCHMARK, REPORT, SAMPLES, training_step
from rmaudit.report.verdict import BUDGETS, verdict
from rmaudit.results import SEVERITIES

if TYPE_CHECKING:
    from rmaudit.report.document import Report

PAGES = (REPORT, "report.html", SAMPLES, BENCHMARK, "bench.html")
PROJECT = "rmaudit"  # of trackers that file runs by project or experiment, if none is named


@dataclass(frozen=True, slots=True)
class Logged:
    """What a tracker is given of a report.

    Parameters
    ----------
    name
        The audited model.
    numbers
        By name: each overall number, its interval's ends as ``NAME.low`` and ``NAME.high``, the
        findings by severity, the cost. All are finite.
    settings
        Of the audit, as text: model, data with their hashes, seed, version.
    answer
        The verdict in one sentence.
    step
        The training step that the model's name holds, as in ``checkpoint-500``; None without one.
    files
        The written files: record and pages.
    """

    name: str
    numbers: Mapping[str, float]
    settings: Mapping[str, str]
    answer: str
    step: int | None
    files: Sequence[Path]


class Tracker(ABC):
    """A place that keeps results. Register a subclass with `@register_tracker`."""

    name: ClassVar[str]  # "mlflow"; what stands before the colon
    package: ClassVar[str]  # the module that it needs
    accepted: ClassVar[str]  # how it is named: "mlflow[:URI]"
    place_needed: ClassVar[str | None] = None  # what must stand behind the colon, if anything

    def check(self, place: str) -> None:  # noqa: B027 - most can only be told by logging
        """Try a place before hours of work go into what it is to keep; `StoreError` if it fails."""

    @abstractmethod
    def log(self, logged: Logged, place: str) -> str:
        """Keep it at a place (what stood behind the colon, or ""); returns where, in words."""


TrackerClass = TypeVar("TrackerClass", bound=type[Tracker])
TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker", "rmaudit.export.trackers", "rmaudit.trackers"
)


def register_tracker(cls: TrackerClass) -> TrackerClass:
    """Class decorator: makes a tracker known by its `name`."""
    TRACKERS.add(cls.name, cls, cls.__module__)
    return cls


def opened(spec: str) -> tuple[Tracker, str]:
    """The tracker that ``NAME`` or ``NAME:PLACE`` names, and the place.

    Raises
    ------
    UsageError
        If none has the name, its place is missing, or its package is not installed.
    StoreError
        If nothing can be written to the place.
    """
    name, _, place = spec.partition(":")
    if name not in TRACKERS:
        accepted = ", ".join(sorted(each.accepted for each in TRACKERS.values()))
        raise UsageError(f"--log-to {spec}: no tracker is named {name!r}; accepted: {accepted}")
    tracker = TRACKERS[name]()
    if tracker.place_needed and not place:
        raise UsageError(f"--log-to {spec}: name {tracker.place_needed}: {tracker.accepted}")
    try:
        importlib.import_module(tracker.package)
    except ImportError as error:
        raise UsageError(
            f"--log-to {name} needs {tracker.package} ({error}); pip install {tracker.package}"
        ) from error
    tracker.check(place)
    return tracker, place


def artifact_name(model: str) -> str:
    """A name for a report's files that W&B and trackio accept: letters, digits, dashes, dots, _."""
    return "audit-" + re.sub(r"[^A-Za-z0-9._-]+", "-", model)[:100]


def log_to(report: Report, folder: Path, spec: str) -> str:
    """Log a written report to a tracker; returns where it is kept, in words.

    Parameters
    ----------
    report, folder
        The report, and the folder that it was written to.
    spec
        ``NAME`` or ``NAME:PLACE``.

    Raises
    ------
    UsageError
        If the tracker is unknown or its package is missing.
    StoreError
        If the tracker fails; the report itself stays as it was written.
    """
    tracker, place = opened(spec)
    try:
        return tracker.log(logged(report, folder), place)
    except RmauditError:
        raise
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise StoreError(
            f"--log-to {spec}: {reason}; the report itself is written: {folder}"
        ) from error


def logged(report: Report, folder: Path) -> Logged:
    """What trackers get of a report that was written to a folder."""
    record = report.record
    answer = verdict(report)
    numbers: dict[str, float] = {}
    for metric in report.metrics():
        if metric.value is None or (metric.slice and metric.id not in BUDGETS):
            continue  # slices are in the pages: hundreds of series would bury the others
        name = ".".join((metric.id, *metric.slice.values()))
        ends = zip((f"{name}.low", f"{name}.high"), metric.ci, strict=True)
        numbers |= {name: metric.value, **{end: at for end, at in ends if at is not None}}
    numbers |= {f"findings.{level}": float(answer.counts[level]) for level in SEVERITIES}
    numbers |= {"cost.texts": float(record.cost.texts), "cost.seconds": record.cost.seconds}
    settings: dict[str, Any] = {
        "model": record.model.name,
        "fingerprint": record.model.fingerprint,
        "seed": record.seed,
        "rmaudit": record.rmaudit_version,
    }
    for name, source in record.inputs.items():
        settings |= {name: source.path, f"{name}.sha256": source.sha256}
        settings[f"{name}.rows"] = source.rows_used
    return Logged(
        record.model.name,
        numbers,
        {name: str(value) for name, value in settings.items()},
        " ".join([answer.answer, *answer.sentences]),
        training_step(str(record.config.get("model", "")), record.model.name, folder.name),
        [folder / name for name in PAGES if (folder / name).is_file()],
    )
