"""What produced a report: versions, revision, hardware, command. Names no user and no folder of
results.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess  # nosec B404: runs git with fixed arguments only
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rmaudit.config import WHERE
from rmaudit.rewards.local.devices import accelerators

PACKAGES = (
    *("numpy", "pandas", "pyarrow", "scipy", "scikit-learn", "netcal"),
    *("torch", "transformers", "tokenizers", "peft", "openvino", "sentence-transformers"),
)
# A server's URL, alone or after its option: the user and the query of it may hold a key.
_URL = re.compile(r"((?:-\w|--[\w-]+=)?https?://)(?:[^/?#]*@)?([^?#]*).*", re.I | re.S)
_PLACES = {f"--{name.replace('_', '-')}": name != "no_cache" for name in WHERE}  # has it a value?


def provenance() -> dict[str, Any]:
    """Package versions, the git revision of the working folder, hardware, the command.

    Null stands for what is not there: a package, a repository, an accelerator that anything
    loaded can use, a command line (an audit from Python).
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "accelerator": ", ".join(accelerators()) or None,
        "command": command(sys.argv),
    }


def command(argv: Sequence[str]) -> str | None:
    """The command as it was typed; None if the process is not `rmaudit`.

    Without where texts were scored and results went, so that the same audit is the same report
    wherever it is written, and without the user and the query of a URL.
    """
    program = Path(argv[0]) if argv else Path()
    if program.name == "__main__.py":  # python -m rmaudit
        program = program.parent
    if program.stem != "rmaudit":
        return None
    shown = ["rmaudit"]
    arguments = iter(argv[1:])
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        if option in _PLACES:
            if _PLACES[option] and not equals:
                next(arguments, None)
            continue
        url = _URL.fullmatch(argument)
        shown.append(url[1] + url[2] if url else argument)
    return shlex.join(shown)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str | None:
    """The processor's own name; Linux has it in a file only."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    named = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or None


def _git_revision() -> str | None:
    try:
        done = subprocess.run(  # nosec B603 B607: fixed arguments
            ["git", "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
            cwd=Path.cwd(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
