"""`rmaudit audit` and `rmaudit score`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import EXIT_FAILED, EXIT_OK, DataError
from rmaudit.settings import INPUTS, RESULTS, ModelSettings

if TYPE_CHECKING:
    from rmaudit.report.document import Report

# What loads and runs a model, keeps its rewards, and names it: shared by score and doctor.
MODEL_OPTIONS = ("model", *ModelSettings.options(), "store")
Limit = Annotated[int | None, typer.Option(min=1, help="Use the first N rows only.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command.add(app, "audit", audit, settings=tuple(AuditConfig.options()))
    command.add(app, "score", score, settings=(*MODEL_OPTIONS, "no_cache", "limit", "columns"))


def audit(
    console: Console,
    given: dict[str, Any],
    config: Annotated[
        Path | None,
        typer.Option(help="audit.toml; options win over it.", rich_help_panel=INPUTS),
    ] = None,
) -> int:
    """Audit one reward model: writes report.json, report.html, figures/ and tables/."""
    from rmaudit.api import run_audit

    settings = AuditConfig.resolve(given, config)
    if settings.dry_run:
        _forecast(console, settings)
        return EXIT_OK
    if settings.shard is not None:
        from rmaudit.sharding import Shard, run_shard

        cost = run_shard(settings, Shard.parse(settings.shard), console)
        console.say(
            f"share {settings.shard}: {cost.texts_scored:,} of {cost.texts:,} rewards scored",
            scored=cost.texts_scored,
        )
        return EXIT_OK
    check_trackers(settings.log_to)
    report, folder = run_audit(settings, console)
    show(console, report, folder)
    track(console, report, folder, settings.log_to)
    if all(result.status == "not_run" for result in report.audits.values()):
        raise DataError(
            f"{settings.eval}: nothing was measured on it; each audit's need is said above and on "
            "the page"
        )
    return EXIT_FAILED if report.failed else EXIT_OK


def _forecast(console: Console, settings: AuditConfig) -> None:
    """What would be scored, by audit, and how long it may take."""
    from rmaudit.forecast import forecast
    from rmaudit.scoring.progress import duration

    estimate = forecast(settings)
    columns = ["audit", "texts", "to score", "of searches", estimate.unit, "time"]
    rows = []
    for cost in sorted(estimate.costs, key=lambda cost: (cost.audit != "", -cost.most)):
        seconds = estimate.seconds(cost.tokens)
        counts = [cost.texts, cost.to_score, cost.searches, cost.tokens]
        cells = [f"{count:,}" if count else "-" for count in counts]
        time = "-" if seconds is None else duration(seconds)
        rows.append([cost.audit or "the data", *cells, time])
    console.table("Would be scored", columns, rows or [["nothing", *["-"] * 5]])
    tokens, most = sum(c.tokens for c in estimate.costs), sum(c.most for c in estimate.costs)
    seconds = estimate.seconds(tokens)
    time = (
        "how long is not known before the first audit of this model on this machine"
        if seconds is None
        else f"about {duration(seconds)} of scoring, at the speed of its last audit here"
    )
    models = "" if estimate.models < 2 else f" by {estimate.models} models"
    console.result(
        f"At most {most:,} texts{models}, about {tokens:,} {estimate.unit}: {time}.",
        texts=most,
        tokens=tokens,
        seconds=seconds,
    )
    if estimate.kind_assumed is not None:
        console.say(
            f"taken as rewards of kind {estimate.kind_assumed}: a few rewards would "
            "tell; say --kind"
        )
    for name, reason in estimate.not_run:
        console.say(f"{name} would not run: {reason}")


def check_trackers(specs: Sequence[str]) -> None:
    """Whether every tracker is there, before hours of work go into what it is to keep.

    Raises
    ------
    UsageError
        If one is unknown, or its package is missing.
    """
    if specs:
        from rmaudit.export.trackers import opened

        for spec in specs:
            opened(spec)


def track(console: Console, report: Report, folder: Path, specs: Sequence[str]) -> None:
    """Log a written report to trackers, and say where."""
    for spec in specs:
        from rmaudit.export.trackers import log_to

        console.say(f"logged: {log_to(report, folder, spec)}", tracker=spec)


def show(console: Console, report: Report, folder: Path) -> None:
    """The verdict, key numbers and findings on stdout; where the page is, and what comes next."""
    from rmaudit.report.verdict import key_numbers, verdict
    from rmaudit.report.wording import slice_words, words

    answer = verdict(report)
    console.result(
        f"Can I optimise against this model? {answer.answer} {' '.join(answer.sentences)}",
        verdict=answer.answer,
    )
    names = {id_: name for audit in report.audits.values() for id_, name in audit.names.items()}
    rows = []
    for metric in key_numbers(report):
        shown, of = words(metric), slice_words(metric.slice)
        name = f"{names.get(metric.id, metric.id)}{f', {of}' if of else ''}"
        rows.append([name, f"{shown.value} {shown.unit}".strip(), shown.interval, shown.better])
    if rows:
        console.table("Key numbers", ["number", "value", "interval", "better"], rows)
    findings = [[f.severity, f.audit, f.title] for f in report.findings if f.severity != "info"]
    console.table("Findings", ["severity", "audit", "what"], findings or [["-", "-", "no finding"]])
    for name, result in report.audits.items():
        if result.status != "ok":
            console.warn(f"{name} {result.status.replace('_', ' ')}: {result.reason}")
    if report.record.config.get("profile") == "quick":
        console.warn(
            "--profile quick: faults that only the audits and parts listed as not measured look "
            "for stay unseen; --profile standard measures them"
        )
    console.say(f"page: {folder / 'report.html'}", page=str(folder / "report.html"))
    thresholds = " --policy gate.toml" if Path("gate.toml").is_file() else ""
    console.say(f"next: rmaudit gate {folder}{thresholds}")


def score(
    console: Console,
    given: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Option(
            help="Preference data: file, folder or org/name:split.", rich_help_panel=INPUTS
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Parquet file.", rich_help_panel=RESULTS)] = Path(
        "scores.parquet"
    ),
) -> None:
    """Score every text of a data set; writes one row per text."""
    from rmaudit.api import run_score

    settings = AuditConfig.resolve({**given, "eval": data}, None)
    frame = run_score(settings, out, console)
    console.say(f"{len(frame)} rewards: {out}", rows=len(frame), path=str(out))
