"""`rmaudit gate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.gating import GateResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "gate", gate)


def gate(
    console: Console,
    report: Annotated[Path, typer.Argument(help="Folder of an audit, or its report.json.")],
    policy: Annotated[
        str, typer.Option(help="gate.toml, or a shipped policy: default, strict, pre-rlhf.")
    ] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="The verdict as JSON.")] = False,
) -> int:
    """Hold a report against a policy. Exit 0 pass, 1 fail, 3 inconclusive."""
    from rmaudit.gating import Policy
    from rmaudit.gating import gate as decide
    from rmaudit.report.document import Report

    result = decide(Report.load(report), Policy.read(policy))
    if as_json:
        typer.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _show(console, result)
    return result.exit_code


def _show(console: Console, result: GateResult) -> None:
    rows = []
    for outcome in result.outcomes:
        verdict = outcome.verdict if outcome.rule.level == "fail" else f"{outcome.verdict} (warn)"
        low, high = outcome.ci
        value = "-" if outcome.value is None else f"{outcome.value:.3f} [{low:.3f}, {high:.3f}]"
        note = outcome.reason if outcome.value is None else ""
        if outcome.prompts_needed is not None:
            note = f"about {outcome.prompts_needed:,} prompts would settle it"
        rows.append([outcome.name, verdict, value, outcome.demand, note])
    title = f"{result.verdict.upper()} at {result.confidence:.0%} one-sided confidence"
    console.table(title, ["rule", "verdict", "value", "demand", "note"], rows)
