"""Scoring processes to be killed, forked by one that has everything imported.

It reads a JSON line for each wish, and answers with one: ``["start", STORE, LOG, RESULT, TEXTS]``
gives the number of a new process, ``["ended", NUMBER]`` its exit status or null, and
``["wait", NUMBER]`` its exit status. Of a scoring process each batch is written to LOG as one line
before it is scored; rewards go to RESULT at the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scoring_stub import StubModel, make_request

from rmaudit.rewards.base import Encoded
from rmaudit.scoring import ScoreStore, score


class LoggingModel(StubModel):
    def __init__(self, log: str) -> None:
        super().__init__(max_batch=8, token_budget=10_000)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        line = " ".join(str(e.payload.prompt).removeprefix("prompt ") for e in batch)
        os.write(self._log, (line + "\n").encode())
        time.sleep(0.003)
        return super().forward(batch, pad_left=pad_left)


def main(store_path: str, log: str, result: str, texts: int) -> None:
    with ScoreStore(store_path) as store:
        scores = score(LoggingModel(log), [make_request(texts)], store=store)
    np.save(result, scores.reward("chosen"))


def fork(store_path: str, log: str, result: str, texts: int) -> int:
    """The number of a process that scores."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        main(store_path, log, result, texts)
        code = 0
    finally:
        os._exit(code)


def status(child: int, flags: int) -> int | None:
    """The exit status, negative where a signal ended it; None while it runs."""
    ended, code = os.waitpid(child, flags)
    return os.waitstatus_to_exitcode(code) if ended else None


if __name__ == "__main__":
    for line in sys.stdin:
        wish, *given = json.loads(line)
        answer = fork(*given) if wish == "start" else status(*given, os.WNOHANG * (wish == "ended"))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
