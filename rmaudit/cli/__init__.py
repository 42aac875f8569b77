"""The command line: parse, call `rmaudit.api`, map the outcome to an exit code.

Nothing heavy is imported here: each command imports what it runs, so that ``rmaudit --help``
answers at once.
"""

from __future__ import annotations

import gc
import os
from typing import Annotated

import typer

from rmaudit._version import __version__
from rmaudit.cli import (
    audit,
    bench,
    card,
    compare,
    data,
    demo,
    doctor,
    gate,
    index,
    init,
    merge,
    overopt,
    plan,
    probes,
    serve,
    train,
    validate,
    verify,
)

app = typer.Typer(
    name="rmaudit",
    help="Audit a reward model where it will be exploited, say how sure it is, gate it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rmaudit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Audit a reward model where it will be exploited, say how sure it is, gate it."""


for _module in (
    demo,
    audit,
    gate,
    plan,
    index,
    bench,
    compare,
    validate,
    data,
    probes,
    overopt,
    serve,
    train,
    card,
    doctor,
    init,
    merge,
    verify,
):
    _module.register(app)


def main() -> None:
    """Run the command line; the entry point `rmaudit`."""
    # Read when numpy is loaded, which no command has been yet. OpenBLAS's threads else keep a
    # processor busy for a while after each product, waiting for another: a fifth of a small audit.
    os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # 2^4 cycles
    try:
        app()
    finally:
        gc.freeze()  # else leaving walks all that torch and a large audit have made: a second
