"""Nothing is sent anywhere: importing, asking for help and auditing local files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# Runs before the program, in the same process: a connection ends it with exit status 86.
GUARD = """
import os, runpy, socket, sys

def refuse(self, address, *rest):
    if self.family != socket.AF_UNIX:
        os.write(2, f"connection to {address}\\n".encode())
        os._exit(86)

socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = lambda host, *rest, **more: refuse(socket.socket(), host)
sys.argv = sys.argv[1:]
exec(sys.argv.pop(0))
"""
COMMAND = "runpy.run_module('rmaudit', run_name='__main__')"


def guarded(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", GUARD, code, "rmaudit", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "RMAUDIT_STORE": str(folder / "store")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words.py").write_text(
        "def reward(pairs):\n    return [len(o) for _, o in pairs]\n"
    )
    rows = [{"prompt": f"q {i}", "chosen": "yes, it is", "rejected": "no"} for i in range(30)]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_the_guard_sees_a_connection(folder: Path) -> None:
    code = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    assert guarded(folder, code).returncode == 86


def test_importing_connects_to_nothing(folder: Path) -> None:
    done = guarded(folder, "import rmaudit; rmaudit.audit, rmaudit.load, rmaudit.gate")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("validate", "eval.jsonl"),
        ("audit", "--model", "python:words:reward", "--eval", "eval.jsonl", "--only", "preference"),
    ],
)
def test_a_command_on_local_files_connects_to_nothing(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    done = guarded(folder, COMMAND, *arguments)
    assert done.returncode == 0, done.stderr


def test_every_line_of_the_threat_model_names_a_test_that_is_there() -> None:
    root = Path(__file__).parent.parent
    file, lines = "", 0
    for line in (root / "SECURITY.md").read_text("utf-8").splitlines():
        if not line.startswith("|") or line.startswith("| ---") or line.split("|")[-2].strip() in (
            "test", "tested in",
        ):  # fmt: skip
            continue
        named = re.findall(r"`((?:tests/[\w/]+(?:\.py)?)?(?:::test_\w+)?)`", line.split("|")[-2])
        assert named, f"no test is named: {line}"
        lines += 1
        for each in named:
            path, _, test = each.partition("::")
            file = path or file
            assert (root / file).exists(), each
            if test:
                assert f"def {test}(" in (root / file).read_text("utf-8"), each
    assert lines >= 29
