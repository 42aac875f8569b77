"""Logs of RL runs that rmaudit did not make: TRL, OpenRLHF, verl, and its own.

What is read: KL a sequence in nats, proxy and gold reward, by step. A KL that is a mean over tokens
(TRL's GRPO and RLOO, OpenRLHF, verl) is multiplied by the mean output length of its step, which is
exact for a mean over all tokens of the batch and near it for a mean of per-sequence means. Records
that lack a value, or hold NaN, are left out and counted; a file that ends within a line is read up
to there; both are said.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmaudit.errors import DataError
from rmaudit.overoptimization.rl_curve import Run

Record = Mapping[str, Any]
STEP = ("step", "global_step", "_step", "train/global_step", "training/global_step")
SEQUENCE_KL = ("rmaudit/kl", "kl_k1", "objective/kl", "kl_k3")
TOKEN_KL = ("kl", "train/kl", "actor/reward_kl_penalty", "actor/kl_loss")
LENGTH = (
    "completions/mean_length",
    "response_length",
    "train/response_length",
    "response_length/mean",
)
PROXY = (
    "rmaudit/proxy",
    "proxy",
    "objective/scores",
    "critic/score/mean",
    "train/reward",
    "critic/rewards/mean",
    "reward",
)
IN_FOLDER = ("trainer_state.json", "training-log.jsonl", "metrics.jsonl", "log.jsonl")
LARGEST_STEP = 2.0**53  # a float holds no larger whole number exactly
GOLD = ("rmaudit/gold", "gold", "gold_reward")
_TRL_MEAN = re.compile(r"rewards/(.+)/mean")
_LINE_END = re.compile(r"\r\n|\n|\r")
_CONSOLE = re.compile(r"\bstep:(\d+) - (.+)")
_PAIR = re.compile(r"([^\s:]+(?:/[^\s:]+)*):(-?(?:\d[\d.e+-]*|nan|inf))(?=\s|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Log:
    """One run's log, and what had to be left out of it."""

    name: str
    run: Run
    keys: Mapping[str, str]  # what was read as what: step, kl, proxy, gold
    notes: tuple[str, ...]  # in words, for the user


def read_log(
    path: str | Path,
    *,
    kl: str | None = None,
    proxy: str | None = None,
    gold: str | None = None,
    name: str | None = None,
) -> Log:
    """Read a log: ``trainer_state.json``, JSON Lines, or verl's console output.

    Parameters
    ----------
    path
        The file, or a folder that holds one named as in `IN_FOLDER`.
    kl, proxy, gold
        Keys of the records where the known ones do not fit. A `kl` that is named is taken to be
        the KL of a sequence, in nats.
    name
        Of the run; its file or folder by default.

    Raises
    ------
    DataError
        If the file cannot be read, or has no record with a step, KL, proxy and gold reward.
    """
    file = _file(Path(path))
    records, notes = _records(file)
    if not records:
        raise DataError(f"{file}: no record in it; give a trainer_state.json or JSON Lines")
    keys, length = _keys(file, records, kl, proxy, gold)
    table = {what: np.array([_number(r.get(key)) for r in records]) for what, key in keys.items()}
    if length is not None:
        lengths = np.array([_number(r.get(length)) for r in records])
        table["kl"] = table["kl"] * lengths
        notes.append(f"KL is {keys['kl']} a token times {length}")
    table["step"][np.abs(table["step"]) > LARGEST_STEP] = math.nan
    # TRL logs evaluation and training in records of their own: one of neither is no lost record.
    partial = np.isfinite(np.stack(list(table.values())))
    wanted = np.any(
        [[keys[what] in r for r in records] for what in ("proxy", "gold", "kl")], axis=0
    )
    complete = partial.all(axis=0)
    lost = int(np.sum(wanted & ~complete))
    if lost:
        notes.append(f"{lost} of {int(wanted.sum())} records lack a value or hold NaN: left out")
    if not complete.any():
        never = [what for what in keys if not np.isfinite(table[what]).any()]
        shown = ", ".join(f"{what} ({keys[what]})" for what in never or keys)
        raise DataError(
            f"{file}: no record has finite {shown}; "
            "name other keys with --log-kl, --log-proxy, --log-gold"
        )
    columns = {what: values[complete] for what, values in table.items()}
    columns, repeated = _in_order(columns)
    if repeated:
        notes.append(
            f"{repeated} records of steps that come again (a resumed run): the last counts"
        )
    if np.ptp(columns["proxy"]) == 0:
        notes.append(f"the proxy ({keys['proxy']}) never changes: nothing was optimised")
    return Log(name or _run_name(file), Run(**columns), keys, tuple(notes))


def _run_name(file: Path) -> str:
    """The file's name, or that of the run's folder where every run's file is named alike."""
    if file.name not in IN_FOLDER:
        return file.stem
    folder = file.resolve().parent
    return folder.parent.name if folder.name.startswith("checkpoint-") else folder.name


