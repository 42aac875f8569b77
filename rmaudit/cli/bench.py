"""`rmaudit bench`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import MODEL_OPTIONS, check_trackers, track
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import EXIT_OK
from rmaudit.files import check_writable

if TYPE_CHECKING:
    from rmaudit.report.document import Report


MANY, MOST_PARTS = ("category.", "subset."), 40  # beyond so many, these are not listed
SETTINGS = (*MODEL_OPTIONS, "no_cache", "limit", "seed", "confidence", "out", "log_to")


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "bench", bench, settings=SETTINGS)


def bench(
    console: Console,
    given: dict[str, Any],
    suite: Annotated[
        str, typer.Argument(help="A suite; list: what there is; all: every suite in a folder.")
    ],
    place: Annotated[
        str | None, typer.Argument(metavar="DATA", help="The same as --data.", show_default=False)
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="The published file, a folder of them, or org/name:split.")
    ] = None,
    results: Annotated[
        str | None,
        typer.Option(help="Published results for these data; joined by id, --model recorded."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model in tables.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="In suites of steps: a reward above it calls a step correct."),
    ] = None,
) -> int:
    """Run a published benchmark with its own scoring, intervals beside it: writes bench.json."""
    if suite == "list":
        _list(console)
        return EXIT_OK
    if results is not None:
        given = {**given, "model": given.get("model") or "recorded"}
    settings = AuditConfig.resolve({**given, "eval": _data(suite, data, place)}, None)
    check_trackers(settings.log_to)
    more = {"results": results, "name": name, "threshold": threshold}
    if suite == "all":
        return _all(console, settings, more)
    folder = settings.out or Path("reports") / _folder(suite, settings.model)
    check_writable(folder)
    report = _run(console, suite, settings, settings.eval, folder, more)
    show(console, report)
    console.say(f"page: {folder / 'bench.html'}", page=str(folder / "bench.html"))
    return EXIT_OK


def _data(suite: str, data: str | None, place: str | None) -> str:
    """The data that were given, or the suite's on the hub."""
    from rmaudit.errors import UsageError
    from rmaudit.suites import SUITES

    if data is not None and place is not None:
        raise UsageError(f"{place} and --data {data} are two data: give one")
    data = data or place
    if suite == "all":
        if data is None or not Path(data).is_dir():
            raise UsageError("bench all needs --data FOLDER: each file or folder in it is tried")
        return data
    declared = SUITES[suite]()
    source = data or declared.hub
    if source is None:
        raise UsageError(f"say --data FILE: download {declared.download}")
    return source


def _run(
    console: Console,
    suite: str,
    settings: AuditConfig,
    data: str,
    folder: Path,
    more: Mapping[str, Any],
) -> Report:
    from rmaudit.benchmark import bench
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.kinds import refuse_without_effect

    refuse_without_effect(settings, [settings.model])
    report = bench(
        suite,
        data,
        load_reward_model(settings.model, settings),
        limit=settings.limit,
        seed=settings.seed,
        confidence=settings.confidence,
        store=settings.store,
        cache=not settings.no_cache,
        progress=console.progress(),
        settings=settings.recorded(),
        **more,
    )
    report.save(folder)
    track(console, report, folder, settings.log_to)
    return report


def _all(console: Console, settings: AuditConfig, more: Mapping[str, Any]) -> int:
    """Every file or folder in a folder that is a suite's, each into a folder of its own.

    One that cannot be run is told and costs the exit code, not the others.
    """
    from rmaudit.errors import EXIT_BAD_INPUT, DataError, RmauditError, UsageError
    from rmaudit.suites.run import suites_in

    if more["results"] is not None:
        raise UsageError("--results are of one suite: name it in place of all")
    found = suites_in(Path(settings.eval))
    if not found:
        raise DataError(f"{settings.eval}: no file in it is one of a known suite")
    out = settings.out or Path("reports") / _folder("all", settings.model)
    check_writable(out)
    reports = []
    for suite, path in found:
        console.say(f"{suite}: {path}")
        folder = out / (suite if [s for s, _ in found].count(suite) == 1 else path.stem)
        try:
            reports.append(_run(console, suite, settings, str(path), folder, more))
        except RmauditError as error:
            console.error(str(error))
    if reports:
        rows = [_headline(report) for report in reports]
        columns = ["suite", "score", "interval", "accuracy", "best blind rule", "items"]
        names = list(dict.fromkeys(report.record.model.name for report in reports))
        console.table(names[0] if len(names) == 1 else "Benchmarks", columns, rows)
        console.say(f"results: {out}", path=str(out))
    return EXIT_OK if len(reports) == len(found) else EXIT_BAD_INPUT


def _headline(report: Report) -> list[str]:
    from rmaudit.report.benchmark import best_blind_rule
    from rmaudit.report.wording import words

    overall = {m.id.partition(".")[2]: m for m in report.metrics() if not m.slice}
    score, accuracy = words(overall["score"]), overall.get("accuracy")
    best = best_blind_rule(report)
    suite: dict[str, Any] = dict(report.suite or {})
    return [
        suite["title"],
        score.value,
        score.interval or score.reason or "",
        "" if accuracy is None else words(accuracy).value,
        "" if best is None else f"{words(best[1]).value} ({best[0]})",
        f"{suite.get('items', 0):,}",
    ]


def show(console: Console, report: Report) -> None:
    """The official numbers, ours beside them, and what to know of both, on stdout."""
    from rmaudit.report.wording import words

    suite: dict[str, Any] = dict(report.suite or {})
    parts = {m.slice["part"]: m for m in report.metrics() if "part" in m.slice}
    rows = []
    many = [name for name in parts if name.startswith(MANY) and len(parts) > MOST_PARTS]
    for name, metric in parts.items():
        if name in many or metric.value is None:  # the notes say what is undefined, and why
            continue
        shown = words(metric)
        rows.append([name, shown.value, shown.interval or shown.reason or "", shown.n])
    if many:
        rows.append([f"and {len(many)} categories in bench.json", "", "", ""])
    title = f"{suite['title']}: {report.record.model.name}, official numbers"
    console.table(title, ["name", "value", "interval", "rows"], rows)
    (audit,) = report.audits.values()
    ours = [m for m in audit.metrics if not m.slice]
    rows = []
    for metric in ours:
        shown = words(metric)
        value = f"{shown.value} {shown.unit}".strip() if metric.value is not None else shown.value
        rows.append([audit.names[metric.id], value, shown.interval or shown.reason or ""])
    console.table("Beside them", ["name", "value", "interval"], rows)
    for finding in report.findings:
        console.warn(f"{finding.title}. {finding.detail}")
    for note in suite["notes"]:
        console.say(note)


def _list(console: Console) -> None:
    from rmaudit.suites.base import suites

    rows = [
        [s.name, f"{s.question}\nData: {s.download}.\nRecorded rewards: {s.recorded}."]
        for s in suites()
    ]
    console.table("Published benchmarks", ["suite", "what it asks"], rows)


def _folder(suite: str, model: str) -> str:
    from rmaudit.files import file_name

    return f"{file_name(suite, Path(model).name)[:60]}-{time.strftime('%Y%m%d-%H%M%S')}"
