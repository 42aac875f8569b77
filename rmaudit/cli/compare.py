"""`rmaudit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.comparison.compare import Comparison, Verdict


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "compare", compare)


def compare(
    console: Console,
    before: Annotated[Path, typer.Argument(help="Folder of an audit, or its report.json.")],
    after: Annotated[Path, typer.Argument(help="The audit to compare with it.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for comparison.html and comparison.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The comparison as JSON.")] = False,
) -> None:
    """Compare two audits, paired by prompt: what got worse first."""
    from rmaudit.api import compare

    result = compare(before, after)
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _show(console, result)
    if out is not None:
        console.say(f"page: {out / 'comparison.html'}", page=str(out / "comparison.html"))


def _show(console: Console, result: Comparison) -> None:
    from rmaudit.comparison.page import TITLES, words

    if not console.json_logs:
        typer.echo(result.answer)
    listed: tuple[Verdict, ...] = ("worse", "changed", "better")
    for verdict in listed:
        rows = []
        for d in result.of(verdict):
            w = words(d)
            rows.append([d.name, w.first, w.second, f"{w.difference} [{w.interval}]", w.p])
        if rows:
            columns = ["number", "before", "after", "difference", "adjusted p"]
            console.table(TITLES[verdict], columns, rows)
    same, absent = len(result.of("no difference")), len(result.of("not compared"))
    console.say(
        f"{same} numbers without a difference beyond chance, {absent} not compared; "
        f"{result.prompts['shared']:,} shared prompts"
    )
    for note in result.notes:
        console.warn(note)
