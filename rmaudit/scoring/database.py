"""SQLite as the score store uses it: transactions, waiting, whose a file is, taking one over."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rmaudit.errors import StoreError
from rmaudit.files import opened

APPLICATION = 0x524D4175  # "RMAu", so that no other program's database is taken for a store
VERSION = 1
PATIENCE = 60.0  # seconds to wait for another process's transaction
_MAGIC = b"SQLite format 3\x00"
_MERGE_MODELS = (
    "INSERT OR IGNORE INTO models (fingerprint) SELECT fingerprint FROM part.models ORDER BY id"
)
_MERGE_SCORES = """
    INSERT OR REPLACE INTO scores
    SELECT own.id, theirs.key, theirs.value FROM part.scores AS theirs
    JOIN part.models AS named ON named.id = theirs.model
    JOIN models AS own ON own.fingerprint = named.fingerprint
"""
_MERGE_CARDS = "INSERT OR IGNORE INTO cards SELECT key, card FROM part.cards"


def take_over(connection: sqlite3.Connection, path: Path) -> int:
    """Errors are the other file's: they must not have this one set aside as damaged."""
    try:
        connection.execute("ATTACH ? AS part", (str(path),))
        try:
            facts = read(connection, "part.application_id"), read(connection, "part.user_version")
            if facts != (APPLICATION, VERSION):
                raise StoreError(f"{path} is not a score store of this version of rmaudit")
            with transaction(connection):
                connection.execute(_MERGE_MODELS)
                connection.execute(_MERGE_SCORES)
                if connection.execute(
                    "SELECT 1 FROM part.sqlite_schema WHERE name = 'cards'"
                ).fetchone():
                    connection.execute(_MERGE_CARDS)
            return int(connection.execute("SELECT count(*) FROM part.scores").fetchone()[0])
        finally:
            connection.execute("DETACH part")
    except sqlite3.DatabaseError as error:
        raise StoreError(f"the score store {path} cannot be merged: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE ... COMMIT; rolled back whatever interrupts it, Ctrl-C too."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled back already
            connection.execute("ROLLBACK")
        raise


def read(connection: sqlite3.Connection, pragma: str) -> int:
    """A pragma that is a number."""
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def patiently(work: Callable[[], object]) -> None:
    """SQLite does not wait for its lock when it changes the journal's mode: wait here."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells one file from another at its place; None if there is none."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return (status.st_dev, status.st_ino)


def start_of(path: Path) -> bytes:
    """The first 100 bytes of a file, where SQLite's header is."""
    with opened(path) as file:
        return file.read(100)


def is_sqlite(start: bytes) -> bool:
    """Whether a file that starts so is a database, or an empty file that may become one."""
    return not start or start.startswith(_MAGIC)


def is_store(start: bytes) -> bool:
    """Whether a database that starts so says that it is a score store."""
    return start.startswith(_MAGIC) and start[68:72] == APPLICATION.to_bytes(4)
