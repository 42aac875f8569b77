"""Settings in the name of a model: ``prm:PATH?aggregate=mean``, ``pair:PATH?chat=yes``."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import unquote

from rmaudit.errors import UsageError


def parse(kind: str, query: str, settings: type[Any], example: str) -> dict[str, Any]:
    r"""The settings that ``NAME=VALUE&NAME=VALUE`` gives; percent-encoding and ``\n`` are read.

    Parameters
    ----------
    kind
        What stands before the path: "prm", "pair".
    settings
        The dataclass whose fields may be named; those of a `Literal` take its values alone.
    example
        Of a whole name, for the message.

    Raises
    ------
    UsageError
        If a name or a choice is unknown, or a value is empty.
    """
    hints = get_type_hints(settings)
    known = [each.name for each in fields(settings)]
    given: dict[str, Any] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        value = unquote(value).replace("\\n", "\n")
        if name not in known or not value:
            raise UsageError(
                f"{kind}: {part!r}: say NAME=VALUE with one of {', '.join(known)}, e.g. {example}"
            )
        choices = get_args(hints[name]) if get_origin(hints[name]) is Literal else (value,)
        if value not in choices:
            raise UsageError(f"{kind}: {name}={value}: say {', '.join(choices)}")
        given[name] = value
    return given
