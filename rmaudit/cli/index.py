"""`rmaudit index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "index", index)


def index(
    console: Console,
    folder: Annotated[Path, typer.Argument(help="Folder that holds audits, at any depth.")] = Path(
        "reports"
    ),
) -> None:
    """Write one page over many audits: models, verdicts, key numbers, trends."""
    from rmaudit.report.index import write_index

    page, entries, faults = write_index(folder)
    rows = [
        [
            entry.name,
            entry.verdict.answer,
            str(entry.verdict.counts["high"]),
            str(entry.verdict.counts["medium"]),
        ]
        for entry in entries
    ]
    console.table("Audits", ["model", "can I optimise against it?", "high", "medium"], rows)
    for fault in faults:
        console.warn(fault)
    console.say(f"page: {page}", page=str(page))
