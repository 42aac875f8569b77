"""`rmaudit compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmaudit.cli import command
from rmaudit.console import Console

if TYPE_CHECKING:
    from rmaudit.comparison import League
    from rmaudit.comparison.compare import Comparison, Difference, Verdict

HEADLINES = (".score", ".score_present", "preference.accuracy")
DETECTABLE = (1.959964 + 0.841621) / 1.959964  # half-widths that show with 80% power


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "compare", compare)


def compare(
    console: Console,
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Two audits or benchmark runs, before and after; more: a league table of all."
        ),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="A number of the league table; may be repeated.")
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Steps of the runs, as 100,200,300: adds their trend.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for comparison.html and .json, or league.*.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Compare audits or benchmark runs, paired by prompt: what got worse, or a league table."""
    from rmaudit.api import compare
    from rmaudit.report.folder import report_file

    several = any(path.is_dir() and not report_file(path).is_file() for path in folders)
    if len(folders) != 2 or metric or steps or several:
        _league(console, folders, metric, steps, out, as_json)
        return
    result = compare(*folders)
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _show(console, result)
    if out is not None:
        console.say(f"page: {out / 'comparison.html'}", page=str(out / "comparison.html"))


def _league(
    console: Console,
    folders: list[Path],
    metric: list[str] | None,
    steps: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    from rmaudit.comparison import league

    result = league(folders, metric, steps=None if steps is None else _numbers(steps))
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _show_league(console, result)
    if out is not None:
        console.say(f"page: {out / 'league.html'}", page=str(out / "league.html"))


def _numbers(text: str) -> list[float]:
    from rmaudit.errors import UsageError

    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--steps {text}: give numbers, as 100,200,300") from None


def _show_league(console: Console, result: League) -> None:
    from rmaudit.comparison.page import detectable_words, standing_words

    for board in result.boards:
        rows = [standing_words(standing, board) for standing in board.standings]
        columns = ["place", "run", "value", f"{result.confidence:.0%} interval", "rank", "letters"]
        if any(s.step is not None for s in board.standings):
            columns.append("step")
        console.table(
            board.title, columns, [row + [""] * (len(columns) - len(row)) for row in rows]
        )
        if board.trend is not None:
            console.say(board.trend.words)
        shared = f"{board.shared:,} shared prompts" if board.shared else "nothing paired"
        console.say(f"{detectable_words(board)} {shared[0].upper()}{shared[1:]}.".strip())
    console.say("Runs that share a letter are not told apart.")
    for note in result.notes:
        console.warn(note)


def _headline(d: Difference) -> str:
    """The number that a reader asks for first, whatever came of it."""
    from rmaudit.comparison.page import change_words, words

    w = words(d)
    missed = change_words(DETECTABLE * (d.high - d.low) / 2, d.id, d.unit)
    told = "" if d.verdict != "no difference" else f"; about {missed} would have shown"
    unit = f" {w.unit}" if w.unit else ""
    return (
        f"{d.title}: {w.first} before, {w.second} after, difference {w.difference}{unit} "
        f"[{w.interval}], adjusted p {w.p}{told}"
    )


def _named(d: Difference) -> str:
    """The metric's name and where, with its id for the gate file."""
    from rmaudit.report.wording import slice_words

    where = f", {slice_words(d.slice)}" if d.slice else ""
    return f"{d.title}{where} ({d.id})"


def _show(console: Console, result: Comparison) -> None:
    from rmaudit.comparison.page import TITLES, words

    if not console.json_logs:
        console.result(result.answer)
        for d in result.differences:
            if not d.slice and d.id.endswith(HEADLINES) and d.reason is None:
                console.result(_headline(d))
    listed: tuple[Verdict, ...] = ("worse", "changed", "better")
    for verdict in listed:
        rows = []
        for d in result.of(verdict):
            w = words(d)
            change = f"{w.difference} [{w.interval}]"
            rows.append([_named(d), w.first, w.second, f"{change} {w.unit}".strip(), w.p])
        if rows:
            columns = ["metric", "before", "after", "difference", "adjusted p"]
            console.table(TITLES[verdict], columns, rows)
    same, absent = len(result.of("no difference")), len(result.of("not compared"))
    shared = f"{result.prompts['shared']:,} shared prompts" if result.paired else "nothing paired"
    if not console.json_logs:
        console.result("Intervals are those of each number alone; p-values are adjusted over all.")
    numbers = "number" if same == 1 else "numbers"
    console.say(
        f"{same} {numbers} without a difference beyond chance, {absent} not compared; {shared}"
    )
    for note in result.notes:
        console.warn(note)
