"""`rmaudit validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.errors import EXIT_BAD_INPUT


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
    from rmaudit.data import write_set_aside
    from rmaudit.data.readers import nothing_usable

    found = check(data)
    source = found.source
    console.say(
        f"{source.path}: {found.type or 'no known type'}; {source.rows_read:,} rows read, "
        f"{source.rows_used:,} usable, {source.rows_set_aside:,} set aside"
    )
    if found.set_aside:
        frame = found.to_frame()
        rows = [[str(cell) for cell in row] for row in frame.itertuples(index=False)]
        console.table("Set aside", list(frame.columns), rows)
    if out is not None:
        write_set_aside(out / "set_aside.jsonl", found.set_aside)
    if found.exit_code == EXIT_BAD_INPUT:
        raise nothing_usable(source, [])
    return found.exit_code
