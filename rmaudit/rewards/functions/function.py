"""Rewards of a Python function: `python:module:callable`."""

from __future__ import annotations

import hashlib
import importlib
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Prompt, prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Text

RewardFunction = Callable[[list[tuple[Prompt, str]]], Iterable[float]]
MOST_TEXTS = 64


class PythonReward(RewardModel):
    """A function from a list of (prompt, output) to as many numbers.

    Parameters
    ----------
    function
        Gets at most 64 texts a call; a prompt is a string or a list of messages.
    name
        As the report shows it.
    source
        What the fingerprint is made of, beside the name: the source of the function's module.

    Notes
    -----
    Lengths are in characters. Non-finite rewards are handed on. An attribute `fingerprint` of the
    function, if it has one, enters the model's fingerprint: set it to whatever else decides about
    rewards (weights, a version).
    """

    kind = "python"
    length_unit = "characters"
    max_batch = MOST_TEXTS
    token_budget = sys.maxsize  # a call takes 64 texts, however long
    pads_left = False

    def __init__(self, function: RewardFunction, name: str, source: bytes = b"") -> None:
        self.name = name
        self._function = function
        self._broken: str | None = None
        own = str(getattr(function, "fingerprint", ""))
        digest = hashlib.sha256(f"python\n{name}\n{own}\n".encode("utf-8", "surrogatepass"))
        digest.update(source)
        self.fingerprint = digest.hexdigest()

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
            If the function raises, or returns another number of values or what is no number.
        """
        texts = [(each.payload.prompt, each.payload.output) for each in batch]
        parts = [self._call(texts[i : i + MOST_TEXTS]) for i in range(0, len(texts), MOST_TEXTS)]
        return np.array([reward for part in parts for reward in part], dtype=np.float64)

    def describe(self) -> dict[str, Any]:
        """What is known of a function."""
        return {"callable": self.name, "texts_a_call": MOST_TEXTS, "length_unit": "characters"}

    def _call(self, texts: list[tuple[Prompt, str]]) -> list[float]:
        if self._broken:
            raise RewardModelError(self._broken)
        try:
            returned: Any = self._function(texts)
        except Exception as error:
            raise RewardModelError(f"{self.name} raised {type(error).__name__}: {error}") from error
        if hasattr(returned, "tolist"):  # arrays and tensors
            returned = returned.tolist()
        if not isinstance(returned, Iterable) or isinstance(returned, str | bytes | dict):
            raise RewardModelError(
                f"{self.name} returned {_a(returned)}; it must return a list of {len(texts)} "
                "numbers"
            )
        values = list(returned)
        if len(values) != len(texts):
            # Remembered: asked text by text, such a function may seem to be in order.
            self._broken = (
                f"{self.name} returned {len(values)} rewards for {len(texts)} texts; it must "
                "return one number a text, in their order"
            )
            raise RewardModelError(self._broken)
        for place, value in enumerate(values):
            if not isinstance(value, Real):
                raise RewardModelError(
                    f"{self.name} returned {_a(value)} as reward {place + 1} of {len(texts)}; it "
                    "must be a number"
                )
        return [float(value) for value in values]


def given_function(function: RewardFunction) -> PythonReward:
    """The reward model of a function that was handed over, not named.

    Raises
    ------
    UsageError
        If it cannot be called.
    """
    if not callable(function):
        raise UsageError(f"{_a(function)} is no reward model: give a path, a hub id or a function")
    name = getattr(function, "__qualname__", type(function).__name__)
    # Without a fingerprint of its own it is a new model each time: a closure shows no change.
    source = b"" if hasattr(function, "fingerprint") else secrets.token_bytes(16)
    return PythonReward(function, name, source)


def load_python(spec: str) -> PythonReward:
    """The function that ``python:module:callable`` names.

    The module is looked for where Python finds modules, and in the working folder.

    Raises
    ------
    UsageError
        If the specification has another form.
    RewardModelError
        If there is no such module or function, or the module fails to import.
    """
    match spec.split(":"):
        case ["python", module_name, name] if module_name and name:
            pass
        case _:
            raise UsageError(f"{spec!r}: say python:module:callable, e.g. python:my_reward:score")
    try:
        with _working_folder_first():
            module = importlib.import_module(module_name)
    except Exception as error:
        raise RewardModelError(
            f"{spec}: importing {module_name} failed with {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        what = "no" if function is None else "something that cannot be called as"
        raise RewardModelError(f"{spec}: module {module_name} has {what} {name!r}")
    return PythonReward(function, f"{module_name}:{name}", _source(module))


@contextmanager
def _working_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def _source(module: ModuleType) -> bytes:
    """The module's file as it is on disk; nothing for modules without one."""
    path = getattr(module, "__file__", None)
    return Path(path).read_bytes() if path and Path(path).is_file() else b""


def _a(value: object) -> str:
    return f"{value!r:.60} ({type(value).__name__})"
