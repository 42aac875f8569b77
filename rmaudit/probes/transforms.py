"""The registry of transforms: what a suite may name, and how parameters are checked.

A transform is a pure function of a `Subject`, a source of randomness and its parameters. It returns
the changed text, or None where it does not apply: nothing to change, or nothing changed.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from rmaudit.errors import SchemaError, nearest
from rmaudit.registry import Registry

Function = TypeVar("Function", bound=Callable[..., str | None])
MOST_CHARACTERS = 100_000  # a longer text is left alone: no probe may cost quadratic time


@dataclass(frozen=True, slots=True)
class Subject:
    """What a transform sees."""

    text: str  # what is changed: an output, or the words of a prompt
    prompt: str = ""  # the request that the output answers
    other: str = ""  # an output to another prompt; empty where there is none


@dataclass(frozen=True, slots=True)
class Transform:
    """A registered function with the model that checks its parameters."""

    name: str
    function: Callable[..., str | None]
    parameters: type[BaseModel]

    @property
    def meaning(self) -> str:
        """First paragraph of its docstring, on one line."""
        return " ".join((inspect.getdoc(self.function) or "").partition("\n\n")[0].split())

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters, with defaults filled in; `SchemaError` on what is wrong."""
        for name in given:
            if name not in self.parameters.model_fields:
                hint = nearest(name, self.parameters.model_fields)
                known = hint if self.parameters.model_fields else "it takes none"
                raise SchemaError(f"transform {self.name} has no parameter {name!r}; {known}")
        try:
            return self.parameters(**given).model_dump()
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(part) for part in fault["loc"])
            raise SchemaError(f"transform {self.name}: parameter {where}: {fault['msg']}") from None

    def apply(self, subject: Subject, seed: int, parameters: Mapping[str, Any]) -> str | None:
        """The changed text; None where the transform does not apply.

        The same text, seed and parameters give the same result, whatever was changed before.
        """
        if len(subject.text) > MOST_CHARACTERS:
            return None
        words = subject.text.encode("utf-8", "surrogatepass")
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), zlib.crc32(words)])
        changed = self.function(subject, rng, **parameters)
        return None if changed == subject.text else changed


TRANSFORMS: Registry[Transform] = Registry(
    "transform", "rmaudit.probes", "rmaudit.transforms", SchemaError
)


def transform(name: str) -> Callable[[Function], Function]:
    """Function decorator: makes a transform known by a name.

    The function is called with a `Subject`, a ``numpy.random.Generator`` and the suite's parameters
    by keyword. Its keyword-only arguments need types, which pydantic checks, and defaults unless
    a suite must give them.
    """

    def register(function: Function) -> Function:
        made = Transform(name, function, _checker(name, function))
        TRANSFORMS.add(name, made, function.__module__)
        return function

    return register


def find_transform(name: str) -> Transform:
    """A transform by name; `SchemaError` with the nearest names where there is none."""
    return TRANSFORMS[name]


def transforms() -> Mapping[str, Transform]:
    """Every registered transform by name; those of plugins too (entry points of the group
    ``rmaudit.transforms``).
    """
    return TRANSFORMS


def _checker(name: str, function: Callable[..., str | None]) -> type[BaseModel]:
    """A pydantic model of a function's keyword-only arguments."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            missing = parameter.default is inspect.Parameter.empty
            fields[parameter.name] = (
                hints[parameter.name],
                ... if missing else parameter.default,
            )
    config = ConfigDict(extra="forbid", strict=True)
    return create_model(f"Parameters of {name}", __config__=config, **fields)
