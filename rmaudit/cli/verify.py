"""`rmaudit verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.report.schema import MetricRecord

# What a report only names, and this command line may name or allow.
SETTINGS = (
    *("model", "ensemble", "gold", "store", "device", "api_key_env"),
    *("trust_code", "trust_remote_code", "allow_pickle"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "verify", verify, settings=SETTINGS)


def verify(
    console: Console,
    given: dict[str, Any],
    report: Annotated[Path, typer.Argument(help="Folder of an audit, or its report.json.")],
    rescore: Annotated[
        bool, typer.Option(help="Score again instead of reading stored rewards.")
    ] = False,
) -> int:
    """Compute a report again from its stored rewards. Exit 0 if every number agrees, else 1."""
    from rmaudit.verification import verify as recompute

    check = recompute(report, console, given=given, rescore=rescore)
    for name in check.inputs:
        console.warn(f"--{name} is not the file that was audited: its hash differs")
    if check.differences:
        rows = [
            [each.id, ", ".join(each.slice.values()), *_shown(each.report, each.recomputed)]
            for each in check.differences
        ]
        console.table("Differences", ["metric", "slice", "report", "recomputed"], rows)
    for said in check.findings:
        console.warn(said)
    differing = len(check.differences)
    console.say(f"{check.metrics - differing:,} of {check.metrics:,} numbers reproduced")
    return 0 if check.agrees else 1


def _shown(one: MetricRecord | None, other: MetricRecord | None) -> tuple[str, str]:
    """Both numbers; where they look alike, what else differs."""
    from rmaudit.verification import SAME

    shown = _number(one), _number(other)
    if one is None or other is None or shown[0] != shown[1]:
        return shown
    name = next((n for n in SAME if getattr(one, n) != getattr(other, n)), "df")
    return f"{name} {getattr(one, name)}", f"{name} {getattr(other, name)}"


def _number(metric: MetricRecord | None) -> str:
    if metric is None:
        return "absent"
    if metric.value is None:
        return "undefined"
    low, high = ("open" if end is None else f"{end:.6g}" for end in metric.ci)
    return f"{metric.value:.6g} [{low}, {high}]"
