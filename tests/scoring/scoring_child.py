"""A scoring process to be killed: python scoring_child.py STORE LOG RESULT TEXTS.

Each batch is written to LOG as one line before it is scored; rewards go to RESULT at the end.
"""

from __future__ import annotations

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
    sys.stdout.write("ready\n")  # imports are done: from here on a kill may come at any moment
    sys.stdout.flush()
    with ScoreStore(store_path) as store:
        scores = score(LoggingModel(log), [make_request(texts)], store=store)
    np.save(result, scores.reward("chosen"))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
