"""What the documents show works as printed, and the committed page is current."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.audits.base import AUDITS
from rmaudit.audits.base import audits as registered_audits
from rmaudit.cli import app

ROOT = Path(__file__).resolve().parents[1]


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def test_the_audit_of_the_contributing_guide_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered_audits()  # what is imported now stays registered when the copy is dropped
    monkeypatch.setattr(AUDITS, "_things", dict(AUDITS._things))
    (source,) = blocks("CONTRIBUTING.md", "python")
    exec(compile(source, "CONTRIBUTING.md", "exec"), {"__name__": "politeness"})
    (tmp_path / "please.py").write_text(
        "def reward(pairs):\n    return [2.0 * ('Please' in o) + len(o) / 100 for _, o in pairs]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pairs = pd.DataFrame(
        {"prompt": [f"q{i}" for i in range(20)], "chosen": "yes, of course", "rejected": "no"}
    )
    report = rma.audit("python:please:reward", rma.load(pairs), only=["politeness"], cache=False)
    # " Please let me know." is 20 characters and holds the word that is paid for.
    assert report["politeness.effect"].value == pytest.approx(2.2)


@pytest.mark.parametrize(
    "document",
    ["README.md", "docs/index.md", "docs/gate.md", "docs/over-optimisation.md", "docs/scale.md"],
)
def test_every_command_of_the_readme_is_known(document: str) -> None:
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    commands = [line.split("#")[0].split() for line in lines if line.startswith("rmaudit ")]
    assert commands
    for command in commands:
        words = [word for word in command[1:] if not word.startswith("-")]
        depth = 2 if words[:1] in (["train"], ["probes"]) else 1
        shown = CliRunner().invoke(app, [*words[:depth], "--help"])
        assert shown.exit_code == 0, command
        for flag in re.findall(r"--[a-z-]+", " ".join(command)):
            assert flag in shown.output, (command, flag)


def metrics(report: dict[str, Any]) -> dict[tuple[str, str], list[float]]:
    nan = math.nan
    return {
        (metric["id"], json.dumps(metric["slice"])): [
            nan if number is None else number for number in (metric["value"], *metric["ci"])
        ]
        for audit in report["audits"].values()
        for metric in audit["metrics"]
    }


def test_the_committed_example_is_what_make_example_builds(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["demo", "--synthetic", "--out", str(tmp_path), "--quiet", "--debug"]
    )
    assert done.exit_code == 0, done.output
    built = metrics(json.loads((tmp_path / "report.json").read_text()))
    committed = metrics(json.loads((ROOT / "reports" / "example" / "report.json").read_text()))
    assert built.keys() == committed.keys(), "run `make example` and commit the page"
    for key, numbers in built.items():
        assert numbers == pytest.approx(committed[key], abs=1e-6, rel=1e-6, nan_ok=True), key


def test_the_readme_is_short_and_every_audit_has_a_page() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150
    for audit in registered_audits():
        page = ROOT / "docs" / "audits" / f"{audit.name}.md"
        assert f"<!-- audit: {audit.name} -->" in page.read_text(), audit.name
