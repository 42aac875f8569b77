"""Logs of RL runs that rmaudit did not make, and its own: series of one run, joined by step.

What is read: KL in nats per sequence, proxy and gold reward, and component rewards, by step. Each
quantity keeps its own steps: a gold reward that is evaluated every twenty steps stands beside KL
and proxy of every step. Records that hold NaN are left out and counted; a file that ends within a
line is read up to there; both are said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rmaudit.errors import DataError
from rmaudit.overoptimization.logs.folders import IN_FOLDER, log_files, run_folder, run_name
from rmaudit.overoptimization.logs.keys import Keys, Known, find_keys
from rmaudit.overoptimization.logs.records import Record, number, read_records
from rmaudit.overoptimization.logs.rollouts import (
    Reward,
    gold_records,
    matched,
    proxy_records,
    read_rollouts,
)
from rmaudit.overoptimization.rl_curve import Run
from rmaudit.overoptimization.rollouts import Rollouts
from rmaudit.typing import Float

MOST_RESUMED = 0.1  # of the records may go back a step where a log is in the order of writing
LARGEST_VALUE = 1e100
LARGEST_STEP = 2.0**53  # a float holds no larger whole number exactly


@dataclass(frozen=True)
class Log:
    """One run's log, and what had to be left out of it."""

    name: str
    run: Run
    keys: Mapping[str, str]  # what was read as what: step, kl, proxy, gold
    notes: tuple[str, ...]  # in words, for the user
    trainer: str | None = None  # whose keys these are


def read_log(
    path: str | Path,
    *,
    kl: str | None = None,
    proxy: str | None = None,
    gold: str | None = None,
    length: str | None = None,
    name: str | None = None,
    gold_reward: Reward | None = None,
) -> Log:
    """Read a log of any trainer in `TRAINERS`, whatever it is kept in.

    Read are ``trainer_state.json``, JSON, JSON Lines, separated values, Parquet, console output of
    verl and TRL, TensorBoard events, runs of MLflow and trackio; also packed by gzip or zstandard.

    Parameters
    ----------
    path
        The file, or the folder of a run.
    kl, proxy, gold
        Keys of the records where the known ones do not fit. The unit of a known key is known,
        whoever names it; the KL of another key is taken to be one of sequences, in nats.
    length
        The mean response length in tokens, a key or a number, that makes a KL per token one of
        sequences; "none" for a KL that is one already.
    name
        Of the run; its file or folder by default.
    gold_reward
        Scores the completions that a run's folder holds: the gold reward. Without one the gold
        reward that stands beside the completions serves where the log has none. Where prompts
        stand beside them too, errors are those of the prompts.

    Raises
    ------
    DataError
        If the file cannot be read, or has no KL, proxy and gold reward.
    """
    path = run_folder(Path(path))
    file, records, notes = _logged(path)
    rollouts = _completions(path, records, gold, gold_reward, notes)
    if rollouts is not None and not records:
        records = proxy_records(rollouts, notes)
    logged = gold is not None or any("gold" in key.lower() for r in records for key in r)
    added = gold_records(rollouts) if gold_reward is not None or not logged else []
    if added:
        records, gold = [*records, *added], "rmaudit/gold"
        notes.append(f"gold: mean over the completions of {len(added)} steps")
    if not records:
        raise DataError(
            f"{file}: holds no {', '.join(IN_FOLDER)} and no TensorBoard or MLflow run"
            if file.is_dir()
            else f"{file}: no record in it; give a trainer_state.json, JSON Lines, CSV, Parquet, "
            "console output, or TensorBoard events"
        )
    known = Known((key for record in records for key in record), file, rollouts is not None)
    keys = find_keys(known, kl=kl, proxy=proxy, gold=gold, length=length)
    steps = _steps(records, keys, notes)
    steps = _without_what_was_redone(records, steps, keys, notes)
    table = _Table(file, records, steps, notes)
    table.tell_other_gold(keys)
    run = table.joined(keys)
    if rollouts is not None:
        run = _with_completions(run, rollouts, notes)
    if np.ptp(run.proxy[np.isfinite(run.proxy)]) == 0:
        notes.append(f"the proxy ({keys.proxy}) never changes: nothing was optimised")
    named = {"step": keys.step, "kl": keys.kl, "proxy": keys.proxy, "gold": keys.gold}
    return Log(name or run_name(file), run, named, tuple(notes), keys.trainer)


def _logged(path: Path) -> tuple[Path, list[Record], list[str]]:
    """The file that a path leads to, or the folder that has none; its records, and notes."""
    files = log_files(path)
    records: list[Record] = []
    notes: list[str] = []
    for file in files:
        found, wrong = read_records(file)
        records += found
        notes += wrong
    if len(files) > 1:
        notes.append(f"{len(files)} event files, in the order in which they were begun")
    return files[-1] if files else path, records, notes


