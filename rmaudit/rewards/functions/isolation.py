"""Where a reward function runs: in a process of its own, or (if it was handed over) in this one."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import json
import os
import pickle  # nosec B403: between a process and its own child
import select
import signal
import subprocess  # nosec B404
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.functions.items import Answers, Item
from rmaudit.rewards.functions.opening import Facts, look_at, parsed
from rmaudit.rewards.functions.signatures import Reads
from rmaudit.rewards.functions.worker import SIZE, failure

_START = 600.0  # seconds that importing a module may take: it may load a model
_TAIL = 20  # lines of a worker's output that are kept for an error message


class CallError(Exception):
    """A call that came to nothing: `kind` is "raised", "column", "answer", "time" or "left"."""

    def __init__(self, kind: str, said: str) -> None:
        super().__init__(said)
        self.kind = kind


class Runner(Protocol):
    """What calls a function."""

    facts: Facts

    def call(self, items: Sequence[Item], limit: float) -> Answers:
        """The rewards of some items, within `limit` seconds; `CallError` if there are none."""


class Here:
    """A function that was handed over as an object, run in this process without a time limit."""

    def __init__(self, function: Any, name: str, module: ModuleType | None = None) -> None:
        self._function = function
        self._signature, self.facts = look_at(function, name, module)

    def call(self, items: Sequence[Item], limit: float) -> Answers:
        """See `Runner.call`. What it prints is kept off this process's output."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                return self._signature.call(self._function, items)
        except SystemExit as error:
            raise CallError("left", f"tried to end the process ({error.code!r})") from error
        except Exception as error:
            answer = failure(error)
            raise CallError(answer["error"], answer["said"]) from error


class Worker:
    """A function named by ``python:module:callable``, in a process of its own.

    The process is killed, with whatever it started, when a call takes too long, and another takes
    its place for the next call. A function that ends, forks or prints costs this process nothing.

    Raises
    ------
    UsageError
        If the specification is wrong.
    RewardModelError
        If the function cannot be opened.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        module, name = parsed(spec)
        self._name = f"{module}:{name}"
        self._folder = str(Path.cwd())
        self._process: _Process | None = None
        self.facts = self._started().facts

    def call(self, items: Sequence[Item], limit: float) -> Answers:
        """See `Runner.call`."""
        process = self._started()
        try:
            answer = process.ask({"items": [dataclasses.astuple(item) for item in items]}, limit)
        except CallError:
            self.close()
            raise
        if "error" in answer:
            raise CallError(answer["error"], answer["said"])
        return Answers(answer["total"], answer["components"])

    def close(self) -> None:
        """End the process; another call starts one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def _started(self) -> _Process:
        if self._process is None:
            process = _Process()
            try:
                opened = process.ask(
                    {
                        "spec": self.spec,
                        "name": self._name,
                        "path": sys.path,
                        "folder": self._folder,
                    },
                    _START,
                )
            except CallError as error:
                process.kill()
                raise RewardModelError(f"{self.spec}: importing it {error}") from error
            if "error" in opened:
                process.kill()
                kind = UsageError if opened["error"] == "usage" else RewardModelError
                raise kind(opened["said"])
            reads = dict(opened["facts"].pop("reads"))
            everything = bool(reads.pop("everything"))
            named = {name: tuple(columns) for name, columns in reads.items()}
            process.facts = Facts(**opened["facts"], reads=Reads(everything=everything, **named))
            self._process = process
        return self._process

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}


class _Process:
    """A worker process and the pipes to it."""

    facts: Facts

    def __init__(self) -> None:
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        root = str(Path(__file__).parents[3])
        there = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": root + (os.pathsep + there if there else "")}
        self._process = subprocess.Popen(  # nosec B603: our own interpreter and module
            [
                sys.executable,
                "-m",
                "rmaudit.rewards.functions.worker",
                str(theirs_in),
                str(theirs_out),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(theirs_in, theirs_out),
            env=environment,
            start_new_session=True,  # so that whatever it starts ends with it
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._output: collections.deque[bytes] = collections.deque(maxlen=_TAIL)
        self._drain = threading.Thread(
            target=_drain, args=(self._process.stdout, self._output), daemon=True
        )
        self._drain.start()
        self._left = b""
        # Also when this object is forgotten, and when the interpreter ends.
        self._end = weakref.finalize(self, _end, self._process, (self._out, self._in))

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer to a request; `CallError` of kind "time" or "left" if none comes."""
        data = pickle.dumps(request)
        try:
            _write(self._out, SIZE.pack(len(data)) + data)
        except BrokenPipeError:
            raise CallError("left", f"ended its process{self._said()}") from None
        deadline = time.monotonic() + limit
        while b"\n" not in self._left:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([self._in], [], [], wait)[0]:
                raise CallError("time", f"took over {limit:g} seconds")
            chunk = os.read(self._in, 1 << 16)
            if not chunk:
                raise CallError("left", f"ended its process{self._said()}")
            self._left += chunk
        line, _, self._left = self._left.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        """End the process and all that it started, at once."""
        self._end()

    def _said(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        code = self._process.returncode
        _kill(self._process)  # what it started may hold its output open
        self._drain.join(5)
        last = self._output[-1].decode("utf-8", "replace").strip() if self._output else ""
        return f" (exit code {code})" + (f", last words: {last[:200]}" if last else "")


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _drain(output: IO[bytes] | None, kept: collections.deque[bytes]) -> None:
    """Read what a function prints, so that it never waits; the last lines are kept."""
    if output is not None:
        with contextlib.suppress(ValueError, OSError), output:
            while line := output.readline(4096):
                kept.append(line)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], pipes: tuple[int, int]) -> None:
    _kill(process)
    for pipe in pipes:
        with contextlib.suppress(OSError):
            os.close(pipe)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
