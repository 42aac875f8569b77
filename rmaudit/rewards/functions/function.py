"""Rewards of a Python function: `python:module:callable`."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.fields import EVERYTHING_BUT, REFERENCES
from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import (
    FAILED,
    NOT_APPLICABLE,
    Encoded,
    MissingColumnError,
    Rewarded,
    RewardModel,
    Signal,
    Text,
)
from rmaudit.rewards.functions.isolation import CallError, Here, Runner, Worker
from rmaudit.rewards.functions.items import Answers, Item, ItemRow, shown
from rmaudit.rewards.functions.opening import find

MOST_TEXTS = 64
TIME_LIMIT = 60.0  # seconds per text
_HANGS = 3  # texts in a row that take too long (or end the process, where none worked yet)
_OUTSIDE = 8  # first rewards outside what the function says of them that end the run
RewardFunction = Any
"""A callable in one of the signatures of `rmaudit.rewards.functions.signatures`."""


class PythonReward(RewardModel):
    """A function in one of the signatures that trainers use.

    Parameters
    ----------
    function
        Gets at most 64 texts per call.
    name
        As the report shows it.
    source
        What the fingerprint is made of, beside the name: the source of the function's module.
    runner
        Where it runs; None: in this process, without a time limit.
    time_limit
        Seconds per text, in a worker. A call of several texts that takes longer is made again text
        by text.
    reference
        The column with the reference answer (None: the first of `REFERENCES`).

    Notes
    -----
    Lengths are in characters. Non-finite rewards are handed on. A text on which the function
    raises, hangs or leaves is a failure of that text; if it does so on all texts of the first call,
    that is an error. An attribute `fingerprint` of the function, if it has one, enters the model's
    fingerprint: set it to whatever else decides about rewards (weights, a version).
    """

    kind = "python"
    length_unit = "characters"
    max_batch = MOST_TEXTS
    token_budget = sys.maxsize  # a call takes 64 texts, however long
    pads_left = False

    def __init__(
        self,
        function: RewardFunction,
        name: str,
        source: bytes = b"",
        *,
        runner: Runner | None = None,
        time_limit: float = TIME_LIMIT,
        reference: str | None = None,
    ) -> None:
        self.name = name
        self._runner = Here(function, name) if runner is None else runner
        self._limit, self._reference = time_limit, reference
        self._broken: str | None = None
        self._has_worked = False
        self._outside = 0.0  # rewards outside what it says, as long as none was within
        self.facts = self._runner.facts
        self.signal = cast(Signal, self.facts.signal)
        self.signal_is_declared = self.facts.declared
        self.reads = self.facts.reads.required
        self.judged_on, self.refuses = self.facts.scale, self.facts.refuses
        self._range = _range(self.signal, self.facts.scale)
        told = f"python\n{name}\n{self.facts.fingerprint}\n{reference or ''}\n{self.facts.source}\n"
        digest = hashlib.sha256(told.encode("utf-8", "surrogatepass"))
        digest.update(source)
        self.fingerprint = digest.hexdigest()

    def columns(self, available: Sequence[str]) -> tuple[str, ...]:
        """The columns that the function takes: see `RewardModel.columns`."""
        reads = self.facts.reads
        names = [*super().columns(available)]
        names += [name for name in reads.optional if name in available]
        if reads.everything:
            names += [n for n in available if n not in EVERYTHING_BUT and "." not in n]
        if reads.reference:
            candidates = self._references
            found = next((name for name in candidates if name in available), None)
            if found is None:
                raise MissingColumnError(candidates[0], self.name)
            names.append(found)
        return tuple(dict.fromkeys(names))

    @property
    def _references(self) -> tuple[str, ...]:
        if self._reference is not None:
            return (self._reference,)
        return (*self.facts.reads.reference, *REFERENCES)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """The texts themselves, with their lengths in characters."""
        return [
            Encoded(text, len(prompt_text(text.prompt)) + len(text.output), len(text.output))
            for text in texts
        ]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """What the function returns, (len(batch),); `pad_left` means nothing here.

        Raises
        ------
        RewardModelError
            If the function fails on a text, or returns another number of values or what is no
            number.
        """
        rewarded = self.score_batch(batch, pad_left=pad_left)
        for reason in rewarded.failures.values():
            raise RewardModelError(f"{self.name} {reason}")
        return rewarded.total

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """Rewards and their components; a text on which the function fails is `FAILED`."""
        items = [self._item(each.payload) for each in batch]
        total = np.full(len(items), np.nan)
        components: dict[str, NDArray[np.float64]] = {}
        failures: dict[int, str] = {}
        for start in range(0, len(items), MOST_TEXTS):
            for place, answer in self._answers(items[start : start + MOST_TEXTS], start).items():
                if isinstance(answer, str):
                    failures[place], total[place] = answer, FAILED
                    continue
                value, parts = answer
                total[place] = NOT_APPLICABLE if value is None else value
                for name, part in parts.items():
                    components.setdefault(name, np.full(len(items), np.nan))[place] = part
        return Rewarded(total, components, failures)

    def describe(self) -> dict[str, Any]:
        """What is known of a function."""
        reads = self.facts.reads
        named = [*reads.required, *(("the reference answer",) if reads.reference else ())]
        named += [f"{name} (if there)" for name in reads.optional]
        named += ["whatever there is"] if reads.everything else []
        return {
            "callable": self.name,
            "signature": self.facts.shown,
            "reads": ", ".join(named) or "nothing of the row",
            "texts_a_call": MOST_TEXTS,
            "length_unit": "characters",
            **({"scale": self.judged_on} if self.judged_on else {}),
        }

    def _item(self, text: Text) -> Item:
        row = ItemRow(text.row)
        if self.facts.reads.reference:
            column = next((name for name in self._references if name in row), None)
            if column is None:
                raise MissingColumnError(self._references[0], self.name)
            row["@reference"] = row[column]
        return Item(text.prompt, text.output, row, text.other)

    def _answers(
        self, items: Sequence[Item], start: int
    ) -> dict[int, tuple[float | None, dict[str, float]] | str]:
        """By place: the reward and its parts, or why there is none."""
        if self._broken:
            raise RewardModelError(self._broken)
        try:
            answers = self._call(items)
            found = {start + i: self._one(answers, i) for i in range(len(items))}
            outside = sum(isinstance(answer, str) for answer in found.values())
            self._outside = self._outside + outside if outside == len(found) else -math.inf
            if self._outside >= _OUTSIDE:
                raise RewardModelError(f"{self.name} {found[start]}")
            return found
        except CallError as error:
            if len(items) == 1:
                if not self._has_worked:
                    hint = self._form(items, error)
                    raise RewardModelError(f"{self.name} {error}{hint}") from error
                return {start: str(error)}
            first = error
        told: dict[int, tuple[float | None, dict[str, float]] | str] = {}
        hung = 0
        for place, item in enumerate(items, start):
            try:
                told[place] = self._one(self._call([item]), 0)
                hung = 0
            except CallError as error:
                told[place] = str(error)
                # Ending the process costs a new one each time: so does a function that always does.
                costs = error.kind == "time" or (error.kind == "left" and not self._has_worked)
                hung = hung + 1 if costs else 0
            if hung == _HANGS:
                break
        if hung == _HANGS or all(isinstance(answer, str) for answer in told.values()):
            if self._has_worked and hung < _HANGS:
                return told
            raise RewardModelError(f"{self.name} {first}{self._form(items, first)}")
        return told

    def _one(self, answers: Answers, place: int) -> tuple[float | None, dict[str, float]] | str:
        """One reward and its parts; why it is none, where it is outside what the function says."""
        value = answers.total[place]
        low, high, what = self._range
        if value is not None and math.isfinite(value) and not low <= value <= high:
            return f"returned {value:g}, which is outside {what}"
        parts = {name: values[place] for name, values in answers.components.items()}
        return value, {n: v for n, v in parts.items() if not math.isnan(v)}

    def _form(self, items: Sequence[Item], error: CallError) -> str:
        """What a function was given, where it fails on all for its form: text, messages, tuples."""
        if not str(error).startswith(("raised TypeError", "raised AttributeError", "raised Index")):
            return ""
        if self.facts.signature == "pairs":
            return (
                " (it has one parameter, so it got a list of (prompt, response) tuples; "
                "f(completions, **columns) gets a list of responses)"
            )
        if self.facts.signature != "trl":
            return ""
        if isinstance(items[0].prompt, str):
            return (
                " (it got completions as texts, for the prompts are texts; one that reads messages "
                "needs prompts that are lists of messages)"
            )
        return (
            " (it got completions as lists of messages, for the prompts are such lists; one that "
            "reads texts needs prompts that are texts)"
        )

    def _call(self, items: Sequence[Item]) -> Answers:
        try:
            answers = self._runner.call(items, self._limit)
        except CallError as error:
            if error.kind != "answer":
                raise
            # Remembered: asked text by text, such a function may seem to be in order.
            self._broken = f"{self.name} {error}"
            raise RewardModelError(self._broken) from error
        self._has_worked = True
        return answers


def _range(signal: Signal, scale: str) -> tuple[float, float, str]:
    """Where rewards lie, by what the function says of them: lowest, highest, and what that is."""
    if scale:
        low, high = scale.split(" to ")
        return float(low), float(high), f"its scale, {scale}"
    if signal == "preference":
        return 0.0, 1.0, "a probability from 0 to 1"
    return -math.inf, math.inf, "what it says"


def given_function(function: RewardFunction, reference: str | None = None) -> PythonReward:
    """The reward model of a function that was handed over, not named.

    Raises
    ------
    UsageError
        If it cannot be called.
    """
    if not callable(function) and not hasattr(function, "weights"):
        raise UsageError(
            f"{shown(function)} is no reward model: give a path, a hub id or a function"
        )
    name = getattr(function, "__qualname__", type(function).__name__)
    # Without a fingerprint of its own it is a new model each time: a closure shows no change.
    source = b"" if hasattr(function, "fingerprint") else secrets.token_bytes(16)
    return PythonReward(function, name, source, reference=reference)


def load_python(
    spec: str, *, time_limit: float = TIME_LIMIT, reference: str | None = None
) -> PythonReward:
    """The function that ``python:module:callable`` names, in a process of its own.

    The module is looked for where Python finds modules, and in the working folder.

    Raises
    ------
    UsageError
        If the specification has another form, or the function no known signature.
    RewardModelError
        If there is no such module or function, or the module fails to import.
    """
    name = spec.removeprefix("python:")
    if os.name != "posix":  # no pipes that a child inherits
        function, module = find(spec)
        return PythonReward(
            function, name, runner=Here(function, name, module), reference=reference
        )
    runner = Worker(spec)
    return PythonReward(None, name, runner=runner, time_limit=time_limit, reference=reference)
