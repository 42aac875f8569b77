"""verl's ``compute_score``: one response a call, or batches; a number, or a mapping with ``score``.

Source: verl's documentation, "Implement Reward Function for Dataset" (``data_source``,
``solution_str``, ``ground_truth``, ``extra_info``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmaudit.rewards.functions.items import Answers, Item, read_answers
from rmaudit.rewards.functions.signatures import (
    Parameters,
    Reads,
    Signature,
    declared_reads,
    register_signature,
    resolved,
)

GROUND_TRUTH = ("ground_truth", "reward_model.ground_truth")
_OTHERS = ("data_source", "extra_info")


@register_signature
class Verl(Signature):
    """One response a call."""

    name = "verl"
    shown = "compute_score(data_source, solution_str, ground_truth, extra_info=None)"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Parameters ``solution_str`` and ``ground_truth``."""
        return parameters is not None and {"solution_str", "ground_truth"} <= parameters.names

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """The reference answer; data source and extra information where the data has them."""
        return Reads(declared_reads(function) or (), _OTHERS, reference=GROUND_TRUTH)

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        parameters = Parameters.of(function) or Parameters()
        returned = [resolved(function(**_arguments(item, parameters))) for item in items]
        return read_answers(returned, len(items), total="score")


@register_signature
class VerlBatch(Signature):
    """verl's batch reward manager: lists of each."""

    name = "verl-batch"
    shown = "compute_score(data_sources, solution_strs, ground_truths, extra_infos)"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Parameters ``solution_strs`` and ``ground_truths``."""
        return parameters is not None and {"solution_strs", "ground_truths"} <= parameters.names

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """As one response a call."""
        return Reads(declared_reads(function) or (), _OTHERS, reference=GROUND_TRUTH)

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        parameters = Parameters.of(function) or Parameters()
        singular = Parameters(("data_source", "solution_str", "ground_truth", "extra_info"))
        each = [_arguments(item, singular) for item in items]
        lists = {f"{name}s": [one[name] for one in each] for name in singular.required}
        taken = {
            name: values
            for name, values in lists.items()
            if name in parameters.names or parameters.keywords is not None
        }
        return read_answers(resolved(function(**taken)), len(items), total="score")


def _arguments(item: Item, parameters: Parameters) -> dict[str, Any]:
    row = item.row
    given = {
        "data_source": row.get("data_source", ""),
        "solution_str": item.response,
        "ground_truth": row["@reference"],
        "extra_info": row.get("extra_info"),
    }
    anything = parameters.keywords is not None
    return {name: value for name, value in given.items() if anything or name in parameters.names}
