"""What is known by a name: audits, reward kinds, transforms, and the like.

A module registers what it holds when it is imported. Third parties list their modules under the
registry's entry-point group. A plugin that fails to load is an error, with its name: an audit that
silently vanishes would gate nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from rmaudit.errors import PluginError, RmauditError, UsageError, nearest

T = TypeVar("T")


class Registry(Generic[T], Mapping[str, T]):
    """Things of one kind by name; everything known is loaded when one is looked up.

    Parameters
    ----------
    what
        What one of them is called in messages: "audit".
    package
        The package whose modules register the project's own things when imported.
    group
        The entry-point group of third parties' modules.
    error
        What an unknown name raises.
    by_module
        Each of the project's own things has a module of its name: one that is looked up by its
        name is imported alone, without the others and what they need.
    """

    def __init__(
        self,
        what: str,
        package: str,
        group: str,
        error: type[RmauditError] = UsageError,
        *,
        by_module: bool = False,
    ) -> None:
        self.what, self.package, self.group, self.error = what, package, group, error
        self.by_module = by_module
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}  # the module of each
        self._loaded = False

    def add(self, name: str, thing: T, module: str) -> None:
        """Make `thing`, defined in `module`, known; `PluginError` if another has its name."""
        home = self._homes.setdefault(name, module)
        if home != module:
            raise PluginError(f"two {self.what}s are named {name!r} ({home}, {module}): rename one")
        self._things[name] = thing

    def load(self) -> None:
        """Import every module of the package and every plugin, once."""
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        load_plugins(self.group, lambda plugin: plugin)

    def __getitem__(self, name: str) -> T:
        if not (self.by_module and self._own(name)):
            self.load()
        if name not in self._things:
            raise self.error(f"no {self.what} is named {name!r}; {nearest(name, self._things)}")
        return self._things[name]

    def _own(self, name: str) -> bool:
        """Whether a thing is known, or its module registers it."""
        if name not in self._things and name.isidentifier() and not name.startswith("_"):
            module = f"{self.package}.{name}"
            if importlib.util.find_spec(module) is not None:
                importlib.import_module(module)
        return name in self._things

    def __contains__(self, name: object) -> bool:
        self.load()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self.load()
        return iter(self._things)

    def __len__(self) -> int:
        self.load()
        return len(self._things)


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


def __getattr__(name: str) -> Any:
    """`register_audit` was here before it moved to `rmaudit.audits.base`; plugins import it."""
    if name != "register_audit":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("rmaudit.audits.base").register_audit
