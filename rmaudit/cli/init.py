"""`rmaudit init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "init", init)


def init(
    console: Console,
    folder: Annotated[Path, typer.Argument(help="Where to write [default: here].")] = Path(),
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Model that audit.toml names.")
    ] = None,
    eval: Annotated[str | None, typer.Option(help="Evaluation data that audit.toml names.")] = None,
) -> None:
    """Write audit.toml, gate.toml, a test file and a CI workflow; touch nothing that is there."""
    from rmaudit.starter import starter_files, write_starter

    for path in write_starter(folder, starter_files(model, eval)):
        console.say(f"wrote {path}", file=str(path))
    console.say("next: name your model and data in audit.toml, then")
    trust = " --trust-code" if (model or "").startswith("python:") else ""
    console.say(f"  rmaudit audit --config audit.toml{trust} --out reports/mine")
    console.say("  rmaudit gate reports/mine --policy gate.toml")
