"""rmaudit's own signatures: pairs of prompt and response, one pair a call, and items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from rmaudit.rewards.functions.items import Answers, Item, read_answers
from rmaudit.rewards.functions.reading import rows_read
from rmaudit.rewards.functions.signatures import (
    Parameters,
    Reads,
    Signature,
    declared_reads,
    register_signature,
    resolved,
)


@register_signature
class Pairs(Signature):
    """One list of (prompt, response) tuples, whatever the parameter is called."""

    name = "pairs"
    shown = "f(pairs) with (prompt, response) tuples"
    signal: ClassVar[str] = "logit"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """One required parameter and no further columns."""
        if parameters is None:
            return callable(function)
        return (
            len(parameters.required) == 1
            and parameters.keywords is None
            and parameters.required != ("items",)
        )

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        returned = resolved(function([(item.prompt, item.response) for item in items]))
        return read_answers(returned, len(items), may_not_apply=False)


@register_signature
class Single(Signature):
    """One prompt and one response a call."""

    name = "single"
    shown = "f(prompt, response) of one text, a number"
    signal: ClassVar[str] = "logit"
    responses = ("response", "completion", "output", "answer")

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Two required parameters, ``prompt`` and a name for the response."""
        if parameters is None or len(parameters.required) != 2 or parameters.keywords is not None:
            return False
        return parameters.required[0] == "prompt" and parameters.required[1] in self.responses

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        returned = [resolved(function(item.prompt, item.response)) for item in items]
        return read_answers(returned, len(items))


@register_signature
class Items(Signature):
    """Items with prompt, response and row; a number each, or parts with their ``total``."""

    name = "items"
    shown = "f(items) with item.prompt, item.response, item.row"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """One required parameter, called ``items``."""
        return parameters is not None and parameters.required == ("items",)

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """What its attribute ``reads`` or its source says; else whatever there is."""
        declared = declared_reads(function)
        if declared is not None:
            return Reads(declared)
        named = rows_read(function, "items")
        return Reads(everything=True) if named is None else Reads(*named)

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        return read_answers(resolved(function(list(items))), len(items))
