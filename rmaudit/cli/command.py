"""What every command shares: its options, --quiet, --json-logs, --debug, and how it ends."""

from __future__ import annotations

import functools
import inspect
import re
import signal
import threading
import types
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from rmaudit.config import AuditConfig, flag_of
from rmaudit.console import Console
from rmaudit.errors import EXIT_BAD_INPUT, EXIT_INTERRUPTED, RmauditError
from rmaudit.settings import Settings

OUTPUT = "What is said"
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print errors only.", rich_help_panel=OUTPUT)
]
JsonLogs = Annotated[
    bool,
    typer.Option(
        "--json-logs", help="One JSON object per line, not prose.", rich_help_panel=OUTPUT
    ),
]
Debug = Annotated[
    bool, typer.Option("--debug", help="Show the traceback of an error.", rich_help_panel=OUTPUT)
]

Offered = Mapping[str, tuple[type[Settings], str]]
"""Names on the command line -> the settings model and the field behind each."""

_SHARED: dict[str, Any] = {"quiet": Quiet, "json_logs": JsonLogs, "debug": Debug}


class PanelCommand(TyperCommand):
    """A command whose options are listed by purpose."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write a section per panel, in the order in which the options come."""
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Options" if parameter.param_type_name == "option" else "Arguments"
                # Typer shows an argument's Python type behind its name.
                record = (re.sub(r" <[^<>]*>$", "", record[0]), record[1])
                panel = getattr(parameter, "rich_help_panel", None) or default
                panels.setdefault(panel, []).append(record)
        for panel, records in panels.items():
            with formatter.section(panel):
                formatter.write_dl(records)


def add(
    app: typer.Typer,
    name: str,
    function: Callable[..., int | None],
    *,
    settings: Collection[str] | Offered = (),
) -> None:
    """Register `function(console, ...)` as a command; it returns its exit code (None is 0).

    Parameters
    ----------
    app, name, function
        Where, how it is called, and what it does.
    settings
        Settings that are options of the command, too: names of fields of `AuditConfig`, or what
        `offered` gives. The function has a parameter `given` for them, which holds what was said:
        None or False where nothing was.
    """
    if not isinstance(settings, Mapping):
        settings = offered(AuditConfig, settings)

    @functools.wraps(function)
    def run(*, quiet: bool, json_logs: bool, debug: bool, **arguments: Any) -> None:
        console = Console(quiet=quiet, json_logs=json_logs, debug=debug)
        if settings:
            given = {name: _value(arguments.pop(name)) for name in settings}
            arguments["given"] = given
        raise typer.Exit(_finish(console, lambda: function(console, **arguments)))

    hints = {**get_type_hints(function, include_extras=True), **_SHARED}
    own = list(inspect.signature(function).parameters.values())[1:]
    parameters: list[inspect.Parameter] = []
    for parameter in own:
        if parameter.name == "given":
            parameters += [setting_parameter(name, *each) for name, each in settings.items()]
        else:
            hint = _with_metavar(hints[parameter.name], parameter.name)
            parameters.append(parameter.replace(annotation=hint))
    parameters += [
        inspect.Parameter(
            flag, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=hints[flag]
        )
        for flag in _SHARED
    ]
    run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
    )
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    # Said whole: what Click makes of a docstring itself ends in the middle of a phrase.
    about = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    context = {"max_content_width": 100}
    app.command(name, cls=PanelCommand, short_help=about, context_settings=context)(run)


def offered(
    model: type[Settings], names: Collection[str] | None = None, prefix: str = ""
) -> Offered:
    """Settings as options of a command, called ``prefix + name``.

    Parameters
    ----------
    model
        What holds them.
    names
        Which; None: all of the model.
    prefix
        Before each name, where a command has settings of one name from several models.
    """
    chosen = [name for name in model.options() if names is None or name in names]
    return {prefix + name: (model, name) for name in chosen}


def setting_parameter(name: str, model: type[Settings], field_name: str) -> inspect.Parameter:
    """The command line's parameter for a setting; None (False for a switch) if it is not given."""
    field, described = model.model_fields[field_name], model.options()[field_name]
    kind, many = _kind(field.annotation)
    kind = str if many and kind in (int, float) else kind  # 1,2,4: split by the settings
    flag = flag_of(name, described)
    notes = described.notes(field)
    info = typer.Option(
        *([flag, described.short] if described.short else [flag]),
        help=f"{described.help} [{notes}]" if notes else described.help,
        rich_help_panel=described.panel,
        metavar=None if kind is bool else described.metavar or metavar_of(field.annotation),
    )
    annotation: Any = bool if kind is bool else list[kind] | None if many else kind | None  # type: ignore[valid-type]
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if kind is bool else None,
        annotation=Annotated[annotation, info],
    )


def metavar_of(annotation: Any) -> str | None:
    """What stands for a value in the help text: N, NUMBER, PATH, TEXT or the choices."""
    kind, _ = _kind(annotation)
    choices = _choices(annotation)
    if choices:
        return "|".join(choices)
    return {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}.get(kind)


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The type of one value, and whether there may be several."""
    several = False
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        elif origin in (tuple, list):
            annotation, several = get_args(annotation)[0], True
        elif origin is Literal:
            return str, several
        else:
            return annotation, several


def _choices(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((c for each in get_args(annotation) if (c := _choices(each))), ())


def _with_metavar(hint: Any, name: str) -> Any:
    """A parameter's hint, whose option or argument shows no Python type."""
    for info in getattr(hint, "__metadata__", ()):
        if isinstance(info, typer.models.ArgumentInfo) and info.metavar is None:
            info.metavar = name.upper()
        elif isinstance(info, typer.models.OptionInfo) and info.metavar is None:
            kind, _ = _kind(hint)
            info.metavar = None if kind is bool else metavar_of(hint)
    return hint


def _value(said: Any) -> Any:
    """A repeated option as the settings hold it."""
    return (tuple(said) or None) if isinstance(said, list) else said


def _end_as_interrupts() -> None:
    """SIGTERM and SIGHUP end as Ctrl-C does, unless they are ignored, as under nohup."""
    if threading.current_thread() is not threading.main_thread():
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, interrupt)


def _finish(console: Console, body: Callable[[], int | None]) -> int:
    """Run a command's body; errors the user can act on become one line and an exit code."""
    _end_as_interrupts()
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
    except MemoryError:
        if console.debug:
            raise
        console.error(
            "memory ran out; use fewer rows (--limit), a smaller --token-budget or another machine"
        )
        return EXIT_BAD_INPUT
    except RecursionError:
        if console.debug:
            raise
        console.error("a file is nested too deeply to be read; run with --debug to see which")
        return EXIT_BAD_INPUT
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
