"""`rmaudit validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "validate", validate)


def validate(
    console: Console,
    data: Annotated[str, typer.Argument(help="A data file or folder.")],
    out: Annotated[
        Path | None, typer.Option(help="Also write the rows set aside to OUT/set_aside.jsonl.")
    ] = None,
) -> int:
    """Check data alone and say row by row what is wrong. Exit 0 clean, 1 some, 2 nothing usable."""
    from rmaudit.data import validate as check

    return report(console, check(data), out)
