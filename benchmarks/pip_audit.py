"""Every pin held against the advisories: a vulnerability fails, and a pin nobody looked at."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

NAME = re.compile(r"[-_.]+")


def pins(text: str) -> dict[str, str]:
    """Versions by normalised name, of lines such as ``name==1.2``."""
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;#]+)", text, re.MULTILINE)
    return {NAME.sub("-", name).lower(): version for name, version in found}


def faults(wanted: dict[str, str], document: dict[str, Any]) -> list[str]:
    """A line for each vulnerability, and for each pin that was not looked at."""
    seen = {NAME.sub("-", each["name"]).lower(): each for each in document["dependencies"]}
    lines = []
    for name, version in wanted.items():
        each = seen.get(name)
        if each is None or "skip_reason" in each or each.get("version") != version:
            why = "it is not in the answer" if each is None else each.get("skip_reason", "version")
            lines.append(f"{name}=={version} was not looked at: {why}")
            continue
        lines += [f"{name}=={version}: {found['id']}" for found in each["vulns"]]
    return lines


def main(program: str, constraints: str) -> int:
    """Run pip-audit and judge its answer; the exit code."""
    command = [program, "--no-deps", "--disable-pip", "--progress-spinner", "off"]
    command += ["--format", "json", "--requirement", constraints]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        said = " ".join(done.stderr.split())[-300:]
        print(f"pip-audit looked at nothing (is the advisory service in reach?): {said}")
        return 2
    wanted = pins(Path(constraints).read_text(encoding="utf-8"))
    lines = faults(wanted, document)
    print("\n".join([*lines, f"{len(wanted)} pins, {len(lines)} faults"]))
    return 1 if lines or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
