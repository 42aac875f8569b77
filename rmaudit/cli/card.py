"""`rmaudit card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console, printable


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "card", card)


def card(
    console: Console,
    report: Annotated[Path, typer.Argument(help="Folder of an audit, or its report.json.")],
    out: Annotated[
        Path | None,
        typer.Option(help="README.md to write, or to bring up to date [default: standard output]."),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(
            metavar="ORG/NAME", help="Bring the card of this model on the hub up to date."
        ),
    ] = None,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="With --push: propose it as a pull request.")
    ] = False,
) -> None:
    """Write a model card's section and evaluation results from a report."""
    from rmaudit.errors import UsageError
    from rmaudit.export.card import card_text, model_card, write_card
    from rmaudit.report.document import Report

    opened = Report.load(report)
    if pull_request and push is None:
        raise UsageError("--pull-request belongs to --push ORG/NAME")
    if push is not None:
        from rmaudit.export.hub import push_card

        where = push_card(opened, push, pull_request=pull_request)
        console.say(f"pushed: {where}", url=where)
    if out is None and push is not None:
        return
    if out is None:
        typer.echo(printable(card_text(model_card(opened))), nl=False)
    else:
        write_card(out, opened)
        console.say(f"card: {out}", card=str(out))
