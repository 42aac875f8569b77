"""The ways in which trainers call a reward function: its signature tells which one is meant.

A signature is one class in one module. Third parties list theirs under the entry-point group
``rmaudit.rewards``. Workers import this package, so it stays light.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from rmaudit.errors import UsageError
from rmaudit.registry import Registry
from rmaudit.rewards.functions.items import Answers, Item
from rmaudit.rewards.functions.reading import keywords_read


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a callable takes, by name."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    keywords: str | None = None  # the name of **columns, where there is one

    @classmethod
    def of(cls, function: Any) -> Parameters | None:
        """Those of a callable; None where Python cannot tell (built-in functions)."""
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        return cls(
            tuple(p.name for p in named if p.default is p.empty),
            tuple(p.name for p in named if p.default is not p.empty),
            next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None),
        )

    @property
    def names(self) -> frozenset[str]:
        """All that have a name of their own."""
        return frozenset((*self.required, *self.optional))


@dataclass(frozen=True, slots=True)
class Reads:
    """The columns of a data row that a function reads."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    everything: bool = False  # whatever there is: it cannot be told what it reads
    reference: tuple[str, ...] = ()  # it needs the reference answer, by one of these names first


class Signature(ABC):
    """A way to call a reward function. Register a subclass with `@register_signature`."""

    name: ClassVar[str]
    shown: ClassVar[str]  # as messages write it
    signal: ClassVar[str] = "score"  # what rewards are taken for, unless the function says

    @abstractmethod
    def fits(self, function: Any, parameters: Parameters | None) -> bool:
        """Whether a callable (or an object) is to be called in this way."""

    def reads(self, function: Any, parameters: Parameters | None) -> Reads:
        """The columns that it reads; none by default."""
        return Reads()

    @abstractmethod
    def call(self, function: Any, items: Sequence[Item]) -> Answers:
        """The rewards of some items, in their order.

        Raises
        ------
        AnswerError
            If the function returns no such rewards.
        """


SignatureClass = TypeVar("SignatureClass", bound=type[Signature])
SIGNATURES: Registry[type[Signature]] = Registry(
    "signature", "rmaudit.rewards.functions.signatures", "rmaudit.rewards"
)


def register_signature(cls: SignatureClass) -> SignatureClass:
    """Class decorator: makes a signature known by its `name`."""
    SIGNATURES.add(cls.name, cls, cls.__module__)
    return cls


def signature_of(function: Any, name: str) -> Signature:
    """The way to call a function, by its parameters.

    Raises
    ------
    UsageError
        If none fits, or several do.
    """
    parameters = Parameters.of(function) if callable(function) else None
    known = [cls() for cls in SIGNATURES.values()]
    fitting = [each for each in known if each.fits(function, parameters)]
    if len(fitting) == 1:
        return fitting[0]
    takes = "unknown parameters"
    if parameters:
        takes = ", ".join(sorted(parameters.names)) or "no parameters"
    if fitting:
        several = " and ".join(each.shown for each in fitting)
        raise UsageError(f"{name} takes {takes}, which fits {several}: rename its parameters")
    ways = "; ".join(each.shown for each in known)
    raise UsageError(f"{name} takes {takes}: no reward function is called so; known: {ways}")


def declared_reads(function: Any) -> tuple[str, ...] | None:
    """The attribute ``reads`` of a function, if it has one: the columns that it needs."""
    reads = getattr(function, "reads", None)
    if isinstance(reads, str):
        return (reads,)
    return tuple(reads) if isinstance(reads, list | tuple | set | frozenset) else None


def column_reads(
    function: Any, parameters: Parameters, given: frozenset[str], never: frozenset[str]
) -> Reads:
    """What a function reads whose further parameters are columns.

    Parameters
    ----------
    given
        Parameters that are no columns: prompts, responses.
    never
        Names that a trainer gives beside the columns and that no data has.

    Raises
    ------
    UsageError
        If it needs one of these.
    """
    lacking = [name for name in parameters.required if name in never]
    if lacking:
        raise UsageError(
            f"{getattr(function, '__name__', type(function).__name__)} needs {lacking[0]}, which "
            "only a running trainer has: give the parameter a default to audit the function"
        )
    passed = given | never
    required = tuple(name for name in parameters.required if name not in passed)
    optional = tuple(name for name in parameters.optional if name not in passed)
    declared = declared_reads(function)
    if declared is not None:
        return Reads(tuple(dict.fromkeys((*required, *declared))), optional)
    if parameters.keywords is None:
        return Reads(required, optional)
    named = keywords_read(function, parameters.keywords)
    if named is None:
        return Reads(required, optional, everything=True)
    must, may = ([name for name in names if name not in passed] for names in named)
    return Reads(tuple(dict.fromkeys((*required, *must))), (*optional, *may))


def resolved(returned: Any) -> Any:
    """What an asynchronous function comes to; anything else as it is."""
    return _loop().run(_awaited(returned)) if inspect.isawaitable(returned) else returned


async def _awaited(value: Any) -> Any:
    return await value


_LOOPS: list[Any] = []


def _loop() -> Any:
    """One event loop for all calls, so that clients a function keeps stay usable."""
    if not _LOOPS:
        import asyncio

        _LOOPS.append(asyncio.Runner())
    return _LOOPS[0]


def as_completion(item: Item, text: str) -> Any:
    """A response as trainers hand it over: messages where the prompt is messages."""
    return text if isinstance(item.prompt, str) else [{"role": "assistant", "content": text}]