def _completions(
    path: Path,
    records: Sequence[Record],
    gold: str | None,
    reward: Reward | None,
    notes: list[str],
) -> Rollouts | None:
    """Rewards of what the policy wrote, from a run's folder."""
    if not path.is_dir():
        if reward is not None:
            raise DataError(f"{path}: a gold model needs the run's folder, with its completions")
        return None
    try:
        return read_rollouts(path, reward, notes)
    except DataError as error:
        if reward is not None or not records:
            raise
        notes.append(f"completions left out: {error}")
        return None


def _with_completions(run: Run, rollouts: Rollouts, notes: list[str]) -> Run:
    """A run with the rewards of its completions, SDs and components that its log lacks."""
    logged = {name: dict(zip(*run.series(name), strict=True))
              for name in ("gold", "proxy", *run.components)}  # fmt: skip
    own = matched(rollouts, logged, run.components)
    new = [name for name in own.values if name not in logged]
    if not own.values:
        return run
    parts = {name: _at(own.means(name), run.step) for name in new}
    prompts = int(np.unique(own.prompt).size)
    notes.append(f"{', '.join(own.values)}: from the completions of {prompts} prompts")
    sds = {name: own.start_sd(name) for name in own.values}
    return replace(
        run,
        gold_sd=run.gold_sd if math.isfinite(run.gold_sd) else sds.get("gold", math.nan),
        proxy_sd=run.proxy_sd if math.isfinite(run.proxy_sd) else sds.get("proxy", math.nan),
        components={**run.components, **parts},
        component_sd={**sds, **run.component_sd},
        rollouts=own,
    )


def _steps(records: Sequence[Record], keys: Keys, notes: list[str]) -> Float:
    """The step of each record; of one without its own that of the record before."""
    if not keys.step:
        notes.append("no step is logged: records are counted")
        return np.arange(1.0, len(records) + 1)
    steps = np.array([number(record.get(keys.step)) for record in records])
    steps[np.abs(steps) > LARGEST_STEP] = math.nan
    there = np.isfinite(steps)
    wanted = {keys.kl, keys.proxy, keys.gold}
    unmarked = [i for i in np.flatnonzero(~there).tolist() if wanted & records[i].keys()]
    carried = [i for i in unmarked if keys.step not in records[i] and there[:i].any()]
    for i in carried:
        steps[i] = steps[i - 1] if math.isfinite(steps[i - 1]) else steps[:i][there[:i]][-1]
    if carried:
        notes.append(f"{len(carried)} records have no {keys.step}: that of the record before")
    if len(unmarked) > len(carried):
        notes.append(f"{len(unmarked) - len(carried)} records have no finite step: left out")
    return steps


def _without_what_was_redone(
    records: Sequence[Record], steps: Float, keys: Keys, notes: list[str]
) -> Float:
    """Steps of the records, NaN where the run went back and did those steps again.

    A resumed run goes on from an earlier checkpoint: what it had written from there on, in steps
    that come again and in steps that it never reached again, is of a policy that was thrown away.
    Of records in no order nothing can be told; nor of one that comes late.
    """
    there = np.isfinite(steps) & [math.isfinite(number(r.get(keys.proxy))) for r in records]
    places = np.flatnonzero(there)
    falls = int((np.diff(steps[places]) < 0).sum())
    if not falls or falls > max(1, places.size * MOST_RESUMED):
        return steps
    out, seen, last = steps.copy(), set[float](), -math.inf
    backs: list[tuple[float, float]] = []
    for place, step in zip(places.tolist(), steps[places].tolist(), strict=True):
        if step < last and step in seen:
            backs.append((last, step))
            out[:place][out[:place] >= step] = math.nan
            seen = {at for at in seen if at < step}
            last = step
        seen.add(step)
        last = max(last, step)
    if backs:
        dropped = int((np.isfinite(steps) & np.isnan(out)).sum())
        went = ", ".join(f"{a:.0f} to {b:.0f}" for a, b in backs[:3])
        text = f"the run went back (from step {went}): {dropped} records before that are left out"
        if any(back == np.nanmin(steps[places]) for _, back in backs):
            text += "; if a counter was set back within one run, number its steps anew"
        notes.append(text)
    return out


