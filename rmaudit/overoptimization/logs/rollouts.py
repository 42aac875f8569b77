"""What the policy wrote, step by step: TRL's completions, verl's rollouts, in a run's folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from rmaudit.errors import DataError
from rmaudit.files import read_bytes
from rmaudit.overoptimization.logs.records import Record, number
from rmaudit.overoptimization.logs.stores import read_parquet
from rmaudit.overoptimization.rollouts import Rollouts
from rmaudit.typing import Float

# TRL (log_completions): <output_dir>/completions/completions_00010.parquet, one row per completion.
# verl (trainer.rollout_data_dir): <dir>/10.jsonl, input, output, score and what else was returned.
# Files of several steps tell them by the column "step".
PATTERNS = (
    "completions/*.parquet", "completions*.parquet", "**/rollout*/*.jsonl", "rollout*.jsonl",
    "*.jsonl",
)  # fmt: skip
_STEP = re.compile(r"(\d+)$")
PROMPT, RESPONSE = ("prompt", "input"), ("completion", "output")
NO_REWARD = ("step", "advantage", "gts")  # numbers of a completion that are none
TOTAL = "score"  # verl's own reward, of which the other columns are parts
SUM = "their sum"
_GOLD = re.compile("gold", re.IGNORECASE)
AGREES = 1e-3  # of a column's SD: so near its step means lie to a series that was made from it
COVERED = 0.9  # of a series' steps, for which completions must be there
Reward = Callable[[Sequence[Any], Sequence[str]], np.ndarray]  # prompts, responses -> (n,)


def rollout_files(folder: Path) -> list[Path]:
    """Files of rollouts in a run's folder, in the order of their steps."""
    for pattern in PATTERNS:
        # A file of its own name anywhere is a log; verl's are named by the step alone.
        files = [f for f in folder.glob(pattern) if pattern != "*.jsonl" or f.stem.isdecimal()]
        if files:
            return sorted(files, key=lambda path: (np.nan_to_num(_step(path), nan=-1.0), path))
    return []


def _step(path: Path) -> float:
    """The step that a file's name ends with; NaN of another name."""
    match = _STEP.search(path.stem)
    return float(match[1]) if match else math.nan


def read_rollouts(
    folder: Path, reward: Reward | None, notes: list[str] | None = None
) -> Rollouts | None:
    """Rewards of every completion in a run's folder by their columns; None where there are none.

    Parameters
    ----------
    folder
        Of a run.
    reward
        Scores what was written as "gold"; without one the column with "gold" in its name is read.
    notes
        Gets what was left out, in words.

    Raises
    ------
    DataError
        If there is a reward and nothing to score, or a file cannot be read.
    """
    steps: list[float] = []
    codes: list[int] = []
    known: dict[str, int] = {}
    columns: dict[str, list[float]] = {}
    for path in rollout_files(folder):
        rows = list(_rows(path))
        found = _numbers(rows)
        if reward is not None:
            found["gold"] = _scored(path, rows, reward)
        for name in [name for name in found if name not in columns]:
            columns[name] = [np.nan] * len(steps)
        for name, values in columns.items():
            values += found.get(name, [np.nan] * len(rows))
        prompts = [_prompt(row, len(steps) + i) for i, row in enumerate(rows)]
        codes += [known.setdefault(prompt, len(known)) for prompt in prompts]
        steps += [number(row.get("step", _step(path))) for row in rows]
    if reward is not None and not np.isfinite(columns.get("gold", [])).any():
        raise DataError(
            f"{folder}: no completions to score as gold; let the trainer write them "
            "(TRL: log_completions=True; verl: trainer.rollout_data_dir)"
        )
    kept = np.isfinite(steps)
    if notes is not None and not kept.all():
        lost = f"{int((~kept).sum())} of {kept.size}"
        notes.append(f"{lost} completions have no step, in a column or in the name: left out")
    if not kept.any() or not columns:
        return None
    arrays = {name: np.array(column)[kept] for name, column in columns.items()}
    return Rollouts(np.array(steps)[kept], np.array(codes, dtype=np.int64)[kept], arrays)


def gold_records(rollouts: Rollouts | None) -> list[Record]:
    """The mean gold reward of every step as records, ``rmaudit/gold`` by step."""
    if rollouts is None or "gold" not in rollouts.values:
        return []
    return [{"step": s, "rmaudit/gold": mean} for s, mean in rollouts.means("gold").items()]


def proxy_records(rollouts: Rollouts, notes: list[str]) -> list[Record]:
    """Records of a run that left no log: the mean proxy of its completions, ``rmaudit/proxy``."""
    parts = component_columns(rollouts)
    if TOTAL not in rollouts.values and not parts:
        return []
    of = TOTAL if TOTAL in rollouts.values else parts[0] if len(parts) == 1 else SUM
    told = f"the sum of {', '.join(parts)} (each with weight 1)" if of == SUM else of
    notes.append(f"no log: the proxy is the mean of {told} over the completions")
    means = _step_means(rollouts, _candidates(rollouts)[of])
    return [{"step": step, "rmaudit/proxy": mean} for step, mean in means.items()]


