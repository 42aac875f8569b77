"""Faults of the machine: whatever happens, the same command ends with the undisturbed result.

`benchmarks/faults.py` kills every stage at many more random moments.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL, no fork")


@pytest.fixture(scope="module")
def faults() -> Iterator[ModuleType]:
    path = Path(__file__).parents[1] / "benchmarks" / "faults.py"
    spec = importlib.util.spec_from_file_location("benchmark_faults", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # its dataclass asks for its module
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def runner(faults: ModuleType) -> Iterator[Any]:
    with faults.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def undisturbed(
    faults: ModuleType, runner: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, float]:
    """What the audit writes if nothing happens to it, and the seconds it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    expected, seconds = faults.undisturbed(runner, faults.stages()["audit"], folder)
    assert '"n": 60' in expected
    return expected, seconds


@pytest.fixture
def folder(faults: ModuleType, tmp_path: Path) -> Path:
    prepared: Path = faults.prepare(tmp_path / "inputs")
    return prepared


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A disk of three megabytes in the folder."""
    place = folder / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount on this machine")
    if done.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def audit(faults: ModuleType, **changes: str) -> list[str]:
    """The audit's command with other values for some of its flags."""
    command: list[str] = list(faults.AUDIT)
    for flag, value in changes.items():
        command[command.index(f"--{flag}") + 1] = value
    return command


def texts_asked(folder: Path) -> int:
    """How many different texts the audit wanted scored."""
    document = json.loads((folder / "report" / "report.json").read_text())
    texts: int = document["cost"]["texts"]
    return texts


def texts_stored(path: Path) -> int:
    with sqlite3.connect(path) as raw:
        count: int = raw.execute("SELECT count(*) FROM scores").fetchone()[0]
    raw.close()
    return count


def one_error(said: str) -> str:
    """What the program said: one line, and no traceback."""
    (line,) = said.splitlines()
    assert line.startswith("error: ")
    assert "internal error" not in line
    return line


def test_killed_at_random_moments(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], tmp_path: Path
) -> None:
    expected, seconds = undisturbed
    stage = faults.stages()["audit"]
    assert (
        faults.chain(runner, stage, tmp_path / "killed", 3, seconds, random.Random(0)) == expected
    )


def test_a_killed_merge(faults: ModuleType, runner: Any, tmp_path: Path) -> None:
    stage = faults.stages()["merge"]
    expected, seconds = faults.undisturbed(runner, stage, tmp_path / "undisturbed")
    chain = faults.chain(runner, stage, tmp_path / "killed", 3, seconds, random.Random(0))
    assert chain == expected


@pytest.mark.parametrize("where", ["store", "out"])
def test_a_full_disk(
    faults: ModuleType,
    runner: Any,
    undisturbed: tuple[str, float],
    folder: Path,
    disk: Path,
    where: str,
) -> None:
    (disk / "filler").write_bytes(bytes((3 << 20) - (20 << 10)))  # all but 20 kB
    place = "disk/s.sqlite" if where == "store" else "disk/report"
    command = audit(faults, **{where: place})
    statuses, said = runner.run(folder, command)
    assert statuses == [2]
    assert "make room" in one_error(said)
    (disk / "filler").unlink()
    assert runner.run(folder, command)[0] == [0]
    assert faults.report(folder if where == "store" else disk) == undisturbed[0]


@pytest.mark.parametrize("where", ["store", "out"])
def test_a_read_only_disk(
    faults: ModuleType,
    runner: Any,
    undisturbed: tuple[str, float],
    folder: Path,
    disk: Path,
    where: str,
) -> None:
    remount = ["mount", "-o", "remount,ro", str(disk)]
    subprocess.run(remount, check=True)
    place = "disk/s.sqlite" if where == "store" else "disk/report"
    statuses, said = runner.run(folder, audit(faults, **{where: place}))
    assert statuses == [2]
    assert place in one_error(said)
    assert runner.run(folder, faults.AUDIT)[0] == [0]
    assert faults.report(folder) == undisturbed[0]


def test_a_file_that_may_not_grow(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], folder: Path
) -> None:
    statuses, said = runner.run(folder, faults.AUDIT, fault="full")
    assert statuses == [2]
    one_error(said)
    assert runner.run(folder, faults.AUDIT)[0] == [0]
    assert faults.report(folder) == undisturbed[0]


def test_a_model_that_holds_three_texts_at_once(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], folder: Path
) -> None:
    command = audit(faults, model="python:faulty:cramped")
    assert runner.run(folder, command)[0] == [0]
    numbers = faults.report(folder).replace("cramped", "reward")
    assert numbers.count('"value"') == undisturbed[0].count('"value"')
    assert texts_stored(folder / "s.sqlite") == texts_asked(folder)


def test_a_model_that_fails_on_one_text_loses_that_text_only(
    faults: ModuleType, runner: Any, folder: Path
) -> None:
    command = audit(faults, model="python:faulty:picky")
    assert runner.run(folder, command)[0] == [0]  # the report has it as a finding
    assert texts_stored(folder / "s.sqlite") > 0
    (folder / "mended").touch()
    assert runner.run(folder, command)[0] == [0]
    assert texts_stored(folder / "s.sqlite") == texts_asked(folder)


def test_a_damaged_store_is_set_aside_and_its_texts_scored_again(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], folder: Path
) -> None:
    assert runner.run(folder, faults.AUDIT)[0] == [0]
    path = folder / "s.sqlite"
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    assert runner.run(folder, faults.AUDIT)[0] == [0]
    assert faults.report(folder) == undisturbed[0]
    assert len(list(folder.glob("s.sqlite.damaged-*"))) == 1
    assert texts_stored(path) == texts_asked(folder)


def test_two_audits_at_once_on_one_store(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], folder: Path
) -> None:
    other = audit(faults, out="other/report")
    assert runner.run(folder, faults.AUDIT, other)[0] == [0, 0]
    assert faults.report(folder) == faults.report(folder / "other") == undisturbed[0]
    assert texts_stored(folder / "s.sqlite") == texts_asked(folder)


def test_a_clock_that_goes_back(
    faults: ModuleType, runner: Any, undisturbed: tuple[str, float], folder: Path
) -> None:
    assert runner.run(folder, faults.AUDIT, fault="clock")[0] == [0]
    assert faults.report(folder) == undisturbed[0]
