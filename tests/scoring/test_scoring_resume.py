"""Killed at any moment, a pass goes on where it stopped; processes may share one store."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from scoring_stub import expected, make_request

from rmaudit.scoring import ScoreStore

CHILD = Path(__file__).with_name("scoring_child.py")
TEXTS = 4000
CHAINS, KILLS = 2, 10


class Children:
    """Scoring processes, which cost what they do and not what Python does to start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = subprocess.Popen(
            [sys.executable, str(CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def _ask(self, *wish: object) -> int | None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(wish) + "\n")
        self._server.stdin.flush()
        answer: int | None = json.loads(self._server.stdout.readline())
        return answer

    def start(self, name: str, texts: int = TEXTS) -> int:
        """A process that scores; it logs to `name`.log and saves `name`.npy."""
        paths = [str(self._folder / each) for each in ("s.sqlite", f"{name}.log", f"{name}.npy")]
        child = self._ask("start", *paths, texts)
        assert child is not None
        return child

    def runs(self, child: int) -> bool:
        return self._ask("ended", child) is None

    def finish(self, child: int, status: int = 0) -> None:
        assert self._ask("wait", child) == status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._server:
            assert self._server.stdin is not None
            self._server.stdin.close()


def batches(folder: Path, name: str) -> list[list[int]]:
    """The rows of each batch that a child began to score."""
    log = folder / f"{name}.log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [[int(row) for row in line.split()] for line in lines]


def assert_sound(path: Path, rows: int) -> None:
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert raw.execute("SELECT count(*) FROM scores").fetchone() == (rows,)
    raw.close()


def killed_chain(folder: Path, chain: int) -> int:
    """Kill a pass again and again, then let it end; the number of texts left to the last run."""
    folder.mkdir()
    rng = np.random.default_rng(chain)
    with Children(folder) as children:
        for kill in range(KILLS):
            child = children.start(str(kill))
            if kill % 2:  # in the midst of scoring
                begun_batches = rng.integers(2, 40)
                while len(batches(folder, str(kill))) < begun_batches:
                    assert children.runs(child)
                    time.sleep(0.001)
            else:  # at any moment: opening the store, looking up, ...
                time.sleep(rng.uniform(0.0, 0.1))
            os.kill(child, signal.SIGKILL)
            children.finish(child, -signal.SIGKILL)
        children.finish(children.start("last"))

    begun: set[int] = set()  # rows of batches that were begun by any run so far
    in_flight: set[int] = set()  # rows of the last batch of each run: they may be scored again
    for name in [*map(str, range(KILLS)), "last"]:
        run = batches(folder, name)
        rows = [row for batch in run for row in batch]
        assert len(set(rows)) == len(rows)
        assert begun & set(rows) <= in_flight
        begun |= set(rows)
        in_flight = (in_flight - set(rows)) | set(run[-1] if run else ())
    assert begun == set(range(TEXTS))
    assert np.array_equal(np.load(folder / "last.npy"), expected(make_request(TEXTS)))
    assert_sound(folder / "s.sqlite", TEXTS)
    return sum(map(len, batches(folder, "last")))


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL on Windows")
def test_killed_at_twenty_random_moments_it_resumes_and_scores_nothing_twice(tmp_path):
    with ThreadPoolExecutor(CHAINS) as pool:
        left = list(pool.map(lambda c: killed_chain(tmp_path / str(c), c), range(CHAINS)))
    assert all(rows < TEXTS for rows in left)  # what the killed runs scored was kept


def two_processes(children, folder):
    """Score the same 2,000 texts at once into one store, and right."""
    for child in [children.start(name, texts=2000) for name in ("one", "two")]:
        children.finish(child)
    for name in ("one", "two"):
        assert np.array_equal(np.load(folder / f"{name}.npy"), expected(make_request(2000)))
    assert_sound(folder / "s.sqlite", 2000)


def test_two_processes_share_a_store(tmp_path):
    with Children(tmp_path) as children:
        two_processes(children, tmp_path)
        children.finish(children.start("three", texts=2000))
    assert batches(tmp_path, "three") == []


def test_two_processes_that_find_a_damaged_store_replace_it_once(tmp_path):
    ScoreStore(tmp_path / "s.sqlite").close()
    (tmp_path / "s.sqlite").write_bytes(b"no database" * 1000)
    with Children(tmp_path) as children:
        two_processes(children, tmp_path)
    assert len(list(tmp_path.glob("s.sqlite.damaged-*"))) == 1
