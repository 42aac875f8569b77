"""Finds and reads suites: the shipped ones, those of plugins, those of the user's folders."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

import rmaudit
from rmaudit.errors import PluginError, SchemaError, brief
from rmaudit.probes.files import (
    ITEMS_BYTES,
    YAML_BYTES,
    inside,
    read_bytes,
    read_lines,
    read_yaml,
)
from rmaudit.probes.schema import SCHEMA_VERSION, ContrastEntry, Item, ProbeEntry, SuiteFile
from rmaudit.probes.transforms import find_transform
from rmaudit.registry import load_plugins

FILE = "suite.yaml"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Suite:
    """A checked suite."""

    file: SuiteFile
    items: tuple[Item, ...]
    folder: Path
    sha256: str  # of suite.yaml and its items: goes into every result

    @property
    def name(self) -> str:
        """Unique among the loaded suites."""
        return self.file.name

    @property
    def entries(self) -> tuple[ProbeEntry | ContrastEntry, ...]:
        """Its probes or contrasts."""
        return (*self.file.probes, *self.file.contrasts)

    def key(self, entry: ProbeEntry | ContrastEntry) -> str:
        """Name of a probe in reports: ``suite/probe``."""
        return f"{self.name}/{entry.name}"

    def items_of(self, entry: ContrastEntry) -> tuple[Item, ...]:
        """The items of a contrast."""
        return tuple(item for item in self.items if item.probe == entry.name)

    @property
    def datasheet(self) -> str:
        """Its data sheet; empty where it has none."""
        path = self.folder / "DATASHEET.md"
        return read_bytes(path, YAML_BYTES).decode("utf-8", "replace") if path.is_file() else ""


def load_suites(paths: Iterable[str | Path] = ()) -> tuple[Suite, ...]:
    """The shipped suites, those of plugins and those in `paths`, each checked.

    Parameters
    ----------
    paths
        Folders of suites, or a suite's own folder. Packages offer such folders by entry points of
        the group ``rmaudit.probes``, which name a path or a function that returns one.

    Raises
    ------
    SchemaError
        If a folder holds no suite, a file does not follow its schema, or two suites share a name.
    """
    folders = [shipped_folder(), *_plugin_folders(), *(Path(path) for path in paths)]
    suites: dict[str, Suite] = {}
    for folder in folders:
        for place in suite_folders(folder):
            suite = load_suite(place)
            known = suites.setdefault(suite.name, suite)
            if known is not suite and known.folder.resolve() != suite.folder.resolve():
                raise SchemaError(
                    f"{place / FILE}: name: {suite.name!r} is that of {known.folder}; rename one"
                )
    return tuple(suites[name] for name in sorted(suites))


def load_suite(folder: Path) -> Suite:
    """One suite; `SchemaError` in one line on the first thing that is wrong with it."""
    where = folder / FILE
    content = read_bytes(where, YAML_BYTES)
    values = read_yaml(content, where)
    if not isinstance(values, dict):
        raise SchemaError(f"{where}: not a mapping of settings; see `rmaudit probes show`")
    version = values.get("schema_version")
    if version != SCHEMA_VERSION:
        fault = "is missing" if version is None else f"is {brief(version)}"
        raise SchemaError(f"{where}: schema_version {fault}; this rmaudit reads {SCHEMA_VERSION}")
    file = _checked(SuiteFile, values, str(where))
    for entry in file.probes:
        try:
            find_transform(entry.transform).check(entry.parameters)
        except SchemaError as error:
            raise SchemaError(f"{where}: probe {entry.name}: {error}") from None
    digest = hashlib.sha256(content)
    items: tuple[Item, ...] = ()
    if file.items is not None:
        path = inside(folder, file.items, where)
        lines = read_bytes(path, ITEMS_BYTES)
        digest.update(b"\x00" + lines)
        items = _items(file, lines, path)
    return Suite(file, items, folder, digest.hexdigest())


def shipped_folder() -> Path:
    """Where the project's own suites are: inside the package, or beside it in a checkout."""
    package = Path(rmaudit.__file__).parent
    inside_package = package / "_probes"
    return inside_package if inside_package.is_dir() else package.parent / "probes"


def suite_folders(folder: Path) -> list[Path]:
    """The suite folders in a folder, in order of name; the folder itself if it is one."""
    if not folder.is_dir():
        raise SchemaError(f"{folder}: no such folder of probe suites")
    if (folder / FILE).is_file():
        return [folder]
    folders = sorted(path.parent for path in folder.glob(f"*/{FILE}"))
    if not folders:
        raise SchemaError(f"{folder}: no probe suite (no {FILE} here nor one folder below)")
    return folders


def _plugin_folders() -> list[Path]:
    folders: list[Path] = []

    def use(plugin: object) -> None:
        found = plugin() if callable(plugin) else plugin
        if not isinstance(found, str | Path):
            raise PluginError(f"it gives {type(found).__name__}, not the path of a folder")
        folders.append(Path(found))

    load_plugins("rmaudit.probes", use)
    return folders


def _items(file: SuiteFile, content: bytes, where: Path) -> tuple[Item, ...]:
    by_name = {entry.name: entry for entry in file.contrasts}
    items = []
    for number, row in read_lines(content, where):
        here = f"{where}: line {number}"
        if not isinstance(row, dict):
            raise SchemaError(f"{here}: not an object with columns")
        item = _checked(Item, row, here)
        if item.probe not in by_name:
            raise SchemaError(f"{here}: probe: {item.probe!r} is not one of {', '.join(by_name)}")
        if by_name[item.probe].expected == "not_lower" and item.neutral_prompt is None:
            raise SchemaError(f"{here}: neutral_prompt: needed where not_lower is expected")
        items.append(item)
    for name in by_name:
        if len({item.item for item in items if item.probe == name}) < 2:
            raise SchemaError(f"{where}: contrast {name} has fewer than two items")
    return tuple(items)


def _checked(model: type[Model], values: dict[Any, Any], where: str) -> Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "missing":
            message = "this column is missing" if model is Item else "missing"
        raise SchemaError(f"{where}: {place + ': ' if place else ''}{message}") from None
