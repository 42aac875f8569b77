"""Writing the folder of a report: report.json, the page, and the tables and figures beside them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rmaudit import files
from rmaudit.errors import RmauditError
from rmaudit.report.browser import samples_page
from rmaudit.report.document import Report
from rmaudit.report.folder import INFLUENCE, REPORT, SAMPLES, SCORES, SET_ASIDE, write_influence
from rmaudit.report.page import drawings, render
from rmaudit.report.plain import plain
from rmaudit.scoring.table import write_scores

QUEUES = frozenset({"label_next", "disagreements"})  # tables of what a person should look at next


def write(report: Report, folder: Path, paper: str) -> None:
    """Write a report; see `Report.save`.

    Views that an earlier report in the same folder named and this one does not are removed, so
    that no figure or table of another audit stays among these. Nothing else is touched.
    """
    # Read before anything is written: the report may come from this very folder.
    scores, influence, set_aside = report.scores, report.influence, report.set_aside
    stale = _named_before(folder)
    # The numbers first: whatever happens to a view of them, they are kept.
    files.write(folder / REPORT, report.to_json())
    if set_aside is not None:
        lines = (json.dumps(plain(asdict(row)), ensure_ascii=False) for row in set_aside)
        files.write(folder / SET_ASIDE, "".join(f"{line}\n" for line in lines))
        stale.discard(SET_ASIDE)
    if scores is not None:
        write_scores(folder / SCORES, scores)
        stale.discard(SCORES)
    if influence is not None:
        write_influence(folder, influence)
        stale.discard(INFLUENCE)
    for name, audit in report.audits.items():
        for title, content in audit.tables.items():
            path = _table(name, title)
            files.write(folder / path, files.csv_text(content.columns, content.rows))
            stale.discard(path)
            if title in QUEUES:
                files.write(folder / _queue(name, title), _lines(content.columns, content.rows))
                stale.discard(_queue(name, title))
    drawn = drawings(report)
    for (name, figure), drawing in drawn.items():
        svg, pdf = _figures(name, figure)
        if drawing.svg is not None:
            files.write(folder / svg, drawing.svg)
            stale.discard(svg)
            printed = drawing.pdf(paper)
            if printed is not None:
                files.write(folder / pdf, printed)
                stale.discard(pdf)
    browser = samples_page(report, report.data) if report.data is not None else None
    if browser is not None:
        files.write(folder / SAMPLES, browser)
    if browser is not None or report.folder == folder:
        stale.discard(SAMPLES)  # a report written again over itself keeps its samples
    files.write(folder / "report.html", render(report, drawn))
    for path in stale:
        files.remove(folder / path)


def _named_before(folder: Path) -> set[str]:
    """The files of the report that the folder holds now, if it holds one, relative to it."""
    try:
        audits = Report.load(folder).audits
    except RmauditError:
        return set()
    named = {SCORES, INFLUENCE, SET_ASIDE, SAMPLES}
    for name, audit in audits.items():
        named.update(_table(name, title) for title in audit.tables)
        named.update(_queue(name, title) for title in audit.tables if title in QUEUES)
        for figure in audit.figures:
            named.update(_figures(name, figure.name))
    return named


def _table(audit: str, title: str) -> str:
    return f"tables/{files.file_name(audit, title)}.csv"


def _queue(audit: str, title: str) -> str:
    return f"tables/{files.file_name(audit, title)}.jsonl"


def _lines(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table as JSON Lines, as tools for labels read it."""
    records = (plain(dict(zip(columns, row, strict=True))) for row in rows)
    return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in records)


def _figures(audit: str, figure: str) -> tuple[str, str]:
    stem = f"figures/{files.file_name(audit, figure)}"
    return f"{stem}.svg", f"{stem}.pdf"
