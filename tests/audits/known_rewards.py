"""A reward model that is a Python function, and its scores without an engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import Audit
from rmaudit.case import Case
from rmaudit.data.types import Dataset, DataType, Source, prompt_text
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.scoring.requests import Column, Key, Request, Scores

Reward = Callable[[str, str], float]


class FunctionModel(RewardModel):
    """The reward is ``reward(prompt, output)``; a token is a word."""

    kind = "function"

    def __init__(self, reward: Reward, *, new_text: bool = True, name: str = "function") -> None:
        self.reward = reward
        self.name = self.fingerprint = name
        self.scores_new_text = new_text

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        words = [(len(prompt_text(t.prompt).split()), len(t.output.split())) for t in texts]
        return [
            Encoded(text, prompt + output, output)
            for text, (prompt, output) in zip(texts, words, strict=True)
        ]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        return np.array(
            [self.reward(prompt_text(e.payload.prompt), e.payload.output) for e in batch],
            dtype=np.float64,
        )


def table(rows: Any, kind: DataType = "preference") -> Dataset:
    """A data set from a frame, or from a list of rows; ids and ``tie`` are filled in."""
    frame = pd.DataFrame(rows).reset_index(drop=True)
    if "id" not in frame:
        frame["id"] = [f"row{i}" for i in range(len(frame))]
    frame["row"] = np.arange(1, len(frame) + 1)
    if kind == "preference" and "tie" not in frame:
        frame["tie"] = False
    return Dataset(kind, frame, Source("made.jsonl", "0" * 64, len(frame), len(frame), 0))


def column(model: RewardModel, request: Request) -> Column:
    """What the scoring engine would return for a request."""
    encoded = model.encode([Text(*t) for t in zip(request.prompts, request.outputs, strict=True)])
    no = np.zeros(len(encoded), dtype=bool)
    return Column(
        model.forward(encoded),
        np.array([e.tokens for e in encoded], dtype=np.int64),
        np.array([e.output_tokens for e in encoded], dtype=np.int64),
        no,
        no,
        no,
    )


def score_case(
    case: Case,
    audits: Sequence[Audit] = (),
    rewards: Mapping[str, Any] | None = None,
    lengths: Mapping[str, Any] | None = None,
) -> Scores:
    """All columns of a case and of some audits, of the model and of the case's ensemble.

    `rewards` and `lengths` (output tokens) replace those of the evaluation data's sides.
    """
    requests = [*case.data_requests, *(r for audit in audits for r in audit.requests(case))]

    def columns(model: RewardModel) -> dict[Key, Column]:
        return {request.key: column(model, request) for request in requests}

    by_request = columns(case.model)
    for request in case.data_requests:
        known = by_request[request.key]
        reward = np.asarray((rewards or {}).get(request.side, known.reward), dtype=np.float64)
        length = np.asarray((lengths or {}).get(request.side, known.output_tokens), dtype=np.int64)
        by_request[request.key] = Column(
            reward,
            known.tokens - known.output_tokens + length,
            length,
            known.truncated,
            known.output_truncated,
            known.double_bos,
        )
    return Scores(
        requests,
        by_request,
        members=(by_request, *(columns(member) for member in case.ensemble)),
        length_unit=case.model.length_unit,
        member_names=tuple(model.name for model in (case.model, *case.ensemble)),
    )
