"""Kinds of reward models, by what a user calls them: "python:...", "recorded", a folder, a URL.

A kind is one class in one module: it says which specifications it takes, and loads them. Third
parties list their modules under the entry-point group ``rmaudit.rewards``; a module of that group
may also register signatures of callables and protocols of servers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
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


class RewardKind(ABC):
    """A kind of reward model. Register a subclass with `@register_reward`."""

    name: ClassVar[str]  # "recorded"; by default what its specifications begin with
    accepted: ClassVar[str]  # a specification and what it stands for, as messages list it
    order: ClassVar[int] = 50  # where several take a specification, the lowest loads it

    def takes(self, spec: str, loading: Loading) -> bool:
        """Whether a specification is of this kind: its name, or its name and a colon."""
        return spec == self.name or spec.startswith(f"{self.name}:")

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


KindClass = TypeVar("KindClass", bound=type[RewardKind])
REWARDS: Registry[type[RewardKind]] = Registry(
    "kind of reward", "rmaudit.rewards.kinds", "rmaudit.rewards"
)


def register_reward(cls: KindClass) -> KindClass:
    """Class decorator: makes a kind of reward known by its `name`."""
    REWARDS.add(cls.name, cls, cls.__module__)
    return cls


def load_kind(spec: str, loading: Loading) -> RewardModel:
    """The model of a specification, by the first kind that takes it.

    Raises
    ------
    UsageError
        If none does.
    """
    kinds = sorted((kind() for kind in REWARDS.values()), key=lambda kind: (kind.order, kind.name))
    for kind in kinds:
        if kind.takes(spec, loading):
            return kind.load(spec, loading)
    accepted = "; ".join(kind.accepted for kind in sorted(kinds, key=lambda kind: -kind.order))
    raise UsageError(f"no reward model {spec!r} (no such directory); give {accepted}")
