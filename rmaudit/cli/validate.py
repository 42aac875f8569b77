"""`rmaudit validate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.errors import EXIT_BAD_INPUT, RmauditError

if TYPE_CHECKING:
    from rmaudit.data.types import SetAside

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
        list[str],
        typer.Argument(help="Data files, folders, patterns, hub ids, or - for standard input."),
    ],
    columns: Columns = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the rows set aside to OUT/set_aside.jsonl.")
    ] = None,
) -> int:
    """Check data alone and say row by row what is wrong.

    Exit 0 clean, 1 some rows set aside, 2 nothing usable or labels not understood; of
    several sources the worst decides.
    """
    from rmaudit.data import write_set_aside

    codes: list[int] = []
    rows: list[SetAside] = []
    for path in data:
        try:
            code, set_aside = _one(console, path, columns)
        except RmauditError as error:
            if len(data) == 1 or console.debug:
                raise
            console.error(str(error))  # the other files have their own answers
            code, set_aside = EXIT_BAD_INPUT, ()
        codes.append(code)
        rows += set_aside
        if out is not None:
            write_set_aside(out / "set_aside.jsonl", rows)
    return max(codes)


def _one(console: Console, data: str, columns: str | None) -> tuple[int, Sequence[SetAside]]:
    """Say what is wrong with one source; its exit code, and the rows set aside."""
    from rmaudit.data import validate as check

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
    if checked.exit_code == EXIT_BAD_INPUT:
        console.error(checked.advice)
    return checked.exit_code, checked.set_aside
