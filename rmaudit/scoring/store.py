"""The score store: rewards that outlive a run, one SQLite file shared by all audits.

A reward is found by the model's fingerprint and the text's key (`rmaudit.scoring.keys`). Each
batch is one transaction in write-ahead mode, so that a killed run loses the batch in flight and
nothing else, and several processes may share the file.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rmaudit.errors import StoreError
from rmaudit.scoring.database import (
    APPLICATION,
    PATIENCE,
    VERSION,
    identity,
    is_sqlite,
    is_store,
    patiently,
    read,
    start_of,
    take_over,
    transaction,
)
from rmaudit.scoring.keys import Keys, keys_to_bytes
from rmaudit.scoring.lock import FileLock
from rmaudit.scoring.rows import PACKED_BYTES, ROW, Rows, pack, unpack
from rmaudit.scoring.store_types import NullStore

_QUICK_CHECK_BYTES = 32 << 20  # checked whole on opening up to this size: about 0.1 s
_CARDS = "CREATE TABLE IF NOT EXISTS cards (key TEXT PRIMARY KEY, card TEXT NOT NULL)"
_LOOK_UP = 100_000  # keys a statement
_SET_ASIDE_PATIENCE = 10.0  # seconds to wait until nobody else uses a damaged file
_SCHEMA = """
    CREATE TABLE models (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
    CREATE TABLE scores (
        model INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (model, key)
    ) WITHOUT ROWID;
"""
# One blob carries all keys, so that no Python runs for each; CROSS JOIN fixes the order of loops.
_NUMBERS = """
    WITH RECURSIVE numbers(i) AS (
        VALUES (0) UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :n
    )
"""
_SELECT = f"""{_NUMBERS}
    SELECT i, value FROM numbers CROSS JOIN scores
    ON model = :model AND key = substr(:keys, 16 * i + 1, 16)
"""
_INSERT = f"""
    INSERT OR REPLACE INTO scores {_NUMBERS}
    SELECT :model, substr(:keys, 16 * i + 1, 16), substr(:values, :size * i + 1, :size)
    FROM numbers
"""
_log = logging.getLogger(__name__)
T = TypeVar("T")


def default_path() -> Path:
    """``RMAUDIT_STORE``, or a file in the user's cache folder."""
    if named := os.environ.get("RMAUDIT_STORE"):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("rmaudit") / "scores.sqlite"


def open_store(path: str | Path | None = None, *, cache: bool = True) -> NullStore | ScoreStore:
    """The store at `path` (None: `default_path`); one that keeps nothing if not `cache`.

    Raises
    ------
    StoreError
        If the file cannot be made, read or written, or belongs to another program.
    """
    if not cache:
        return NullStore()
    return ScoreStore(default_path() if path is None else path)


class ScoreStore:
    """Rewards on disk. Use as a context manager, from one thread.

    A file that turns out to be damaged is renamed to ``<path>.damaged-<time>``, with a warning,
    and an empty one takes its place: its texts are scored again. Rows carry a checksum over key
    and content; one that fails it counts as not stored.

    Parameters
    ----------
    path
        The SQLite file; made, with its folders, if absent.
    warn
        Called with one line if a damaged file was set aside.

    Raises
    ------
    StoreError
        From every method: the file cannot be made, read or written (no folder, no permission,
        disk full), another process holds it for over a minute, or it is not a score store.
    """

    def __init__(self, path: str | Path, *, warn: Callable[[str], None] = _log.warning) -> None:
        self.path = Path(path)
        self._warn = warn
        self._connection: sqlite3.Connection | None = None
        self._models: dict[str, int] = {}
        self._identity: tuple[int, int] | None = None
        self._ours = True
        self._lock = FileLock(self.path.with_name(self.path.name + ".lock"))
        self._guarded(lambda connection: None)

    def look_up(self, fingerprint: str, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """See `Store.look_up`. Keys in ascending order are found faster."""
        return self._guarded(lambda connection: self._look_up(connection, fingerprint, keys))

    def add(self, fingerprint: str, keys: Keys, rows: Rows) -> None:
        """See `Store.add`; on disk when it returns, whatever happens to the process."""
        if len(keys):
            self._guarded(lambda connection: self._add(connection, fingerprint, keys, rows))

    def fingerprints(self, prefix: str) -> list[str]:
        """See `Store.fingerprints`."""
        statement = "SELECT fingerprint FROM models WHERE substr(fingerprint, 1, ?) = ? ORDER BY 1"
        return self._guarded(
            lambda connection: [
                name for (name,) in connection.execute(statement, (len(prefix), prefix))
            ]
        )

    def card(self, key: str) -> dict[str, Any] | None:
        """See `Cards.card`."""
        statement = "SELECT card FROM cards WHERE key = ?"
        row = self._guarded(lambda c: c.execute(statement, (key,)).fetchone())
        try:
            kept = None if row is None else json.loads(row[0])
        except (ValueError, RecursionError, TypeError):  # whoever wrote it: the model is opened
            kept = None
        return kept if isinstance(kept, dict) else None

    def keep_card(self, key: str, card: dict[str, Any]) -> None:
        """See `Cards.keep_card`."""
        text = json.dumps(card)
        statement = "INSERT OR REPLACE INTO cards VALUES (?, ?)"
        self._guarded(lambda c: c.execute(statement, (key, text)))

    def merge(self, path: Path) -> int:
        """Take over the rewards of another store, such as another machine's share.

        Parameters
        ----------
        path
            The other file; it stays as it is.

        Returns
        -------
        int
            Rewards that it holds. Those that are here already are replaced by equal ones.

        Raises
        ------
        StoreError
            If there is no such file, or it is not a score store.
        """
        if not path.is_file():
            raise StoreError(f"there is no score store {path}; name the files that shards wrote")
        if identity(path) == identity(self.path):
            raise StoreError(f"{path} is the store to merge into; name the files that shards wrote")
        return self._guarded(lambda connection: take_over(connection, path))

    def close(self) -> None:
        """Close the file; another call opens it again."""
        connection, self._connection = self._connection, None
        self._models.clear()
        if connection is not None:
            connection.close()
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _look_up(
        self, connection: sqlite3.Connection, fingerprint: str, keys: Keys
    ) -> tuple[Rows, NDArray[np.bool_]]:
        rows = np.zeros(len(keys), dtype=ROW)
        is_there = np.zeros(len(keys), dtype=np.bool_)
        model = self._model(connection, fingerprint)
        if model is None:
            return rows, is_there
        for start in range(0, len(keys), _LOOK_UP):
            part = keys[start : start + _LOOK_UP]
            bound = {"n": len(part), "model": model, "keys": keys_to_bytes(part)}
            hits = connection.execute(_SELECT, bound).fetchall()
            hits = [(i, v) for i, v in hits if isinstance(v, bytes) and len(v) == PACKED_BYTES]
            places = np.array([i for i, _ in hits], dtype=np.int64)
            stored, sound = unpack(part[places], b"".join([value for _, value in hits]))
            rows[start + places[sound]] = stored[sound]
            is_there[start + places[sound]] = True
        return rows, is_there

    def _add(
        self, connection: sqlite3.Connection, fingerprint: str, keys: Keys, rows: Rows
    ) -> None:
        with transaction(connection):
            model = self._model(connection, fingerprint)
            if model is None:
                insert = "INSERT INTO models (fingerprint) VALUES (?)"
                model = connection.execute(insert, (fingerprint,)).lastrowid
            bound = {
                "n": len(rows),
                "model": model,
                "keys": keys_to_bytes(keys),
                "values": pack(keys, rows),
                "size": PACKED_BYTES,
            }
            connection.execute(_INSERT, bound)

    def _model(self, connection: sqlite3.Connection, fingerprint: str) -> int | None:
        if fingerprint not in self._models:
            select = "SELECT id FROM models WHERE fingerprint = ?"
            row = connection.execute(select, (fingerprint,)).fetchone()
            if row is None:
                return None
            self._models[fingerprint] = int(row[0])
        return self._models[fingerprint]

    def _guarded(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do `work`; set a damaged file aside and try once more; name every other trouble."""
        try:
            try:
                return work(self._open())
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._set_aside(error)
                return work(self._open())
        except StoreError:
            self.close()
            raise
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreError(
                f"score store {self.path}: {error}; make room or permission there, "
                "name another file with --store, or use --no-cache"
            ) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._refuse_other_files()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.share()
            connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
            self._identity = identity(self.path)
            try:
                _prepare(connection, self.path)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _refuse_other_files(self) -> None:
        """Never touch what is another's: only a score store that is damaged may be moved away."""
        self._ours = True
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise StoreError(f"{self.path} is no file; name a score store with --store")
        start = start_of(self.path)
        # A store whose header is gone is known by the lock file, always empty, that it left.
        lock = self.path.with_name(self.path.name + ".lock")
        self._ours = not start or is_store(start) or (lock.is_file() and not lock.stat().st_size)
        if not (self._ours or is_sqlite(start)):
            raise StoreError(
                f"{self.path} is no score store, and is left as it is; name another file with "
                "--store"
            )

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        """Move a damaged file away, unless another process has done so.

        Never under a process that still uses it: SQLite finds a database's log by name, and would
        take the new file's log for the old one's.
        """
        self.close()
        if not self._ours:
            raise StoreError(
                f"{self.path} is no score store ({error}), and is left as it is; name another "
                "file with --store"
            )
        try:
            self._lock.own(_SET_ASIDE_PATIENCE)
        except TimeoutError as busy:
            raise StoreError(
                f"the score store {self.path} is damaged ({error}) and another process has it "
                "open; let that one end, or use --no-cache"
            ) from busy
        if self._identity != identity(self.path):
            return
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        for ending in ("", "-wal", "-shm"):
            part = self.path.with_name(self.path.name + ending)
            if part.exists():
                part.rename(aside.with_name(aside.name + ending))
        self._warn(
            f"the score store {self.path} is damaged ({error}); it was set aside as {aside.name} "
            "and its texts are scored again"
        )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Settings of a connection; the tables, if the file is new; a look at its health."""
    connection.execute("PRAGMA cache_size = -65536")  # KiB
    # Pages of log, 64 MB: a rare checkpoint doubles the rate of small scattered batches.
    connection.execute("PRAGMA wal_autocheckpoint = 16384")
    version = read(connection, "user_version")
    if version != VERSION or read(connection, "application_id") != APPLICATION:
        if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            raise StoreError(
                f"{path} is not a score store of this version of rmaudit; "
                "name another file with --store"
            )
        patiently(lambda: connection.execute("PRAGMA journal_mode = WAL"))
        with transaction(connection):
            if read(connection, "user_version") != VERSION:  # no other process was faster
                for statement in _SCHEMA.split(";")[:-1]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                connection.execute(f"PRAGMA user_version = {VERSION}")
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'cards'").fetchone():
        connection.execute(_CARDS)  # a store of before there were cards
    # Safe against a killed process; a power cut may cost the last batches, not the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    small = path.stat().st_size <= _QUICK_CHECK_BYTES
    if small and connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("database disk image is malformed")


def _damaged(error: sqlite3.DatabaseError) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # our own, of `_prepare`
        return "malformed" in str(error)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
