"""Numbers that are kept as they are made, and their intervals over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

CELLS = Path(__file__).resolve().parents[1] / "cells" / "reproduced.jsonl"


def kept(section: str) -> Iterator[dict[str, Any]]:
    """The cells of a section."""
    if CELLS.is_file():
        rows = map(json.loads, CELLS.read_text(encoding="utf-8").splitlines())
        yield from (row for row in rows if row["section"] == section)


def make(section: str, keys: Sequence[dict[str, Any]], do: Callable[..., Any]) -> list[Any]:
    """A cell for each of `keys`: read where it is kept, else made and kept."""
    known = list(kept(section))
    found = []
    for key in keys:
        old = next((row for row in known if all(row.get(k) == v for k, v in key.items())), None)
        if old is None:
            old = {"section": section, **key, **do(**key)}
            with CELLS.open("a", encoding="utf-8") as out:
                out.write(json.dumps(old) + "\n")
        found.append(old)
    return found


def over_seeds(values: Sequence[float]) -> str:
    """Mean and half-width of a 95% t interval."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return f"{array.mean():.2f}"
    half = student.ppf(0.975, len(array) - 1) * array.std(ddof=1) / len(array) ** 0.5
    return f"{array.mean():.2f} ± {half:.2f}"


def interval(estimate: Any) -> str:
    """Value and interval of an estimate."""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def show(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A Markdown table."""
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)
