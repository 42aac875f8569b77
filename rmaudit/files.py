"""Files of a report: whole or not at all, one clear line where they cannot be written."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import re
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmaudit.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

# What a spreadsheet may take for a formula (OWASP, CSV Injection): signs, wide ones too, also
# behind what it may drop: spaces and whatever has no shape, such as U+FEFF and U+200B.
_FORMULA = "=+-@＝＋－＠"
_SHAPELESS = {"Cc", "Cf", "Zs", "Zl", "Zp"}


MOST_TEXT = 256 << 20  # bytes of a report, or of a file of a model's folder


class NoFileError(OSError):
    """What a path names is there, but is no file with an end: a pipe, a socket, a device."""


def opened(path: Path) -> BufferedReader:
    """A file that somebody named, open for its bytes: the one way by which inputs are opened.

    Opening a named pipe waits until somebody writes to it, and reading a device may never end.

    Raises
    ------
    OSError
        If it cannot be opened; `NoFileError` if it is no regular file.
    """
    return open(path, "rb", opener=_opener)


def _opener(name: str, flags: int) -> int:
    _check_kind(Path(name).stat().st_mode)  # a socket cannot be opened at all
    descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        _check_kind(os.fstat(descriptor).st_mode)  # it may be another by now
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _check_kind(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        kind = next((words for is_it, words in _KINDS if is_it(mode)), "something")
        raise NoFileError(errno.EINVAL, f"is {kind}, and no file")


_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_folder(folder: Path) -> None:
    """Look at what a folder holds before a library opens it, which would wait for a named pipe.

    Raises
    ------
    NoFileError
        If anything in it is neither a file nor a folder; its `filename` says which.
    """
    for path in folder.rglob("*"):
        try:
            mode = path.stat().st_mode
        except OSError:  # a link that leads nowhere: whoever needs it will say so
            continue
        if not stat.S_ISDIR(mode):
            try:
                _check_kind(mode)
            except NoFileError as error:
                error.filename = str(path)
                raise


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The UTF-8 text of a file that somebody named, which may be larger than any should be.

    Raises
    ------
    OSError
        If it cannot be read, or holds more than `most` bytes.
    UnicodeDecodeError
        If it is no UTF-8.
    """
    return read_bytes(path, most).decode("utf-8")


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """The bytes of a file that somebody named; `OSError` as of `read_text`."""
    with opened(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
    return content


def write(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all; raises as `unfinished`."""
    if isinstance(content, str):  # half a surrogate pair, from a report made elsewhere
        content = content.encode("utf-8", "backslashreplace")
    with unfinished(path) as place:
        place.write_bytes(content)


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A place to write a file to that then appears under its own name: whole, or not at all.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full.
    """
    place = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield place
        place.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; make room or permission there, "
            "or name another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            place.unlink(missing_ok=True)


def check_writable(folder: Path, option: str = "--out") -> None:
    """Try a place for results before hours of work go into them; nothing is left there.

    Raises
    ------
    StoreError
        If the folder is there and cannot be written, or cannot be made.
    """
    place = folder
    while not (place.exists() or place.is_symlink()) and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".rmaudit-", dir=place):
            pass
    except OSError as error:
        raise StoreError(
            f"cannot write to {folder}: {error.strerror or error}; name another place with {option}"
        ) from error


def remove(path: Path) -> None:
    """Remove a file if it is there; `StoreError` if that is not allowed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror or error}") from error


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as CSV. Text that a spreadsheet would run as a formula gets a leading apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_harmless(name) for name in columns])
    writer.writerows([_harmless(cell) for cell in row] for row in rows)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shape = next((c for c in cell if unicodedata.category(c) not in _SHAPELESS), "")
    # Tabs and line ends may open a cell of their own.
    return "'" + cell if cell[:1] in ("\t", "\r", "\n") or (shape and shape in _FORMULA) else cell


def csv_frame(frame: pd.DataFrame) -> str:
    """A table of pandas as `csv_text` writes one; what is absent is empty."""
    text = frame.select_dtypes(exclude=["number", "bool"])
    safe = frame.copy()
    for name in text:
        safe[name] = text[name].map(_harmless)
    return safe.rename(columns=_harmless).to_csv(index=False)


def file_name(*parts: str) -> str:
    """Parts joined into a safe file name without ending."""
    return "-".join(re.sub(r"[^A-Za-z0-9_.]+", "-", part).strip("-.") or "x" for part in parts)
