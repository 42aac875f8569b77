"""OpenRLHF's reward function of a file: queries, prompts and labels as lists.

Source: OpenRLHF/OpenRLHF examples/python/reward_func.py @2cedb6a (``--remote_rm_url FILE.py``): a
query is the prompt and its response in one text, a label the reference answer; what comes back is
one number per query, or a mapping with them under ``rewards``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmaudit.rewards.functions.items import AnswerError, Answers, Item, read_answers
from rmaudit.rewards.functions.signatures import (
    Parameters,
    Reads,
    Signature,
    declared_reads,
    register_signature,
    resolved,
)

LABELS = ("label", "labels", "reference", "answer", "ground_truth", "solution")


@register_signature
class OpenRlhf(Signature):
    """Texts of prompt and response, the prompts alone, and the reference answers."""

    name = "openrlhf"
    shown = "reward_func(queries, prompts, labels)"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Parameters ``queries`` and ``prompts``."""
        return parameters is not None and {"queries", "prompts"} <= parameters.names

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """The reference answer, where it takes labels."""
        wanted = parameters is not None and "labels" in parameters.names
        return Reads(declared_reads(function) or (), reference=LABELS if wanted else ())

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        if not all(isinstance(item.prompt, str) for item in items):
            raise AnswerError(
                "takes queries, each a prompt and its response in one text, and the prompts are "
                "messages: give prompts as text, with the chat template in it"
            )
        given = {
            "queries": [item.prompt + item.response for item in items],
            "prompts": [item.prompt for item in items],
            "labels": [item.row.get("@reference", "") for item in items],
        }
        parameters = Parameters.of(function) or Parameters()
        taken = {name: values for name, values in given.items() if name in parameters.names}
        returned = resolved(function(**taken))
        if isinstance(returned, Mapping):
            returned = returned.get("rewards")
        return read_answers(returned, len(items))