def _file(path: Path) -> Path:
    if path.is_dir():
        for name in IN_FOLDER:
            if (path / name).is_file():
                return path / name
        checkpoints = sorted(path.glob("checkpoint-*/trainer_state.json"), key=_checkpoint_step)
        if checkpoints:
            return checkpoints[-1]
        raise DataError(f"{path}: holds no {', '.join(IN_FOLDER)}")
    if not path.is_file():
        raise DataError(f"{path}: no such log; give a file or the folder of a run")
    return path


def _checkpoint_step(path: Path) -> int:
    digits = path.parent.name.partition("-")[2]
    return int(digits) if digits.isdigit() else -1


def _records(file: Path) -> tuple[list[Record], list[str]]:
    """Flat records in the order of the file, and what was wrong with it."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from error
    whole = _parsed(text)
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        return [_flat(r) for r in whole["log_history"] if isinstance(r, dict)], []
    if isinstance(whole, list):
        return [_flat(r) for r in whole if isinstance(r, dict)], []
    records: list[Record] = []
    bad: list[int] = []
    lines = _LINE_END.split(text.rstrip("\r\n"))  # not splitlines: texts hold other line ends
    for number, line in enumerate(lines, 1):
        record = _line(line)
        if record is not None:
            records.append(_flat(record))
        elif line.strip().startswith("{"):
            bad.append(number)
    notes = []
    if bad and bad[-1] == len(lines) and not text.endswith("\n"):
        bad.pop()
        notes.append("the last line is cut off: read up to there")
    if bad:
        shown = ", ".join(map(str, bad[:3]))
        notes.append(f"{len(bad)} lines are no JSON (line {shown}): left out")
    return records, notes


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _line(line: str) -> dict[str, Any] | None:
    """A record from one line: JSON, or ``step:3 - actor/entropy:0.4 - ...`` as verl prints it."""
    if line.lstrip().startswith("{"):
        record = _parsed(line)
        return record if isinstance(record, dict) else None
    found = _CONSOLE.search(line)
    if found is None:
        return None
    pairs = {key: _number(value) for key, value in _PAIR.findall(found[2])}
    return {"step": int(found[1]), **pairs} if pairs else None


def _flat(record: Mapping[str, Any]) -> Record:
    """The numbers of a record on one level: verl keeps them under ``data``."""
    inner = record.get("data")
    return {**inner, **record} if isinstance(inner, dict) else record


def _keys(
    file: Path, records: Sequence[Record], kl: str | None, proxy: str | None, gold: str | None
) -> tuple[dict[str, str], str | None]:
    """The key of each quantity, and that of the length where the KL is a mean over tokens."""
    known = list(dict.fromkeys(key for record in records for key in record))
    step = _first(known, STEP)
    gold = gold or _first(known, GOLD) or _match(known, lambda key: "gold" in key.lower())
    # TRL's own mean of the rewards is less the KL penalty in RLOO: the reward's own mean comes
    # first where there is only one beside the gold reward.
    own = [key for key in known if _TRL_MEAN.fullmatch(key) and key != gold]
    proxy = proxy or _first(known, PROXY[:3]) or (own[0] if len(own) == 1 else _first(known, PROXY))
    length = None
    if kl is None:
        kl = _first(known, SEQUENCE_KL)
        if kl is None:
            kl, length = _first(known, TOKEN_KL), _first(known, LENGTH)
            if kl is not None and length is None:
                raise DataError(
                    f"{file}: {kl!r} is a mean over tokens, and no output length ({LENGTH[0]}) is "
                    "logged to make it one of sequences; name a KL of sequences with --log-kl"
                )
    found = {"step": step, "kl": kl, "proxy": proxy, "gold": gold}
    for what, key in found.items():
        if key is None or key not in known:
            seen = ", ".join(known[:12])
            option = "" if what == "step" else f"; name its key with --log-{what}"
            wanted = f"key {key!r}" if key else f"{what}"
            raise DataError(f"{file}: no {wanted} in the log{option} (there are: {seen})")
    return {what: str(key) for what, key in found.items()}, length


def _first(known: Sequence[str], wanted: Sequence[str]) -> str | None:
    return next((key for key in wanted if key in known), None)


def _match(known: Sequence[str], fits: Callable[[str], bool]) -> str | None:
    means = [
        key for key in known if fits(key) and not key.endswith(("/std", "_std", "/max", "/min"))
    ]
    return means[0] if means else None


def _number(value: Any) -> float:
    """A float; NaN for what is no number."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _in_order(columns: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """By step; of records of one step the last, as a resumed run writes it again."""
    step = columns["step"]
    last = {value: place for place, value in enumerate(step.tolist())}
    order = np.array([last[value] for value in sorted(last)], dtype=np.int64)
    return {what: values[order] for what, values in columns.items()}, step.size - order.size
