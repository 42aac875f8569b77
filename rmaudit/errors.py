"""Errors a user can act on, and the exit code each one maps to.

Every message says what is wrong, where, and what to do, in one line: the command line prints it
as it stands, with a traceback only under ``--debug``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INCONCLUSIVE = 3
EXIT_INTERRUPTED = 130


MOST_MESSAGE = 2_000  # characters of a message; of a longer one both ends are kept


class RmauditError(Exception):
    """Base of all errors that are the input's or the machine's, not the program's.

    The message is one line of bounded length, whatever a file or a library put into it.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class UsageError(RmauditError):
    """The command or the call was not understood."""


class DataError(RmauditError):
    """Preference data that cannot be read or holds no usable row."""


class RewardModelError(RmauditError):
    """A reward model that cannot be loaded, or that failed while it scored."""


class StoreError(RmauditError):
    """The score store or an output folder cannot be read or written."""


class SchemaError(RmauditError):
    """A configuration, policy or report that does not follow its schema."""


class PluginError(RmauditError):
    """A third-party plugin that failed to load; never passed over in silence."""


def one_line(message: str) -> str:
    """A message without line ends, and without the middle of what is too long to be read."""
    if len(message) > MOST_MESSAGE:
        half = MOST_MESSAGE // 2
        message = f"{message[:half]} … {message[-half:]}"
    return " ".join(part.strip() for part in message.splitlines()) if message else ""


def brief(value: object, most: int = 60) -> str:
    """A value of a file as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"
