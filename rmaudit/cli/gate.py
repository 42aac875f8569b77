"""`rmaudit gate`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console, printable

if TYPE_CHECKING:
    from rmaudit.gating import GateResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "gate", gate)


def gate(
    console: Console,
    report: Annotated[Path, typer.Argument(help="Folder of an audit, or its report.json.")],
    policy: Annotated[
        str, typer.Option(help="gate.toml, or shipped thresholds: default, strict, pre-rlhf.")
    ] = "default",
    baseline: Annotated[
        Path | None, typer.Option(help="The audit that max_regression compares with.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write the verdict as JUnit XML.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write the verdict as SARIF 2.1.0.")] = None,
    github: Annotated[
        bool, typer.Option("--github", help="GitHub Actions: job summary and annotations.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON.")] = False,
) -> int:
    """Compare a report with the thresholds of a gate file. Exit 0 pass, 1 fail, 3 inconclusive."""
    from rmaudit import files
    from rmaudit.api import gate

    result = gate(report, policy, baseline)
    if junit is not None:
        from rmaudit.export.junit import junit as to_junit

        files.write(junit, to_junit(result))
    if sarif is not None:
        from rmaudit.export.sarif import sarif as to_sarif

        file = report / "report.json" if report.is_dir() else report
        files.write(sarif, json.dumps(to_sarif(result, file), indent=1) + "\n")
    if github:
        _github(result, as_json)
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _show(console, result)
    return result.exit_code


def _github(result: GateResult, as_json: bool) -> None:
    from rmaudit.export.github import step_summary, workflow_commands

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as out:
            out.write(step_summary(result))
    for line in workflow_commands(result):
        typer.echo(
            printable(line), err=as_json
        )  # the runner reads both; JSON on stdout stays whole


def _show(console: Console, result: GateResult) -> None:
    rows = []
    for outcome in result.outcomes:
        verdict = outcome.verdict if outcome.rule.level == "fail" else f"{outcome.verdict} (warn)"
        low, high = outcome.ci
        value = "-" if outcome.value is None else f"{outcome.value:.3f} [{low:.3f}, {high:.3f}]"
        bound = "-" if outcome.bound is None else f"{outcome.bound:.3f}"
        rows.append([outcome.name, verdict, value, bound, outcome.demand, outcome.note])
    title = f"{result.verdict.upper()} at {result.confidence:.0%} one-sided confidence"
    console.table(title, ["rule", "verdict", "value", "bound", "demand", "note"], rows)
