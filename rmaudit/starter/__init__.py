"""The files that `rmaudit init` writes: settings, a gate, a test and a workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rmaudit.errors import StoreError, UsageError

_HERE = Path(__file__).parent
_GATE = (
    "# The gate: `rmaudit gate reports/mine --policy gate.toml`. Change what your product needs.\n"
)


def starter_files(model: str | None = None, eval: str | None = None) -> dict[str, str]:
    """The content of each file by its path.

    Parameters
    ----------
    model, eval
        Written into audit.toml in place of its examples.
    """
    settings = settings_file(model or "org/reward-model", eval or "prefs.jsonl")
    policy = _read(_HERE.parent / "gating" / "policies" / "default.toml")
    return {
        "audit.toml": settings,
        "gate.toml": _GATE + policy,
        "test_reward_model.py": _read(_HERE / "test_reward_model.txt"),
        ".github/workflows/reward-model.yml": _read(_HERE / "workflow.yml"),
    }


def settings_file(model: str, eval: str) -> str:
    """`audit.toml` with every setting that a file can give, at its default or with an example."""
    from rmaudit.config import AuditConfig

    lines = [
        "# The settings of `rmaudit audit --config audit.toml`; options win over this file.",
        "# What is commented out stands at its default, or is not given. A file cannot allow code,",
        "# pickles or secrets: say --trust-code, --trust-remote-code, --allow-pickle and",
        "# --api-key-env on the command line.",
        "schema_version = 1",
    ]
    panel = ""
    given = {"model": model, "eval": eval}
    for name, each in AuditConfig.options().items():
        if each.grants:
            continue
        if each.panel != panel:
            panel = each.panel
            lines += ["", f"# {panel}."]
        field = AuditConfig.model_fields[name]
        example = given.get(name, field.default if each.example is None else each.example)
        # JSON's strings, numbers and lists are TOML's.
        value = f"{name} = {json.dumps(example, ensure_ascii=False)}"
        notes = each.notes(field)
        lines.append(f"# {each.help}" + (f" [{notes}]" if notes else ""))
        lines.append(value if name in given else f"# {value}")
    return "\n".join(lines) + "\n"


def write_starter(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write the files, all or none: nothing that is there already is touched.

    Raises
    ------
    UsageError
        If one of them is there.
    StoreError
        If the folder cannot be written.
    """
    paths = {folder / name: content for name, content in files.items()}
    there = [str(path) for path in paths if path.exists() or path.is_symlink()]
    if there:
        raise UsageError(
            f"{', '.join(there)}: there already, and nothing was written; name another folder, or "
            "move what is there"
        )
    try:
        for path, content in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:  # x: never over another's file
                file.write(content)
    except OSError as error:
        raise StoreError(f"cannot write {error.filename}: {error.strerror}") from error
    return list(paths)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
