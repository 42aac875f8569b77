"""Which files of a run's folder are its log."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rmaudit.errors import DataError
from rmaudit.overoptimization.logs.keys import STEPS, Known
from rmaudit.overoptimization.logs.records import number, read_records
from rmaudit.overoptimization.logs.rollouts import rollout_files

STATE = "trainer_state.json"
IN_FOLDER = (STATE, "training-log.jsonl", "metrics.jsonl", "log.jsonl")
FILES = ("*.db", "*.log", "*.csv", "*.parquet", "*.jsonl")  # of any name, the likeliest first
_TIME = re.compile(r"tfevents\.(\d+)")


def run_folder(path: Path) -> Path:
    """The folder (or file) of one run: the path itself, or the only run below it.

    Raises
    ------
    DataError
        If there is nothing, or the runs are several.
    """
    if not path.exists():
        raise DataError(f"{path}: no such log; give a file or the folder of a run")
    if path.is_file() or _is_run(path) or _stores(path) or rollout_files(path):
        return path
    runs = sorted(folder for folder in path.iterdir() if folder.is_dir() and _is_run(folder))
    if len(runs) > 1:
        raise DataError(f"{path}: holds {_some(runs, 'runs')}; name one, or each with --log")
    return runs[0] if runs else path


def log_files(path: Path) -> Sequence[Path]:
    """The log of a run, in the order of writing; of a folder without one, nothing.

    Raises
    ------
    DataError
        If a folder holds several, or only one of a kind that is not read.
    """
    if path.is_file():
        return (path,)
    checkpoints = sorted(path.glob(f"checkpoint-*/{STATE}"), key=_checkpoint_step)[-1:]
    for name in IN_FOLDER:
        if (path / name).is_file():
            # A run that was resumed may have gone on since its folder's own state was written.
            states = [path / name, *(checkpoints if name == STATE else [])]
            return (max(states, key=_last_step) if len(states) > 1 else states[0],)
    if checkpoints:
        return checkpoints
    events = path.glob("**/*tfevents*")
    found = sorted(events, key=lambda file: (_time(file), file)) or _stores(path)
    if not found and any(path.glob("**/*.wandb")):
        raise DataError(f"{path}: W&B's binary file is not read; export the run's history as CSV")
    return found


def run_name(file: Path) -> str:
    """The file's name, or that of the run's folder where every run's file is named alike."""
    if file.name not in IN_FOLDER and "tfevents" not in file.name:
        return file.name.split(".")[0] if file.is_file() else file.resolve().name
    folder = file.resolve().parent
    return folder.parent.name if folder.name.startswith("checkpoint-") else folder.name


def _is_run(folder: Path) -> bool:
    there = any((folder / name).is_file() for name in IN_FOLDER)
    return there or any(folder.glob(f"checkpoint-*/{STATE}")) or any(folder.glob("**/*tfevents*"))


def _stores(path: Path) -> Sequence[Path]:
    """The MLflow run or the table of any name in a folder."""
    metrics = [one.parent for one in sorted(path.glob("**/metrics")) if one.is_dir()]
    rollouts = set(rollout_files(path))
    groups = [metrics, *([f for f in sorted(path.glob(p)) if f not in rollouts] for p in FILES)]
    every = [file for group in groups for file in group]
    if len(every) < 2:
        return every
    for group in groups:
        logs = [file for file in group if _holds_log(file)]
        if len(logs) > 1:
            raise DataError(f"{path}: holds {_some(logs, 'logs')}; name one")
        if logs:
            return logs
    return []


def _holds_log(file: Path) -> bool:
    """Whether records have steps, or keys that only a trainer writes."""
    try:
        records, _ = read_records(file)
    except DataError:
        return False
    known = Known((key for record in records for key in record), file)
    return known.trainer is not None or known.first(STEPS) is not None


def _some(paths: Sequence[Path], what: str) -> str:
    return f"{len(paths)} {what} ({', '.join(one.name for one in paths[:5])})"


def _time(file: Path) -> int:
    """When an event file was begun, as its name tells."""
    match = _TIME.search(file.name)
    return int(match[1]) if match else 0


def _last_step(file: Path) -> float:
    """The last step of a log; below every step where it cannot be read."""
    try:
        records, _ = read_records(file)
    except DataError:
        return -np.inf
    return float(np.nanmax([number(record.get("step")) for record in records] + [-np.inf]))


def _checkpoint_step(path: Path) -> int:
    digits = path.parent.name.partition("-")[2]
    return int(digits) if digits.isdecimal() else -1
