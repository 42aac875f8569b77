"""`rmaudit plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.gating.planning import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "plan", plan)


def plan(
    console: Console,
    report: Annotated[Path, typer.Argument(help="Folder of a pilot audit, or its report.json.")],
    gate: Annotated[
        str, typer.Option(help="gate.toml, or a shipped policy: default, strict, pre-rlhf.")
    ] = "default",
    power: Annotated[float, typer.Option(help="Chance of a verdict to plan for.")] = 0.8,
    agreement: Annotated[
        float | None,
        typer.Option(help="Chance that two annotators agree; default: from the report."),
    ] = None,
    judge_correlation: Annotated[
        float | None,
        typer.Option(help="Correlation of a cheap judge with the gold labels, per prompt."),
    ] = None,
    unlabelled: Annotated[
        float | None,
        typer.Option(help="Prompts that only the judge labels, per prompt with gold."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON.")] = False,
) -> int:
    """Say how many labels settle the rules of a gate, from a pilot report."""
    from rmaudit.gating.planning import plan
    from rmaudit.gating.policy import Policy
    from rmaudit.report.document import Report

    plans = plan(
        Report.load(report),
        Policy.read(gate),
        power=power,
        agreement=agreement,
        judge_correlation=judge_correlation,
        unlabelled=unlabelled,
    )
    if as_json:
        typer.echo(json.dumps(plans.to_dict(), indent=2))
    else:
        _show(console, plans)
    return 0


def _show(console: Console, found: Plan) -> None:
    rows = []
    for need in found.needs:
        where = ", ".join(f"{key}={value}" for key, value in need.slice.items())
        name = f"{need.metric}[{where}]" if where else need.metric
        value = "-" if need.value is None else f"{need.value:.3f}"
        rows.append(
            [
                name,
                need.demand,
                value,
                need.toward,
                f"{need.prompts_now:,}",
                *(
                    "-" if n is None else f"{n:,}"
                    for n in (need.prompts_needed, need.pairs_needed, need.gold_needed)
                ),
                need.note,
            ]
        )
    title = f"Labels for a {found.power:.0%} chance of a verdict at {found.confidence:.0%}"
    columns = [
        "rule",
        "demand",
        "pilot",
        "toward",
        "prompts now",
        "needed",
        "pairs",
        "gold",
        "note",
    ]
    console.table(title, columns, rows)
    if found.votes:
        console.table(
            "preference.accuracy by votes per pair",
            ["votes", "labels correct", "accuracy shown", "prompts needed"],
            [
                [
                    str(v.votes),
                    f"{v.label_accuracy:.1%}",
                    f"{v.expected:.1%}",
                    "-" if v.prompts_needed is None else f"{v.prompts_needed:,}",
                ]
                for v in found.votes
            ],
        )
    if found.judge:
        console.say(found.judge)
