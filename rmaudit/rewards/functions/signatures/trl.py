"""TRL's reward functions: prompts, completions and every column of the data as lists.

Source: `GRPOTrainer`'s ``reward_funcs`` (TRL's documentation, "Using a custom reward function").
A function may return None for a completion that it does not apply to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rmaudit.rewards.functions.items import Answers, Item, read_answers
from rmaudit.rewards.functions.signatures import (
    Parameters,
    Reads,
    Signature,
    as_completion,
    column_reads,
    register_signature,
    resolved,
)

# What the trainer adds to the columns; a function that needs one of these cannot be called here.
TRAINER = frozenset({"completion_ids", "trainer_state", "environments"})


def _log(*args: Any, **named: Any) -> None:
    """What a function hands to the trainer's log goes nowhere: rewards do not hang on it."""


LOGGING: dict[str, Any] = {"log_extra": _log, "log_metric": _log}
_ROLES = frozenset({"prompts", "completions"})


def columns_of(
    parameters: Parameters, items: Sequence[Item], roles: dict[str, Any]
) -> dict[str, Any]:
    """Keyword arguments: the roles and columns that the function takes, one value per item."""
    names = parameters.names
    anything = parameters.keywords is not None
    roles = {**LOGGING, **roles}
    given = {name: values for name, values in roles.items() if anything or name in names}
    columns = list(dict.fromkeys(name for item in items for name in item.row))
    for name in columns:
        if name.isidentifier() and name not in roles and (anything or name in names):
            given[name] = [item.row.get(name) for item in items]
    return given


@register_signature
class Trl(Signature):
    """Completions, and prompts and columns if it takes them."""

    name = "trl"
    shown = "f(prompts, completions, **columns)"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """A parameter ``completions``, and prompts, columns or keywords beside it; keywords alone.

        TRL hands everything over by name, so that ``f(**columns)`` is a reward function as well, as
        any that was wrapped without its parameters being kept.
        """
        if parameters is None:
            return False
        if parameters.keywords is not None and not parameters.names:
            return True
        if "completions" not in parameters.names:
            return False
        return len(parameters.names) > 1 or parameters.keywords is not None

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """Its further parameters, and what it takes out of its keywords."""
        return column_reads(function, parameters or Parameters(), _ROLES | LOGGING.keys(), TRAINER)

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        parameters = Parameters.of(function) or Parameters()
        roles = {
            "prompts": [item.prompt for item in items],
            "completions": [as_completion(item, item.response) for item in items],
        }
        returned = resolved(function(**columns_of(parameters, items, roles)))
        return read_answers(returned, len(items))


@register_signature
class PairJudge(Signature):
    """Two responses to each prompt; the probability that the first is better."""

    name = "pair-judge"
    shown = "f(prompts, responses_a, responses_b, **columns)"
    signal: ClassVar[str] = "preference"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Parameters ``responses_a`` and ``responses_b``."""
        return parameters is not None and {"responses_a", "responses_b"} <= parameters.names

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """As TRL's."""
        roles = frozenset({"prompts", "responses_a", "responses_b", *LOGGING})
        return column_reads(function, parameters or Parameters(), roles, TRAINER)

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        parameters = Parameters.of(function) or Parameters()
        other: Callable[[Item], str] = lambda item: item.other or ""  # noqa: E731
        roles: dict[str, list[Any]] = {
            "prompts": [item.prompt for item in items],
            "responses_a": [as_completion(item, item.response) for item in items],
            "responses_b": [as_completion(item, other(item)) for item in items],
        }
        returned = resolved(function(**columns_of(parameters, items, roles)))
        return read_answers(returned, len(items))
