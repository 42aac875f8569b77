"""What every command shares: --quiet, --json-logs, --debug, and how it ends."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer

from rmaudit.console import Console
from rmaudit.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, RmauditError

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
JsonLogs = Annotated[
    bool, typer.Option("--json-logs", help="One JSON object a line on stderr instead of prose.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]

_SHARED: dict[str, Any] = {"quiet": Quiet, "json_logs": JsonLogs, "debug": Debug}


def add(app: typer.Typer, name: str, function: Callable[..., int | None]) -> None:
    """Register `function(console, ...)` as a command; it returns its exit code (None is 0)."""

    @functools.wraps(function)
    def run(*, quiet: bool, json_logs: bool, debug: bool, **arguments: Any) -> None:
        console = Console(quiet=quiet, json_logs=json_logs, debug=debug)
        raise typer.Exit(_finish(console, lambda: function(console, **arguments)))

    hints = {**get_type_hints(function, include_extras=True), **_SHARED}
    own = list(inspect.signature(function).parameters.values())[1:]
    own += [
        inspect.Parameter(flag, inspect.Parameter.KEYWORD_ONLY, default=False) for flag in _SHARED
    ]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[p.name]) for p in own]
    )
    run.__annotations__ = {p.name: hints[p.name] for p in own}
    app.command(name)(run)


def _finish(console: Console, body: Callable[[], int | None]) -> int:
    """Run a command's body; errors the user can act on become one line and an exit code."""
    try:
        return body() or 0
    except KeyboardInterrupt:
        console.error("interrupted; the same command goes on where this one stopped")
        return EXIT_INTERRUPTED
    except RmauditError as error:
        if console.debug:
            raise
        console.error(str(error))
        return error.exit_code
    except OSError as error:
        if console.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        console.error(f"{where}{error.strerror or error}; check the path and the free space")
        return EXIT_BAD_INPUT
    except Exception as error:
        if console.debug:
            raise
        console.error(
            f"internal error ({type(error).__name__}: {error}); run again with --debug for the "
            "traceback and report it"
        )
        return EXIT_BAD_INPUT
