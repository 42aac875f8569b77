"""What a module's rewards hang on: its source, and that of whatever it imports. For workers too."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType

_INSTALLED = ("site-packages", "dist-packages")


def digest(module: ModuleType | None) -> str:
    """A digest of a module's file and of all that it imports, near or far; "" without a file.

    Imports are read from the sources as they are on disk, also those within functions. A file of
    the user's own counts by its content, an installed package by its version, and Python's own
    modules not at all. What is imported by a computed name, and files that are read, are not seen.
    """
    path = getattr(module, "__file__", None)
    if module is None or not path or not Path(path).is_file():
        return ""
    found = {module.__name__: _content(Path(path))}
    waiting = [(module.__name__, Path(path))]
    while waiting:
        for name in _imports(*waiting.pop()):
            top = name.partition(".")[0]
            if name in found or top in sys.stdlib_module_names:
                continue
            origin = _origin(name)
            if origin is None:  # a name within a module, or a package that is not there
                continue
            if top == "rmaudit" or any(part in _INSTALLED for part in origin.parts):
                found[top] = _version(top)
            elif origin.suffix == ".py":
                found[name] = _content(origin)
                waiting.append((name, origin))
            else:
                found[name] = _content(origin)
    if len(found) == 1:
        return found[module.__name__]
    told = "\n".join(f"{name} {said}" for name, said in sorted(found.items()))
    return hashlib.sha256(told.encode()).hexdigest()


def _imports(name: str, path: Path) -> Iterator[str]:
    """Names of the modules that a file imports, and of what it takes from them."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join((*above, *([base] if base else [])))
            yield from _with_parents(base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _origin(name: str) -> Path | None:
    """The file of a module, found without importing anything."""
    first, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(first) if first else None
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    origin = Path(spec.origin) if spec.has_location and spec.origin else None
    folders = [Path(each) for each in spec.submodule_search_locations or ()]
    if origin is not None and any(part in _INSTALLED for part in origin.parts):
        return origin
    for part in rest:
        packages = [folder / part for folder in folders if (folder / part).is_dir()]
        files = [folder / f"{part}.py" for folder in folders]
        files = [each / "__init__.py" for each in packages] + files
        origin = next((each for each in files if each.is_file()), None)
        folders = packages
        if origin is None and not packages:
            return None
    return origin


@cache
def _version(package: str) -> str:
    """The version of the distribution that a package came with."""
    for name in (package, package.replace("_", "-")):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    names = metadata.packages_distributions().get(package, ())
    return " ".join(sorted(f"{name} {metadata.version(name)}" for name in names))


def _content(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
