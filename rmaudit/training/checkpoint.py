"""Where a training run stands, on disk: written whole or not at all, read back bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from rmaudit.data.types import Dataset, prompt_key
from rmaudit.errors import UsageError
from rmaudit.training.parallel import Parallel

CHECKPOINT = "training-checkpoint.pt"
RUN = "training.json"
LOG = "training-log.jsonl"


def identity(
    base: str, data: Dataset, settings: Mapping[str, Any], targets: bytes
) -> dict[str, Any]:
    """What a run is made of: equal exactly when it may be resumed."""
    digest = hashlib.sha256(targets)
    for part in _texts(data):
        digest.update(part.encode("utf-8", "surrogatepass") + b"\x00")
    return {"base": _base(base), "data": digest.hexdigest(), "settings": dict(settings)}


def _texts(data: Dataset) -> Iterator[str]:
    """Prompts and outputs, in order."""
    frame = data.frame
    if data.type != "preference":
        yield from map(prompt_key, frame["prompt"])
        if data.type == "ranking":
            yield from (output for outputs in frame["outputs"] for output in outputs)
        else:
            yield from frame["output"]
        return
    columns = ("prompt", data.rejected_prompt, "chosen", "rejected")
    sides = zip(*(frame[name] for name in columns), strict=True)
    for prompt, prompt_rejected, chosen, rejected in sides:
        yield from (prompt_key(prompt), prompt_key(prompt_rejected), chosen, rejected)


def _base(base: str) -> Any:
    """A hub id as it stands; a directory by its files' names and sizes and its configuration."""
    folder = Path(base)
    if not folder.is_dir():
        return base
    files = sorted(path for path in folder.iterdir() if path.is_file())
    config = folder / "config.json"
    return {
        "files": {path.name: path.stat().st_size for path in files},
        "config": hashlib.sha256(config.read_bytes()).hexdigest() if config.is_file() else None,
    }


def open_run(out: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """Begin or go on with a run in `out`.

    Returns
    -------
    The stored result if the run has ended; None if there is training left.

    Raises
    ------
    UsageError
        If `out` holds a run on another base, other data or with other settings.
    """
    record = out / RUN
    if not record.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_json(record, {"run": run, "result": None})
        return None
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
        if not (isinstance(stored["run"], dict) and isinstance(stored["result"], dict | None)):
            raise TypeError
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise UsageError(
            f"{record}: is damaged, so that this training cannot go on; delete the folder {out}, "
            "or choose another with --out"
        ) from error
    changed = [key for key in run if stored["run"].get(key) != json.loads(json.dumps(run[key]))]
    if changed:
        raise UsageError(
            f"{out}: holds a training run with another {', '.join(changed)}; choose another folder "
            "or delete this one"
        )
    result: dict[str, Any] | None = stored["result"]
    return result


def open_in_turn(
    parallel: Parallel, out: Path, identity: Mapping[str, Any]
) -> dict[str, Any] | None:
    """`open_run`, the first process first: it makes the folder."""
    stored = open_run(out, identity) if parallel.is_first else None
    parallel.wait()
    stored = stored if parallel.is_first else open_run(out, identity)
    parallel.wait()
    return stored


def close_run(out: Path, run: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    """Record the result and drop the checkpoint."""
    write_json(out / RUN, {"run": run, "result": result})
    (out / CHECKPOINT).unlink(missing_ok=True)


def save_checkpoint(out: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run; a kill at any moment leaves the last one whole."""
    unfinished = out / f"{CHECKPOINT}.new"
    torch.save(dict(state), unfinished)
    unfinished.replace(out / CHECKPOINT)


def load_checkpoint(out: Path) -> dict[str, Any] | None:
    """The last state; None before the first one. Only tensors and plain values are unpickled."""
    path = out / CHECKPOINT
    if not path.is_file():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON whole or not at all."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


class TrainingLog:
    """One JSON record a line. On resuming, records past the checkpoint are taken back."""

    def __init__(self, out: Path, step: int, *, keep: bool = True) -> None:
        self._path, self._keep = out / LOG, keep  # several processes: only one keeps the log
        if not keep:
            return
        kept = self._records(step) if self._path.is_file() else []
        self._path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def _records(self, step: int) -> list[str]:
        kept = []
        for line in self._path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:  # the line that was being written when the run was killed
                continue
        return kept

    def write(self, **record: Any) -> None:
        """Append a record."""
        if not self._keep:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
