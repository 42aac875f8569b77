"""Inputs of a stranger's making, and the command that is given them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from rmaudit.cli import app


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def rows(folder: Path, name: str = "eval.jsonl", count: int = 40, **more: Any) -> str:
    written = [
        {"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}"}
        | {"chosen_reward": (i * 7) % 5, "rejected_reward": (i * 3) % 4}
        | {key: value(i) if callable(value) else value for key, value in more.items()}
        for i in range(count)
    ]
    (folder / name).write_text("\n".join(map(json.dumps, written)))
    return str(folder / name)


def published(folder: Path, **more: Any) -> str:
    """A file of RewardBench with rewards."""
    where = folder / f"published{len(more)}{next(iter(more), '')}"
    where.mkdir(exist_ok=True)
    written = [
        {"id": i, "prompt": f"q {i}", "chosen": "a longer answer", "rejected": "an answer",
         "subset": ("alpacaeval-easy", "math-prm")[i % 2], "scores_chosen": i % 3,
         "scores_rejected": i % 2} | more
        for i in range(8)
    ]  # fmt: skip
    (where / "rb.json").write_text(json.dumps(written))
    return str(where / "rb.json")
