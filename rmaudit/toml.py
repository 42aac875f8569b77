"""TOML files that people write: read safely, and their faults said in one line."""

from __future__ import annotations

import errno
import re
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmaudit.errors import SchemaError, nearest
from rmaudit.files import read_text

if TYPE_CHECKING:
    from pydantic import ValidationError

SIZE_LIMIT = 1_000_000  # bytes; a settings file larger than this is a mistake or an attack
KEY_PARTS = 200  # of a.b.c, at most


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; `SchemaError` names the file and the fault."""
    try:
        text = read_text(path, SIZE_LIMIT)
        # The parser's time grows with the square of a key's parts: minutes for the half a million
        # that fit.
        if any(part.count(".") > KEY_PARTS for part in re.split("[=\n]", text)):
            raise SchemaError(f"{path}: nested too deeply")
        return tomllib.loads(text)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise SchemaError(f"{path}: {error.strerror}; not a settings file") from None
        raise SchemaError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, no TOML, a number of 5,000 digits
        raise SchemaError(f"{path}: not TOML: {error}") from None


def schema_error(error: ValidationError, where: str, known: Collection[str] = ()) -> SchemaError:
    """The first fault of a validation, in one line; `known` names help with a misspelt one."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or "settings"
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden" and known:
        return SchemaError(f"{where}: no setting is named {name!r}; {nearest(name, known)}")
    return SchemaError(f"{where}: {name}: {message}")
