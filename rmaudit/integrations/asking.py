"""A reward asked for one response at a time, as evaluation harnesses ask."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from rmaudit.api import Model
from rmaudit.data.fields import REFERENCES
from rmaudit.data.types import Prompt
from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel, Text, does_not_apply, failed, leaves, one_number

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Answer:
    """The reward of one response; NaN with a reason where there is none."""

    reward: float
    reason: str = ""


class Reward:
    """Rewards of single responses.

    Parameters
    ----------
    model
        A loaded reward model, or whatever `load_reward_model` takes; it is loaded at once, before
        anything is generated that it is to score.
    wanted_by
        Who asks, for messages.
    options
        How it is loaded: fields of `rmaudit.settings.ModelSettings`.

    Raises
    ------
    UsageError
        If the model compares two responses, only reads recorded rewards, or is loaded already and
        options are given.
    """

    def __init__(self, model: Model, wanted_by: str, **options: Any) -> None:
        if isinstance(model, RewardModel):
            if options:
                raise UsageError(f"{model.name} is loaded already: {', '.join(options)} comes late")
            loaded = model
        else:
            loaded = load_reward_model(model, **options)
        self.model = one_number(loaded, wanted_by)
        if not self.model.scores_new_text:
            raise UsageError(
                f"{self.model.name} reads rewards from data and scores no new text, as {wanted_by} "
                "needs it"
            )
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The reward model's name."""
        return self.model.name

    def __call__(
        self,
        prompt: Prompt,
        response: str,
        columns: Mapping[str, Any],
        reference: Any = None,
    ) -> Answer:
        """Score one response.

        Parameters
        ----------
        prompt, response
            Text, or the turns before the response; the response.
        columns
            What rewards may read beside them, by name.
        reference
            The reference answer, under whatever name a reward reads it.

        Raises
        ------
        MissingColumnError
            If the reward reads a column that is not there.
        """
        rewards = leaves(self.model)
        given = with_reference(_flat(columns), reference, rewards)
        row = {name: given[name] for name in columns_read(given, rewards)}
        with self._lock:  # harnesses ask from several threads; a model serves one
            encoded = self.model.encode([Text(prompt, response, row)])
            reward = np.asarray(self.model.forward(encoded), dtype=np.float64)
        if np.isfinite(reward[0]):
            return Answer(float(reward[0]))
        if does_not_apply(reward)[0]:
            return Answer(float("nan"), "the reward does not apply to this response")
        if failed(reward)[0]:
            return Answer(float("nan"), "the reward failed on this response")
        return Answer(float("nan"), f"the reward is not finite: {reward[0]}")


def with_reference(
    given: Mapping[str, Value], reference: Value | None, rewards: Sequence[RewardModel]
) -> dict[str, Value]:
    """Columns, and the reference answer under whatever name the rewards read it.

    That is any of `REFERENCES`, and the one column that is read and not there under its own name.
    """
    if reference is None:
        return dict(given)
    missing = {name for each in rewards for name in each.reads if name not in given}
    names = (*REFERENCES, *(missing if len(missing) == 1 else ()))
    return {**dict.fromkeys(names, reference), **given}


def columns_read(given: Iterable[str], rewards: Sequence[RewardModel]) -> set[str]:
    """Names of the columns that the rewards read; `MissingColumnError` if one is not there."""
    names = tuple(given)
    return {name for each in rewards for name in each.columns(names)}


def columns_in(given: Mapping[str, Any], count: int, beside: frozenset[str]) -> dict[str, Any]:
    """What of a trainer's arguments is a column: a list of `count` values, not one of `beside`."""
    return {
        name: values
        for name, values in given.items()
        if name not in beside and isinstance(values, list | tuple) and len(values) == count
    }


def with_columns(
    texts: Sequence[Text], given: Mapping[str, Any], models: Sequence[RewardModel]
) -> list[Text]:
    """The texts with those of the given columns, a value each, that the models' parts read.

    Raises
    ------
    MissingColumnError
        If a column that one of them needs is not there.
    """
    reads = columns_read(given, leaves(*models))
    return [
        replace(text, row={name: given[name][i] for name in reads}) for i, text in enumerate(texts)
    ]


def _flat(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns, and an object's fields as "COLUMN.FIELD"."""
    fields = {
        f"{name}.{key}": value
        for name, held in columns.items()
        if isinstance(held, Mapping)
        for key, value in held.items()
    }
    return {**fields, **columns}
