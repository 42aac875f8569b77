"""Where a report came from: the command without secrets or places, the hardware by its name."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rmaudit.errors import SchemaError
from rmaudit.provenance import command, provenance
from rmaudit.report.schema import ProvenanceRecord, check
from rmaudit.rewards.local.devices import accelerators


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/opt/x/bin/rmaudit", "audit", "-m", "models/a"], "rmaudit audit -m models/a"),
        (["/lib/rmaudit/__main__.py", "demo", "--synthetic"], "rmaudit demo --synthetic"),
        (["C/rmaudit.exe", "audit", "--eval", "my file.csv"], "rmaudit audit --eval 'my file.csv'"),
        (
            ["rmaudit", "audit", "--out", "a", "--seed", "1", "--store=s", "--no-cache", "-q"],
            "rmaudit audit --seed 1 -q",
        ),
        (["rmaudit", "audit", "--shard"], "rmaudit audit"),
        (
            ["rmaudit", "audit", "-m", "https://me:secret@host:1/v1?key=secret#secret"],
            "rmaudit audit -m https://host:1/v1",
        ),
        (
            ["rmaudit", "audit", "--gold=HTTP://secret@host?key=secret", "-mhttp://a@b/c"],
            "rmaudit audit --gold=HTTP://host -mhttp://b/c",
        ),
        (
            ["rmaudit", "audit", "--format", "see http://a?b\n{output}"],
            "rmaudit audit --format 'see http://a?b\n{output}'",
        ),
        (["/lib/pytest/__main__.py", "tests"], None),
        (["-c"], None),
        ([], None),
    ],
)
def test_the_command_names_no_place_and_no_secret(argv: list[str], shown: str | None) -> None:
    assert command(argv) == shown


def test_versions_and_hardware_of_this_machine() -> None:
    found = provenance()
    assert found["packages"]["numpy"] == np.__version__
    assert found["packages"].keys() >= {"torch", "transformers", "pandas", "scipy", "netcal"}
    assert found["python"] == platform.python_version()
    assert found["cores"] >= 1
    assert found["command"] is None  # this process is pytest
    if sys.platform == "linux" and platform.machine() == "x86_64":
        assert f": {found['processor']}\n" in Path("/proc/cpuinfo").read_text()
    assert found.keys() == ProvenanceRecord.model_fields.keys()


def test_the_revision_is_that_of_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance()["git_revision"] is None
    person = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "--quiet"], check=True)
    subprocess.run(["git", *person, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    head = Path(".git/HEAD").read_text().split()[1]
    assert provenance()["git_revision"] == (Path(".git") / head).read_text().strip()


def _broken(index: int) -> str:
    raise RuntimeError("the driver on your system is too old")


@pytest.mark.parametrize(
    ("count", "name_of", "apple", "expected"),
    [
        (2, "Card {}".format, False, ["Card 0", "Card 1"]),
        (0, "Card {}".format, False, []),
        (0, "Card {}".format, True, ["Apple GPU"]),
        (1, _broken, False, []),
    ],
)
def test_accelerators_are_named(
    count: int, name_of: Any, apple: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = SimpleNamespace(
        cuda=SimpleNamespace(device_count=lambda: count, get_device_name=name_of),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: apple)),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert accelerators() == expected
    assert provenance()["accelerator"] == (", ".join(expected) or None)


def test_nothing_is_loaded_to_find_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert accelerators() == []
    assert "torch" not in sys.modules


def test_the_schema_holds_the_block_to_its_types() -> None:
    with pytest.raises(SchemaError, match=r"provenance\.cores"):
        check(_report({**provenance(), "cores": "two"}), "report.json")
    check(_report(provenance()), "report.json")
    check(_report({}), "report.json")  # of a report that does not say


def _report(origin: dict[str, Any]) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "rmaudit_version": "0.1.0",
        "created": "2026-01-01T00:00:00+00:00",
        "seed": 0,
        "model": {"name": "m", "kind": "k", "fingerprint": "f"},
        "inputs": {},
        "cost": {"texts": 0, "texts_scored": 0, "tokens": 0, "seconds": 0.0},
        "audits": {},
        "findings": [],
        "provenance": origin,
    }
