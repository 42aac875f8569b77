"""A lock between processes: many may use a file, one alone may move it away."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO


class FileLock:
    """Shared or exclusive hold on a lock file; a process that is killed lets go.

    On Windows nothing is locked: there the system itself refuses to move a file that is in use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def share(self) -> None:
        """Hold with others; waits while one has it alone."""
        self._acquire(exclusive=False, patience=60.0)

    def own(self, patience: float) -> None:
        """Hold alone; `TimeoutError` after `patience` seconds if others do not let go."""
        self._acquire(exclusive=True, patience=patience)

    def release(self) -> None:
        """Let go."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _acquire(self, *, exclusive: bool, patience: float) -> None:
        self.release()
        if sys.platform == "win32":
            return
        import fcntl

        self._file = self._path.open("ab")
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(self._file, kind | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    self.release()
                    raise TimeoutError("another process has it open") from None
                time.sleep(0.02)
