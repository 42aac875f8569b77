"""A reward as the metric of a task of lm-evaluation-harness.

A file ``rewarded.py`` beside the task's YAML holds

    process_results = reward_of("org/reward-model", prompt="question")

and the task names it: ``process_results: !function rewarded.process_results``, with ``reward`` in
its ``metric_list``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rmaudit.api import Model
from rmaudit.data.types import Prompt
from rmaudit.errors import DataError
from rmaudit.integrations.asking import Reward

Document = Mapping[str, Any]
ProcessResults = Callable[[Document, Sequence[Any]], dict[str, float]]


def reward_of(
    model: Model,
    *,
    prompt: str | Callable[[Document], Prompt] = "prompt",
    reference: str | None = None,
    metric: str = "reward",
    **options: Any,
) -> ProcessResults:
    """Make a task's ``process_results``: the reward of what was generated for a document.

    Of several generations of one document (``repeats`` with a filter that keeps all) the mean is
    taken, so that the harness's standard error is over documents. A document without a finite
    reward has no value of the metric; ``METRIC_missing`` is the share of its responses without one.

    Parameters
    ----------
    model
        A loaded reward model, or whatever `rmaudit.load_reward_model` takes.
    prompt
        The document's field with the prompt, or a function of the document: text or turns.
    reference
        The field with the reference answer, for rewards that read one under another name. All
        fields are there under their own.
    metric
        Its name in ``metric_list``.
    options
        How the model is loaded: fields of `rmaudit.settings.ModelSettings`.

    Raises
    ------
    UsageError
        If the model gives a single response no number.
    """
    reward = Reward(model, "a task of lm-evaluation-harness", **options)

    def process_results(document: Document, results: Sequence[Any]) -> dict[str, float]:
        asked = prompt(document) if callable(prompt) else _field(document, prompt)
        truth = None if reference is None else _field(document, reference)
        responses = [each for kept in results for each in ([kept] if _one(kept) else kept)]
        rewards = [reward(asked, each, document, truth).reward for each in responses]
        finite = [each for each in rewards if math.isfinite(each)]
        found = {f"{metric}_missing": 1 - len(finite) / len(rewards)}
        return {metric: sum(finite) / len(finite), **found} if finite else found

    return process_results


def _one(kept: Any) -> bool:
    if isinstance(kept, tuple):
        raise DataError("the task asks for likelihoods: a reward needs output_type: generate_until")
    return isinstance(kept, str)


def _field(document: Document, name: str) -> Any:
    if name not in document:
        raise DataError(f"a document has no field {name!r}; it has {', '.join(map(str, document))}")
    return document[name]
