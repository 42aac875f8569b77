"""`rmaudit probes`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.probes.loading import Suite

ProbePath = Annotated[
    list[Path] | None,
    typer.Option("--probe-path", help="A further folder of probe suites; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="List, show and check probe suites.", no_args_is_help=True, rich_markup_mode=None
    )
    for function in (list_suites, show, check):
        command.add(group, function.__name__.removesuffix("_suites"), function)
    app.add_typer(group, name="probes")


def list_suites(console: Console, probe_path: ProbePath = None) -> None:
    """The suites at hand, one per row."""
    from rmaudit.probes import load_suites

    rows = [
        [
            suite.name,
            str(suite.file.version),
            suite.file.kind,
            str(len(suite.entries)),
            str(len(suite.items) or "-"),
            suite.file.question,
        ]
        for suite in load_suites(probe_path or ())
    ]
    columns = ["suite", "version", "kind", "probes", "items", "question"]
    console.table("Probe suites", columns, rows)


def show(
    console: Console,
    name: Annotated[str, typer.Argument(help="Name of a suite.")],
    probe_path: ProbePath = None,
) -> None:
    """One suite: its probes, what is expected of the reward, and its data sheet."""
    from rmaudit.errors import UsageError, nearest
    from rmaudit.probes import load_suites

    suites = {suite.name: suite for suite in load_suites(probe_path or ())}
    if name not in suites:
        raise UsageError(f"no probe suite is named {name!r}; {nearest(name, suites)}")
    suite = suites[name]
    console.table(f"{suite.file.title}, version {suite.file.version}", *_entries(suite))
    facts = [
        ["question", suite.file.question],
        ["licence", suite.file.licence],
        *(["source", source] for source in suite.file.sources),
        ["folder", str(suite.folder)],
        ["sha256", suite.sha256],
    ]
    console.table("About", ["what", "value"], facts)
    if suite.datasheet and not console.json_logs:
        console.result("\n" + suite.datasheet.rstrip().expandtabs(4))


def check(
    console: Console,
    path: Annotated[Path, typer.Argument(help="Folder of a suite, or of several.")],
) -> None:
    """Check a folder of suites. Exit 0 if each could be used, 2 and the first fault if not."""
    from rmaudit.probes.loading import load_suite, suite_folders

    for folder in suite_folders(path):
        suite = load_suite(folder)
        count = f"{len(suite.entries)} probes, {len(suite.items)} items"
        console.say(f"{folder}: {suite.name} {suite.file.version}: {count}, as they should be")


def _entries(suite: Suite) -> tuple[list[str], list[list[str]]]:
    from rmaudit.probes.schema import ProbeEntry

    rows = []
    for entry in suite.entries:
        if isinstance(entry, ProbeEntry):
            what = f"{entry.transform} of the {entry.acts_on}"
        else:
            what = f"{len(suite.items_of(entry))} items"
        rows.append([suite.key(entry), what, entry.expected, f"{entry.tolerance:g}", entry.meaning])
    return ["probe", "does", "reward should be", "within (SD)", "meaning"], rows
