"""A callable, found by name and looked at: how it is called and what it reads. For workers too."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.functions.items import shown
from rmaudit.rewards.functions.signatures import Parameters, Reads, Signature, signature_of
from rmaudit.rewards.functions.sources import digest


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a function before it is called."""

    signature: str
    shown: str  # the signature as messages write it
    signal: str
    declared: bool  # the function says itself what its rewards claim (attribute ``kind``)
    fingerprint: str  # the attribute, if it has one
    source: str = ""  # a digest of the module's file and of what it imports
    reads: Reads = field(default_factory=Reads)
    scale: str = ""  # the attribute of a judge: its lowest and highest score, "1 to 10"
    refuses: Sequence[str] = ()  # the attribute of a verdict: classes of responses that it refuses


def find(spec: str) -> tuple[Any, ModuleType]:
    """The object that ``python:module:callable`` names, and its module.

    The module is looked for where Python finds modules, and in the working folder.

    Raises
    ------
    UsageError
        If the specification has another form.
    RewardModelError
        If there is no such module or object, or the module fails to import.
    """
    module_name, name = parsed(spec)
    try:
        with _working_folder_first():
            module = importlib.import_module(module_name)
    except Exception as error:
        raise RewardModelError(
            f"{spec}: importing {module_name} failed with {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, name, None)
    if function is None:
        raise RewardModelError(f"{spec}: module {module_name} has no {name!r}")
    if not callable(function) and not hasattr(function, "weights"):
        raise RewardModelError(
            f"{spec}: module {module_name} has something that cannot be called as {name!r}"
        )
    return function, module


def parsed(spec: str) -> tuple[str, str]:
    """Module and name of ``python:module:callable``."""
    match spec.split(":"):
        case ["python", module, name] if module and name:
            return module, name
    raise UsageError(f"{spec!r}: say python:module:callable, e.g. python:my_reward:score")


def look_at(function: Any, name: str, module: ModuleType | None = None) -> tuple[Signature, Facts]:
    """How a function is called, and what is known of it.

    Raises
    ------
    UsageError
        If no signature fits, or several do.
    """
    signature = signature_of(function, name)
    parameters = Parameters.of(function) if callable(function) else None
    kind = getattr(function, "kind", None)
    if kind is not None and kind not in ("logit", "score", "verdict", "preference"):
        raise UsageError(
            f"{name} has the attribute kind = {shown(kind)}; say logit, score, verdict or "
            "preference"
        )
    scale = _scale(function, name)
    return signature, Facts(
        signature.name,
        signature.shown,
        str(kind or ("score" if scale else signature.signal)),
        kind is not None or bool(scale) or signature.signal == "preference",
        str(getattr(function, "fingerprint", "")),
        _digest(module),
        signature.reads(function, parameters),
        scale,
        _refuses(function, name),
    )


def _refuses(function: Any, name: str) -> list[str]:
    """What a function's attribute ``refuses = ("empty",)`` says: made responses that are wrong."""
    refuses = getattr(function, "refuses", ())
    if not isinstance(refuses, tuple | list) or not all(isinstance(each, str) for each in refuses):
        raise UsageError(
            f"{name} has the attribute refuses = {shown(refuses)}; say the classes of responses "
            'that its verdict should refuse: ("empty", "punctuation")'
        )
    return list(refuses)


def _scale(function: Any, name: str) -> str:
    """What a function's attribute ``scale = (lowest, highest)`` says: it is a judge."""
    scale = getattr(function, "scale", None)
    if scale is None:
        return ""
    whole = isinstance(scale, tuple | list) and all(isinstance(each, int) for each in scale)
    if not whole or len(scale) != 2 or not scale[0] < scale[1]:
        raise UsageError(
            f"{name} has the attribute scale = {shown(scale)}; say two whole numbers, the worst "
            "first: (1, 10)"
        )
    return f"{scale[0]} to {scale[1]}"


@contextmanager
def _working_folder_first() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _digest(module: ModuleType | None) -> str:
    with _working_folder_first():
        return digest(module)
