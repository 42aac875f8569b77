"""Audits, reward kinds and the like by name: the project's own, and plugins by entry point.

A plugin that fails to load is an error, with its name: an audit that silently vanishes would gate
nothing.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, TypeVar

from rmaudit.errors import PluginError, UsageError

if TYPE_CHECKING:
    from rmaudit.audits.base import Audit
    from rmaudit.results import MetricSpec

AuditClass = TypeVar("AuditClass", bound="type[Audit]")
_AUDITS: dict[str, type[Audit]] = {}


def register_audit(cls: AuditClass) -> AuditClass:
    """Class decorator: makes an audit known by its `name`."""
    known = _AUDITS.get(cls.name)
    if known is not None and known.__module__ != cls.__module__:
        raise PluginError(
            f"two audits are named {cls.name!r} ({known.__module__}, {cls.__module__}): rename one"
        )
    _AUDITS[cls.name] = cls
    return cls


@cache
def _load_all() -> None:
    # By name: the audits import this module to register themselves.
    package = importlib.import_module("rmaudit.audits")
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    load_plugins("rmaudit.audits", lambda plugin: plugin)


def load_plugins(group: str, use: Callable[[object], object]) -> None:
    """Load every entry point of a group; importing it registers what it holds."""
    for entry in entry_points(group=group):
        try:
            use(entry.load())
        except Exception as error:
            raise PluginError(
                f"plugin {entry.name!r} ({entry.value}) of {group} failed to load: {error}; "
                "repair or uninstall it"
            ) from error


def audits(only: Iterable[str] | None = None) -> list[Audit]:
    """The audits in page order, or those named in `only`."""
    _load_all()
    names = list(_AUDITS) if only is None else list(only)
    for name in names:
        if name not in _AUDITS:
            raise UsageError(f"no audit is named {name!r}; {nearest(name, _AUDITS)}")
    chosen = [_AUDITS[name]() for name in dict.fromkeys(names)]
    return sorted(chosen, key=lambda audit: (audit.order, audit.name))


def metric_specs() -> dict[str, MetricSpec]:
    """Every public metric id of the registered audits."""
    return {id_: spec for audit in audits() for id_, spec in audit.metrics.items()}


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a misspelt name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(known)}"
