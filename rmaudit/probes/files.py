"""Reading a suite's files: no code, no surprises, nothing outside the folder."""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rmaudit.errors import SchemaError
from rmaudit.files import opened

YAML_BYTES = 200_000
ITEMS_BYTES = 5_000_000


class _Loader(yaml.SafeLoader):
    """Plain values only: no tags, no anchors (nested ones grow without bound), no double keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            problem = "anchors and aliases (& and *) are not read: write it out"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                problem = f"{str(key.value)[:60]!r} is given twice, or is no name"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(content: bytes, where: Path) -> Any:
    """Plain values of a YAML file; `SchemaError` in one line on everything else."""
    try:
        # Not yaml.load's full loader: _Loader is the safe one with more forbidden.
        return yaml.load(content, Loader=_Loader)  # nosec B506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f"line {mark.line + 1}: "
        problem = error.problem or "not YAML"
        if "could not determine a constructor" in problem:
            problem = "tags (!...) can run code and are not read: write plain values"
        raise SchemaError(f"{where}: {line}{problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        fault = " ".join(str(error).split())
        raise SchemaError(f"{where}: not YAML: {fault}") from None
    except RecursionError:
        raise SchemaError(f"{where}: nested too deeply") from None


def read_lines(content: bytes, where: Path) -> list[tuple[int, Any]]:
    """Line number and value of each line of a JSONL file that is not empty."""
    rows = []
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                raise SchemaError(f"{where}: line {number}: not JSON: {error}") from None
    return rows


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes; `SchemaError` where there is none."""
    try:
        if not path.is_file():
            raise SchemaError(f"{path}: no such file")
        if path.stat().st_size > limit:
            raise SchemaError(f"{path}: larger than {limit:,} bytes; not a file of a probe suite")
        with opened(path) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise SchemaError(f"{path}: cannot be read ({error.strerror})") from None
    return content[:limit]


def inside(folder: Path, name: str, where: Path) -> Path:
    """A file of a suite's own folder; `SchemaError` where the name leads out of it."""
    path = folder / name
    plain = Path(name).name == name and "\\" not in name and "\x00" not in name
    if not plain or not path.resolve().is_relative_to(folder.resolve()):
        raise SchemaError(f"{where}: items: {name!r} leads out of the suite's folder; name a file")
    return path
