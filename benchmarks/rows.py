"""The rows of a run that goes on where it was stopped: one JSON object per line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import rmaudit


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of earlier runs; a line that was cut off is left out, and is made again."""
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def add(path: Path, row: dict[str, Any]) -> None:
    """Append a row, in a folder that need not be there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


@lru_cache(maxsize=1)
def digest() -> str:
    """What code a row is of, in a copy without Git too: twelve digits of the package's modules."""
    package = Path(rmaudit.__file__).parent
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:12]
