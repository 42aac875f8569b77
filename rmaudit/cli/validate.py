"""`rmaudit validate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.errors import EXIT_BAD_INPUT, DataError

Columns = Annotated[
    str | None,
    typer.Option(
        help="Which column holds what: chosen=response_a,rejected=response_b,label=winner."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "validate", validate)


def validate(
    console: Console,
    data: Annotated[
        str, typer.Argument(help="A data file, folder, pattern, hub id, or - for standard input.")
    ],
    columns: Columns = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the rows set aside to OUT/set_aside.jsonl.")
    ] = None,
) -> int:
    """Check data alone and say row by row what is wrong.

    Exit 0 clean, 1 some rows set aside, 2 nothing usable or labels not understood.
    """
    from rmaudit.data import validate as check
    from rmaudit.data import write_set_aside

    checked = check(data, columns=columns)
    source, reading = checked.source, checked.reading
    as_layout = f" ({reading.layout})" if reading.layout else ""
    console.say(
        f"{source.path}: {checked.type or 'no known type'}{as_layout}; {source.rows_read:,} rows "
        f"read, {source.rows_used:,} usable, {source.rows_set_aside:,} set aside"
    )
    if reading.used:
        console.say(f"{source.path}: used: {', '.join(name[:60] for name in reading.used)}")
    for line in checked.notices:
        if line != source.losses:  # the table says it
            console.warn(line)
    if checked.set_aside:
        frame = checked.to_frame()
        rows = [[str(cell) for cell in row] for row in frame.itertuples(index=False)]
        console.table("Set aside", list(frame.columns), rows)
    if out is not None:
        write_set_aside(out / "set_aside.jsonl", checked.set_aside)
    if checked.exit_code == EXIT_BAD_INPUT:
        raise DataError(checked.advice)
    return checked.exit_code