def _candidates(rollouts: Rollouts) -> dict[str, Float]:
    """Columns that a logged series may have been made from, the components' sum among them."""
    parts = component_columns(rollouts)
    made = dict(rollouts.values)
    if len(parts) > 1:
        every = np.array([rollouts.values[name] for name in parts])
        # As trainers sum: a function that does not apply to a completion adds nothing.
        made[SUM] = np.where(np.isfinite(every).any(axis=0), np.nansum(every, axis=0), np.nan)
    return made


def _step_means(rollouts: Rollouts, values: Float) -> dict[float, float]:
    return Rollouts(rollouts.step, rollouts.prompt, {SUM: values}).means(SUM)


def matched(
    rollouts: Rollouts, logged: Mapping[str, Mapping[float, float]], parts: Iterable[str]
) -> Rollouts:
    """The rewards of the completions under the names of the logged series made from them.

    A column is a series' own where its step means are the series' values, whatever either is
    called; components that the log lacks keep their columns' names.

    Parameters
    ----------
    rollouts
        With the names of the columns.
    logged
        Values by step, of "gold", "proxy" and the components.
    parts
        Names of the log's components.
    """
    components = component_columns(rollouts)
    candidates = _candidates(rollouts)
    means = {name: _step_means(rollouts, values) for name, values in candidates.items()}
    found: dict[str, Float] = {}
    for name, series in logged.items():
        for column in dict.fromkeys((name, *candidates)):  # its own name first
            if column not in candidates:
                continue
            if _agree(series, means[column], float(np.nanstd(candidates[column]))):
                found[name] = candidates[column]
                break
    if not list(parts) and len(components) > 1:
        found |= {name: rollouts.values[name] for name in components if name not in found}
    return Rollouts(rollouts.step, rollouts.prompt, found)


def component_columns(rollouts: Rollouts) -> list[str]:
    """Columns that may be parts of the proxy."""
    return [name for name in rollouts.values if name != TOTAL and not _GOLD.search(name)]


def _agree(series: Mapping[float, float], means: Mapping[float, float], sd: float) -> bool:
    shared = series.keys() & means.keys()
    off = [abs(series[step] - means[step]) for step in shared]
    covered = len(shared) >= max(COVERED * len(series), 1)
    return covered and max(off) <= AGREES * max(sd, 1e-9)


def _numbers(rows: Sequence[Record]) -> dict[str, list[float]]:
    """Columns of numbers of one file; a reward that a row lacks is NaN."""
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, list[float]] = {}
    for name in names:
        cells = [row.get(name) for row in rows]
        given = [cell for cell in cells if cell is not None]
        if name not in NO_REWARD and given and all(isinstance(cell, Real) for cell in given):
            found.setdefault("gold" if _GOLD.search(name) else name, list(map(number, cells)))
    return found


def _scored(path: Path, rows: Sequence[Record], reward: Reward) -> list[float]:
    names = [next((n for n in wanted if rows and n in rows[0]), None)
             for wanted in (PROMPT, RESPONSE)]  # fmt: skip
    prompt, response = names
    if prompt is None or response is None:
        shown = ", ".join(rows[0]) if rows else "nothing"
        raise DataError(f"{path}: no prompt and completion in the rows (there are: {shown})")
    prompts, responses = ([row.get(name) for row in rows] for name in (prompt, response))
    try:
        texts = [_text(one) for one in responses]
    except (TypeError, KeyError, IndexError):
        raise DataError(f"{path}: {response} holds what is neither text nor messages") from None
    return [float(value) for value in reward(prompts, texts)]


def _prompt(row: Record, place: int) -> str:
    """What tells one prompt from another; a completion without one stands alone."""
    prompt = next((row[name] for name in PROMPT if row.get(name) is not None), None)
    if prompt is None:
        return f"\0{place}"
    return prompt if isinstance(prompt, str) else json.dumps(prompt, sort_keys=True, default=str)


def _text(response: Any) -> str:
    """The response as text; of a conversation its last turn."""
    return response if isinstance(response, str) else str(response[-1]["content"])


def _lines(path: Path) -> list[str]:
    # Not splitlines: a response may hold other line ends as they are.
    return read_bytes(path).decode("utf-8", "replace").split("\n")


def _rows(path: Path) -> Iterator[Record]:
    if path.suffix == ".parquet":
        yield from read_parquet(path)
        return
    for number_of_line, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {number_of_line}: no JSON ({error})") from error
        if isinstance(row, dict):
            yield row
