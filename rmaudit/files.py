"""Files of a report: whole or not at all, one clear line where they cannot be written."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import re
import tempfile
import unicodedata
from collections.abc import Sequence
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


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The UTF-8 text of a file, which may be a link to what never ends.

    Raises
    ------
    OSError
        If it cannot be read, or holds more than `most` bytes.
    UnicodeDecodeError
        If it is no UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes")
    return content.decode("utf-8")


def write(path: Path, content: str | bytes) -> None:
    """Write a file that appears whole or not at all.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):  # half a surrogate pair, from a report made elsewhere
            content = content.encode("utf-8", "backslashreplace")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}; make room or permission there, "
            "or name another folder"
        ) from error


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
