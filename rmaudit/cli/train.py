"""`rmaudit train reward`."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Train reward models.", no_args_is_help=True)
    app.add_typer(group, name="train")
