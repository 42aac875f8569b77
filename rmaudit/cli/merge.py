"""`rmaudit merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "merge", merge)


def merge(
    console: Console,
    parts: Annotated[list[Path], typer.Argument(help="Score stores that shards wrote.")],
    store: Annotated[
        Path | None, typer.Option(help="Score store to merge into [default: user cache].")
    ] = None,
) -> None:
    """Merge the score stores of an audit's shards; then audit with --store, without --shard."""
    from rmaudit.sharding import merge_stores

    rewards = merge_stores(parts, store)
    console.say(f"{rewards:,} rewards merged", rewards=rewards)
