"""Kinds of reward models, by what a user calls them: "python:...", "recorded", a folder, a URL.

A kind is one class in one module: it says which specifications it takes, and loads them. Third
parties list their modules under the entry-point group ``rmaudit.rewards``; a module of that group
may also register signatures of callables and protocols of servers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, TypeVar

from rmaudit.errors import UsageError
from rmaudit.permissions import Permissions
from rmaudit.registry import Registry
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.served.model import ServerOptions
from rmaudit.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class Loading:
    """How a model is to be loaded, and what is allowed meanwhile."""

    settings: ModelSettings
    permissions: Permissions
    server: ServerOptions | None = None  # in place of what the settings say of a server

    def within(self, permissions: Permissions) -> Loading:
        """The same for what a file names."""
        return replace(self, permissions=permissions)


TEXT_OPTIONS = (
    *("format", "template", "pair", "bos", "eos", "date", "pool"),
    *("head", "head_weights", "max_length"),
)
"""Settings of how texts are made of prompts and responses, and which value is read."""


def asked_for(settings: ModelSettings) -> list[str]:
    """Which of `TEXT_OPTIONS` are not as they are by default."""
    fields = ModelSettings.model_fields
    return [name for name in TEXT_OPTIONS if getattr(settings, name) != fields[name].default]


class RewardKind(ABC):
    """A kind of reward model. Register a subclass with `@register_reward`."""

    name: ClassVar[str]  # "recorded"; by default what its specifications begin with
    accepted: ClassVar[str]  # a specification and what it stands for, as messages list it
    options: ClassVar[tuple[str, ...]] = TEXT_OPTIONS  # of these, those that may have an effect
    order: ClassVar[int] = 50  # where several take a specification, the lowest loads it

    def takes(self, spec: str, loading: Loading) -> bool:
        """Whether a specification is of this kind: its name, or its name and a colon."""
        return spec == self.name or spec.startswith(f"{self.name}:")

    def heeds(self, spec: str, loading: Loading) -> frozenset[str]:
        """Which of `TEXT_OPTIONS` may have an effect on a specification of this kind."""
        return frozenset(self.options)

    def _refuse_others(self, settings: ModelSettings, what: str) -> None:
        """Refuse options of texts that this kind does not heed."""
        for name in asked_for(settings):
            if name not in self.options:
                flag = f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag} has no effect on {what}: leave it out")

    @abstractmethod
    def load(self, spec: str, loading: Loading) -> RewardModel:
        """The model that a specification names.

        Raises
        ------
        UsageError
            If the specification or an option is wrong, or only a file names code.
        RewardModelError
            If the model cannot be loaded.
        """


_NOTHING = Permissions()
KindClass = TypeVar("KindClass", bound=type[RewardKind])
REWARDS: Registry[type[RewardKind]] = Registry(
    "kind of reward", "rmaudit.rewards.kinds", "rmaudit.rewards"
)


def register_reward(cls: KindClass) -> KindClass:
    """Class decorator: makes a kind of reward known by its `name`."""
    REWARDS.add(cls.name, cls, cls.__module__)
    return cls


def refuse_without_effect(settings: ModelSettings, specs: Sequence[object | None]) -> None:
    """Refuse an option of texts that none of the models could heed.

    Parameters
    ----------
    settings
        What the user asks for.
    specs
        The models: specifications, functions, or models that are loaded already; None is passed
        over, so that a gold model that may be absent can stand among them.

    Raises
    ------
    UsageError
        Naming the option.
    """
    asked = asked_for(settings)
    if not asked:
        return
    heeded: set[str] = set()
    specs = [spec for spec in specs if spec is not None]
    for spec in specs:
        if isinstance(spec, RewardModel):
            return
        if isinstance(spec, str | Path):
            heeded |= heeded_by(str(spec), Loading(settings, _NOTHING))
    for name in asked:
        if name not in heeded:
            raise UsageError(
                f"--{name.replace('_', '-')} has no effect{_on(specs)}: leave it out (no model "
                "here reads it)"
            )


def heeded_by(spec: str, loading: Loading) -> frozenset[str]:
    """Which of `TEXT_OPTIONS` may have an effect on a model; all, if no kind takes it."""
    kind = next((kind for kind in _kinds() if kind.takes(spec, loading)), None)
    return frozenset(TEXT_OPTIONS) if kind is None else kind.heeds(spec, loading)


def _on(specs: Sequence[object]) -> str:
    if not specs:
        return ""
    return f" on {specs[0] if isinstance(specs[0], str | Path) else 'a function'}"


def _kinds() -> list[RewardKind]:
    """All kinds, in the order in which they are asked."""
    return sorted((kind() for kind in REWARDS.values()), key=lambda kind: (kind.order, kind.name))


def load_kind(spec: str, loading: Loading) -> RewardModel:
    """The model of a specification, by the first kind that takes it.

    Raises
    ------
    UsageError
        If none does.
    """
    kinds = _kinds()
    for kind in kinds:
        if kind.takes(spec, loading):
            return kind.load(spec, loading)
    accepted = "; ".join(kind.accepted for kind in sorted(kinds, key=lambda kind: -kind.order))
    raise UsageError(f"no reward model {spec!r} (no such directory); give {accepted}")
