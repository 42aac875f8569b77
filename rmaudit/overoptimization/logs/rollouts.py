"""What the policy wrote, step by step: TRL's completions, verl's rollouts, in a run's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rmaudit.errors import DataError
from rmaudit.overoptimization.logs.records import Record, number
from rmaudit.overoptimization.logs.stores import read_parquet

# TRL (log_completions): <output_dir>/completions/completions_00010.parquet, one row per completion.
# verl (trainer.rollout_data_dir): <dir>/10.jsonl, input, output, score and what else was returned.
PATTERNS = ("completions/*.parquet", "completions_*.parquet", "**/rollout*/*.jsonl", "*.jsonl")
_STEP = re.compile(r"(\d+)$")
PROMPT, RESPONSE = ("prompt", "input"), ("completion", "output")
_GOLD = re.compile("gold", re.IGNORECASE)
Reward = Callable[[Sequence[Any], Sequence[str]], np.ndarray]  # prompts, responses -> (n,)


def rollout_files(folder: Path) -> list[Path]:
    """Files of rollouts in a run's folder, in the order of their steps."""
    for pattern in PATTERNS:
        files = [path for path in folder.glob(pattern) if _STEP.search(path.stem)]
        if files:
            return sorted(files, key=lambda path: int(_STEP.search(path.stem)[1]))  # type: ignore[index]
    return []


def gold_records(folder: Path, reward: Reward | None) -> list[Record]:
    """The mean gold reward of every step as records, ``rmaudit/gold`` by step.

    Parameters
    ----------
    folder
        Of a run.
    reward
        Scores what was written; without one the column with "gold" in its name is read.

    Raises
    ------
    DataError
        If there is a reward and nothing to score.
    """
    by_step: dict[float, list[float]] = {}
    for path in rollout_files(folder):
        rows = list(_rows(path))
        steps = [number(row.get("step", _STEP.search(path.stem)[1])) for row in rows]  # type: ignore[index]
        for step, value in zip(steps, _gold(path, rows, reward), strict=True):
            if np.isfinite(value) and np.isfinite(step):
                by_step.setdefault(step, []).append(float(value))
    if reward is not None and not by_step:
        raise DataError(
            f"{folder}: no completions to score as gold; let the trainer write them "
            "(TRL: log_completions=True; verl: trainer.rollout_data_dir)"
        )
    return [{"step": s, "rmaudit/gold": float(np.mean(by_step[s]))} for s in sorted(by_step)]


def _gold(path: Path, rows: Sequence[Record], reward: Reward | None) -> Sequence[float]:
    if reward is None:
        key = next((k for row in rows for k in row if _GOLD.search(k)), None)
        return [number(row.get(key)) if key else np.nan for row in rows]
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
    rewards = reward(prompts, texts)
    return [float(value) for value in rewards]


def _text(response: Any) -> str:
    """The response as text; of a conversation its last turn."""
    return response if isinstance(response, str) else str(response[-1]["content"])


def _lines(path: Path) -> list[str]:
    # Not splitlines: a response may hold other line ends as they are.
    return path.read_text(encoding="utf-8", errors="replace").split("\n")


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
