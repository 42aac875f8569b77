"""`rmaudit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.files import check_writable


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "demo", demo)


def demo(
    console: Console,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = Path("reports/demo"),
    synthetic: Annotated[
        bool,
        typer.Option("--synthetic", help="Audit a reward that is a function; nothing is trained."),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Seed of the world, the feedback and the training.")
    ] = 0,
) -> None:
    """Build the clinic world, train a reward-model ensemble on narrow feedback, and audit it."""
    from rmaudit.cli.audit import show
    from rmaudit.demo import run

    check_writable(out)
    report = run(out, seed, console, train=not synthetic)
    show(console, report, out)
