"""Curves of RL runs that somebody else made, from their logs."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from rmaudit.data.types import Source
from rmaudit.errors import DataError
from rmaudit.overoptimization.logs import Log, read_log
from rmaudit.overoptimization.logs.rollouts import Reward
from rmaudit.overoptimization.result import Overopt
from rmaudit.overoptimization.rl_curve import RUNS_ALONE, rl_curve
from rmaudit.overoptimization.study import study


def from_logs(
    paths: Sequence[str | Path],
    *,
    kl: str | None = None,
    proxy: str | None = None,
    gold: str | None = None,
    length: str | None = None,
    gold_reward: Reward | None = None,
    pooled: bool = False,
    gold_sd: float | None = None,
    proxy_sd: float | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Overopt:
    """Draw the curves of logged runs.

    Parameters
    ----------
    paths
        Logs, see `read_log`.
    kl, proxy, gold, length
        Keys, where the known ones do not fit; see `read_log`.
    gold_reward
        Scores the completions in the runs' folders, see `read_log`.
    pooled
        Runs that differ in their seed only, as one curve; with five or more the intervals are over
        runs. By default each has a curve of its own.
    gold_sd, proxy_sd
        Within-prompt SDs of the rewards under the initial policy; by default those of the first
        steps, where they are logged. Without both, gains are in the rewards' own units.
    seed, resamples, confidence
        Of the bootstrap.

    Raises
    ------
    DataError
        If a log cannot be read, or is too short.
    """
    keys = {"kl": kl, "proxy": proxy, "gold": gold, "length": length}
    logs = [read_log(path, **keys, gold_reward=gold_reward) for path in paths]
    logs = _named_apart(logs)
    notes = [f"{log.name}: {note}" for log in logs for note in log.notes]
    groups = [("pooled runs", logs)] if pooled else [(log.name, [log]) for log in logs]
    studies = []
    sds = _one_unit(groups, gold_sd, proxy_sd, notes)
    for place, (name, group) in enumerate(groups):
        try:
            curve = rl_curve([log.run for log in group], gold_sd=sds[0], proxy_sd=sds[1])
        except ValueError as error:
            raise DataError(f"{name}: {error}") from error
        if len(group) < RUNS_ALONE:
            over = "prompts" if curve.gold_windows.points.prompts else "steps"
            notes.append(f"intervals are over {over}: runs with another seed may differ by more")
        rng = np.random.default_rng([seed, place])
        one = study(name, curve, rng, resamples=resamples, confidence=confidence)
        studies.append(one)
        safe, what = (
            (one.found.safe_kl, "KL") if curve.has_kl else (one.found.safe_strength, "step")
        )
        if not safe.defined:
            notes.append(f"{name}: safe {what} {safe.undefined_reason}")
    sources = {log.name: _source(path, log) for path, log in zip(paths, logs, strict=True)}
    tables = [log.run.rollouts.frame(log.name, confidence) for log in logs if log.run.rollouts]
    steps = pd.concat(tables, ignore_index=True) if tables else None
    return Overopt(tuple(studies), tuple(dict.fromkeys(notes)), confidence, sources, steps)


def _one_unit(
    groups: Sequence[tuple[str, list[Log]]],
    gold_sd: float | None,
    proxy_sd: float | None,
    notes: list[str],
) -> tuple[float | None, float | None]:
    """SDs for every curve, as all share an axis: given, each run's own, or 1 where one has none."""
    if gold_sd is not None and proxy_sd is not None:
        return gold_sd, proxy_sd
    lacking = {name: words for name, logs in groups if (words := _no_sds(logs))}
    notes += [
        f"{name}: gains are in the rewards' own units, for {words}"
        for name, words in lacking.items()
    ]
    if not lacking:
        return None, None
    if len(lacking) < len(groups):
        others = ", ".join(name for name, _ in groups if name not in lacking)
        notes.append(f"{others}: in own units too, as all curves share an axis")
    return 1.0, 1.0


def _no_sds(logs: Sequence[Log]) -> str:
    """Whose SD is not logged, in words; "" where all are."""
    lacking = [
        what
        for what in ("gold", "proxy")
        if not all(math.isfinite(getattr(log.run, f"{what}_sd")) for log in logs)
    ]
    return f"no SD of the {' or the '.join(lacking)} reward is logged" if lacking else ""


def _source(path: str | Path, log: Log) -> Source:
    """What was read of a run; the digest is that of its series, for a folder has no bytes."""
    run = log.run
    series = (run.step, run.kl, run.proxy, run.gold, *run.components.values())
    digest = hashlib.sha256(b"".join(values.tobytes() for values in series)).hexdigest()
    return Source(str(path), digest, run.step.size, run.step.size, 0)


def _named_apart(logs: Sequence[Log]) -> list[Log]:
    """Runs of one name get a number."""
    names = [log.name for log in logs]
    out = []
    for i, log in enumerate(logs):
        same = names[:i].count(log.name)
        repeated = names.count(log.name) > 1
        out.append(Log(f"{log.name} {same + 1}", log.run, log.keys, log.notes) if repeated else log)
    return out