class _Table:
    """The quantities of a log by step."""

    def __init__(
        self, file: Path, records: Sequence[Record], steps: Float, notes: list[str]
    ) -> None:
        self.file, self.records, self.steps, self.notes = file, records, steps, notes
        self.repeated = 0

    def joined(self, keys: Keys) -> Run:
        """Every step that has a proxy, a gold reward or a KL."""
        kl = self._kl(keys)
        series = {"kl": kl, "proxy": self._series(keys.proxy), "gold": self._series(keys.gold)}
        lost = {what: self._lost(key) for what, key in
                (("kl", keys.kl), ("proxy", keys.proxy), ("gold", keys.gold))}  # fmt: skip
        self.notes += [f"{what}: {text}: left out" for what, text in lost.items() if text]
        never = [what for what, values in series.items() if not values and getattr(keys, what)]
        if never:
            shown = ", ".join(f"{what} ({getattr(keys, what)})" for what in never)
            raise DataError(
                f"{self.file}: no record has finite {shown}; "
                "name other keys with --log-kl, --log-proxy, --log-gold"
            )
        if self.repeated:
            self.notes.append(f"{self.repeated} steps were written twice: the last record counts")
        series["kl"] = self._measured(keys.kl, kl)
        step = np.array(sorted(set().union(*series.values())))
        at = {what: _at(values, step) for what, values in series.items()}
        components = {n: _at(self._series(key), step) for n, key in keys.components.items()}
        sds = [self._start_sd(keys.spreads.get(what), what) for what in ("gold", "proxy")]
        spreads = {n: self._sd(key) for n, key in keys.component_spreads.items()}
        return Run(step, at["kl"], at["proxy"], at["gold"], components, sds[0], sds[1], spreads)

    def tell_other_gold(self, keys: Keys) -> None:
        """Say which gold reward is read, where others are logged that differ from it."""
        own = self._series(keys.gold)
        others = [key for key in keys.passed_over if not _same(self._series(key), own)]
        if others:
            shown = ", ".join(others[:5])
            self.notes.append(f"gold is {keys.gold}; --log-gold takes another ({shown})")

    def _series(self, key: str) -> dict[float, float]:
        """Finite values by step; of one step the last, as a resumed run writes it again."""
        by_step: dict[float, float] = {}
        repeated = 0
        for step, record in zip(self.steps.tolist(), self.records, strict=True):
            value = _kept(record.get(key))
            if math.isfinite(value) and math.isfinite(step):
                repeated += step in by_step
                by_step[step] = value
        self.repeated = max(self.repeated, repeated)
        return by_step

    def _lost(self, key: str) -> str:
        """How many values are none, in words; an empty cell of a table is no value."""
        written = [r[key] for r in self.records if r.get(key) is not None and r[key] != ""]
        lost = sum(not math.isfinite(_kept(value)) for value in written)
        return f"{lost} of {len(written)} values are no finite number" if lost else ""

    def _measured(self, key: str, kl: dict[float, float]) -> dict[float, float]:
        """KL by step; nothing, and said, where it is none: not logged, always 0, or negative."""
        values = np.array(list(kl.values()))
        by_step = "gains are drawn by step, without fits and safe KL"
        if not key:
            self.notes.append(f"no KL is logged under a known key (--log-kl names one): {by_step}")
        elif not values.any():
            self.notes.append(f"{key} is 0 throughout, so the KL was not measured: {by_step}")
        elif values.mean() < 0:
            count = int((values < 0).sum())
            self.notes.append(
                f"{key} is negative at {count} of {values.size} steps, and so no KL from the "
                f"initial policy: {by_step}"
            )
        else:
            return kl
        return {}

    def _kl(self, keys: Keys) -> dict[float, float]:
        """KL of a sequence in nats, by step."""
        values = self._series(keys.kl) if keys.kl else {}
        if keys.assumed:
            self.notes.append(
                f"{keys.kl} is taken as nats per sequence: a mean over tokens needs --log-length, "
                "a key or the mean number of tokens"
            )
        if keys.unit == "sqrt sequence":
            self.notes.append(f"KL is the square of {keys.kl}")
            return {step: value**2 for step, value in values.items()}
        if keys.unit == "sequence":
            return values
        if keys.length is not None:
            self.notes.append(f"KL is {keys.kl} per token times {keys.length:g} tokens")
            return {step: value * keys.length for step, value in values.items()}
        self.notes.append(f"KL is {keys.kl} per token times {' times '.join(keys.lengths)}")
        for key in keys.lengths:
            lengths = self._series(key)
            if not lengths:
                raise DataError(f"{self.file}: no record has a finite {key}; give --log-length")
            at = np.interp(list(values), sorted(lengths), [lengths[s] for s in sorted(lengths)])
            values = dict(zip(values, np.array(list(values.values())) * at, strict=True))
        return values

    def _sd(self, key: str | None) -> float:
        """Mean SD of a reward over the first tenth of the steps; NaN where none is logged."""
        values = self._series(key) if key is not None else {}
        first = [values[step] for step in sorted(values)][: max(3, len(values) // 10)]
        sd = float(np.mean(first)) if first else math.nan
        return sd if sd > 0 else math.nan

    def _start_sd(self, key: str | None, what: str) -> float:
        """The same, and said."""
        sd = self._sd(key)
        if math.isfinite(sd):
            self.notes.append(f"SD of the {what}: {sd:.3g}, the mean of {key} over the first steps")
        return sd


def _kept(value: object) -> float:
    """A number whose square is one too; NaN of anything else."""
    kept = number(value)
    return kept if abs(kept) <= LARGEST_VALUE else math.nan


def _same(series: Mapping[float, float], other: Mapping[float, float]) -> bool:
    """Whether two keys hold one quantity: a trainer's means and ours differ by their rounding."""
    if series.keys() != other.keys():
        return False
    here, there = (np.array([one[step] for step in series]) for one in (series, other))
    return bool(np.allclose(here, there, rtol=1e-4, atol=1e-5))


def _at(values: Mapping[float, float], step: Float) -> Float:
    return np.array([values.get(s, math.nan) for s in step.tolist()])
