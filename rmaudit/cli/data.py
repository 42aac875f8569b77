"""`rmaudit data`."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="The data layouts that are read.", no_args_is_help=True, rich_markup_mode=None
    )
    command.add(group, "formats", formats)
    app.add_typer(group, name="data")


def formats(
    console: Console,
    name: Annotated[
        str | None, typer.Argument(help="One layout: its columns, source and an example row.")
    ] = None,
) -> None:
    """The published layouts that are recognised, each with an example row."""
    from rmaudit.data.containers import READ
    from rmaudit.data.layouts import layouts

    if name is not None:
        layout = layouts[name]
        rows = [
            ["what", layout.title],
            ["read as", layout.shape.kind],
            ["told by the columns", ", ".join(layout.columns)],
            ["columns used", ", ".join(sorted(layout.shape.reads))],
            ["checked against", f"{layout.source} ({layout.checked})"],
            ["example row", json.dumps(layout.example, ensure_ascii=False)],
        ]
        console.table(name, ["", ""], rows)
        return
    rows = [
        [name, layout.shape.kind, layout.title, json.dumps(layout.example, ensure_ascii=False)]
        for name, layout in sorted(layouts.items())
    ]
    console.table("Layouts", ["name", "read as", "what", "example row"], rows)
    console.say(f"files: {READ}")
    console.say("other columns: --columns chosen=response_a,rejected=response_b,label=winner")
