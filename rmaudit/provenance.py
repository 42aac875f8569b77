"""What produced a report: versions, revision, hardware. Nothing that names a user or a path."""

from __future__ import annotations

import os
import platform
import subprocess  # nosec B404: runs git with fixed arguments only
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "transformers", "netcal")


def provenance() -> dict[str, Any]:
    """Package versions, the git revision of the working folder (null outside one), hardware."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
