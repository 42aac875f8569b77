"""What a benchmark of speed leaves: JSON, and a table that says where and of what it is."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def keep(folder: Path, name: str, results: Sequence[Mapping[str, Any]], table: str) -> None:
    """Write ``NAME.json``, a line a result, and ``NAME.md``, the table and its origin; print both.

    Parameters
    ----------
    folder
        Where to; it is made.
    name
        That of the table's place in docs/benchmarks.md.
    results
        What was measured.
    table
        In Markdown.
    """
    facts = {
        "command": command(),
        "processor": processor(),
        "processors": os.cpu_count(),
        "tree": tree(),
        "load": round(os.getloadavg()[0], 1),
    }
    lines = "\n".join(json.dumps({**result, **facts}) for result in results)
    origin = (
        f"`{facts['command']}` on {facts['processor']}, {facts['processors']} processors, "
        f"tree {facts['tree']}, load {facts['load']} at the end."
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(lines + "\n")
    (folder / f"{name}.md").write_text(f"{table.strip()}\n\n{origin}\n")
    print(lines)
    print(f"{table.strip()}\n\n{origin}")


def command() -> str:
    """The command line, without where this machine keeps things."""
    given = " ".join("PATH" if os.sep in word else word for word in sys.argv[1:])
    return f"benchmarks/{Path(sys.argv[0]).name} {given}".strip()


def processor() -> str:
    """What the system calls it."""
    facts = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", facts.read_text()) if facts.exists() else []
    return names[0] if names else platform.processor()


def tree() -> str:
    """The commit, with a + where files differ from it; "unknown" outside a repository."""
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
