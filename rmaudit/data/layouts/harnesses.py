"""What evaluation harnesses log: lm-evaluation-harness's samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pandas as pd

from rmaudit.data.faults import Fault
from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Row, needed
from rmaudit.data.paths import MISSING, get
from rmaudit.data.types import DataType

_PROMPT, _RESPONSES, _FILTER, _DOCUMENT = "arguments.gen_args_0.arg_0", "resps[0]", "filter", "doc"


@dataclass(frozen=True)
class Logged:
    """A document with what was generated for it.

    A task with several filters logs each document once per filter, with the same generations: the
    rows of the first filter are read. A document's fields become columns.
    """

    first: list[Any] = field(default_factory=list)  # the first filter, once it was seen
    kind: ClassVar[DataType] = "samples"
    reads: ClassVar[set[str]] = {"arguments", "resps", "doc", "filter", "reward"}

    def begin(self) -> Logged:
        """The same without any row read."""
        return replace(self, first=[])

    def rows(self, record: Mapping[str, Any]) -> list[Row]:
        """The samples of one document; none for a further filter's row."""
        name = record.get(_FILTER)
        if not self.first:
            self.first.append(name)
        if name != self.first[0]:
            return []
        responses = needed(record, _RESPONSES)
        if not isinstance(responses, list) or not all(isinstance(each, str) for each in responses):
            raise Fault("resps", "no generated text (a task of likelihoods?)")
        document = record.get(_DOCUMENT)
        row = dict(document) if isinstance(document, Mapping) else {}
        row |= {"prompt": needed(record, _PROMPT), "outputs": responses}
        reward = record.get("reward")
        if len(responses) == 1 and isinstance(reward, int | float):
            row["rewards"] = [reward]
        return [row]

    def gathered(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table as it is: each row has all samples of its document."""
        return frame


register_layout(
    Layout(
        "lm-eval-samples",
        "lm-evaluation-harness's samples_TASK.jsonl (--log_samples) of tasks that generate",
        ("doc_id", "doc", "arguments", "resps", "filtered_resps"),
        Logged(),
        "EleutherAI/lm-evaluation-harness 0.4.13, a file that it wrote",
        "file",
        {
            "doc_id": 0,
            "doc": {"question": "What is 2 plus 2?"},
            "target": "4",
            "arguments": {"gen_args_0": {"arg_0": "What is 2 plus 2?", "arg_1": {"until": []}}},
            "resps": [["4"]],
            "filtered_resps": ["4"],
            "filter": "none",
            "metrics": ["reward"],
            "reward": 1.0,
        },
        when=lambda row: get(row, _PROMPT) is not MISSING,
    )
)
