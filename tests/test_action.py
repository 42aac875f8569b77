"""The GitHub action: valid by GitHub's schemas, and its steps do what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
REWARD = "def reward(pairs):\n    return [float('sorry' not in output) for _, output in pairs]\n"


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("vendor.github-actions", [ROOT / "action.yml"]),
        ("vendor.github-workflows", sorted((ROOT / ".github" / "workflows").glob("*.yml"))),
    ],
)
def test_valid_by_the_schemas(schema: str, files: list[Path]) -> None:
    pytest.importorskip("check_jsonschema")
    assert files
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def steps() -> dict[str, dict[str, Any]]:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    return {step["name"]: step for step in action["runs"]["steps"] if "name" in step}


def run(step: dict[str, Any], inputs: dict[str, str], folder: Path) -> int:
    """Run a step as GitHub does: inputs put into its variables, bash with -eo pipefail."""
    environment = dict(os.environ, PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    environment |= {"PYTHONPATH": str(folder), "GITHUB_OUTPUT": str(folder / "output")}
    environment |= {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_ACTIONS": "true"}
    for name, value in step["env"].items():
        key = value.removeprefix("${{ inputs.").removesuffix(" }}")
        environment[name] = inputs[key] if key != value else value
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
    return subprocess.run(shell, cwd=folder, env=environment, check=False).returncode


def test_the_action_installs_what_it_came_with() -> None:
    """The package is not on PyPI: by default the repository of the action is installed."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["inputs"]["package"]["default"] == ""
    package = steps()["Install"]["env"]["PACKAGE"]
    assert package == "${{ inputs.package || github.action_path }}"


def test_the_steps_audit_and_gate(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(REWARD)
    rows = [
        {"prompt": f"Question {i}?", "chosen": f"Answer {i}.", "rejected": f"I am sorry, {i}."}
        for i in range(60)
    ]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "gate.toml").write_text(
        'schema_version = 1\n[[rule]]\nmetric = "preference.accuracy"\nmin = 0.8\n'
    )
    inputs = {"model": "python:mine:reward", "eval": "eval.jsonl", "out": "report"}
    inputs |= {"arguments": "--only preference --seed 1", "policy": "gate.toml", "baseline": ""}
    assert run(steps()["Audit"], inputs, tmp_path) == 0
    assert (tmp_path / "output").read_text() == "report=report\n"
    assert run(steps()["Gate"], inputs, tmp_path) == 0
    assert {"gate.xml", "gate.sarif", "report.html"} <= {
        p.name for p in (tmp_path / "report").iterdir()
    }
    assert "preference.accuracy" in (tmp_path / "summary.md").read_text()
    strict = (tmp_path / "gate.toml").read_text().replace("min", "max")
    (tmp_path / "gate.toml").write_text(strict)
    assert run(steps()["Gate"], inputs, tmp_path) == 1


def test_arguments_keep_their_lines_and_quotes_and_run_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    (tmp_path / "rmaudit").write_text(
        '#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done > said\n'
    )
    (tmp_path / "rmaudit").chmod(0o755)
    step = steps()["Audit"]
    step["run"] = f'PATH="{tmp_path}:$PATH"\n{step["run"]}'
    arguments = (
        "--only preference\n--feedback 'a file.jsonl'\n--format \"{prompt} $(touch ran) `id`\""
    )
    inputs = {"model": "m", "eval": "e", "out": "o", "arguments": arguments}
    assert run(step, inputs, folder) == 0
    words = (folder / "said").read_text().split("<")[1:]
    assert [word.strip().removesuffix(">") for word in words[7:]] == [
        *("--only", "preference", "--feedback", "a file.jsonl"),
        *("--format", "{prompt} $(touch ran) `id`"),
    ]
    assert not (folder / "ran").exists()
    assert run(step, {**inputs, "arguments": "--only 'preference"}, folder) != 0
