"""The Rubric of the package verifiers: functions and weights, each function by what it names.

Source: ``verifiers.Rubric`` (its documentation, "Rubrics"): reward functions take any of
``prompt``, ``completion``, ``answer``, ``state``, ``task``, ``info`` and the rubric's own objects,
such as ``parser``; the reward is the weighted sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rmaudit.errors import UsageError
from rmaudit.rewards.functions.items import Answers, Item, read_answers
from rmaudit.rewards.functions.signatures import (
    Parameters,
    Reads,
    Signature,
    as_completion,
    declared_reads,
    register_signature,
    resolved,
)

ANSWER = ("answer",)


@register_signature
class Rubric(Signature):
    """An object with ``funcs`` and ``weights``; each function is a component."""

    name = "rubric"
    shown = "an object with funcs and weights"

    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Both attributes; `UsageError` where they are not of one length."""
        functions, weights = _parts(function)
        if functions and len(functions) != len(weights):
            raise UsageError(
                f"the rubric's functions are {len(functions)} and its weights {len(weights)}: give "
                "one weight per function"
            )
        return bool(functions)

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """The reference answer if a function names it; task and info where there are any."""
        functions, _ = _parts(function)
        named = [Parameters.of(each) or Parameters() for each in functions]
        needs = any("answer" in each.names for each in named)
        return Reads(
            declared_reads(function) or (), ("task", "info"), reference=ANSWER if needs else ()
        )

    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """See `Signature.call`."""
        functions, weights = _parts(function)
        names = _names(functions)
        own = dict(getattr(function, "class_objects", None) or {})
        if getattr(function, "parser", None) is not None:
            own.setdefault("parser", function.parser)
        rewards = []
        for item in items:
            values = [resolved(_call(each, item, own)) for each in functions]
            read = read_answers(values, len(values)).total
            parts = {n: v for n, v in zip(names, read, strict=True) if v is not None}
            total = sum(w * v for w, v in zip(weights, read, strict=True) if v is not None)
            rewards.append({**parts, "total": total})
        return read_answers(rewards, len(items))


def _parts(rubric: Any) -> tuple[list[Any], list[float]]:
    """Functions and weights, under the names that versions of the package gave them."""
    functions = getattr(rubric, "funcs", None) or getattr(rubric, "reward_funcs", None)
    weights = getattr(rubric, "weights", None) or getattr(rubric, "reward_weights", None)
    if not isinstance(functions, list | tuple):
        return [], []
    given = weights if isinstance(weights, list | tuple) else []
    return list(functions), [float(weight) for weight in given]


def _names(functions: Sequence[Any]) -> list[str]:
    """Names of the functions; a second one of a name gets its number, so that none is lost."""
    names: list[str] = []
    for k, each in enumerate(functions):
        name = str(getattr(each, "__name__", f"function_{k}"))
        names.append(f"{name}_{k}" if name in names else name)
    return names


def _call(function: Any, item: Item, own: dict[str, Any]) -> Any:
    row = item.row
    answer = row.get("@reference", "")
    task, info = row.get("task", "default"), row.get("info") or {}
    completion = as_completion(item, item.response)
    given = {
        "prompt": item.prompt,
        "completion": completion,
        "answer": answer,
        "task": task,
        "info": info,
        **own,
    }
    given["state"] = {
        name: given[name] for name in ("prompt", "completion", "answer", "task", "info")
    }
    parameters = Parameters.of(function)
    if parameters is None or parameters.keywords is not None:
        return function(**given)
    return function(**{name: value for name, value in given.items() if name in parameters.names})
