"""The folder of a report: report.json, the page, and the tables and figures beside them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rmaudit import files
from rmaudit.data.types import SetAside
from rmaudit.errors import RmauditError, SchemaError
from rmaudit.report.plain import plain

if TYPE_CHECKING:
    from rmaudit.report.document import Report

REPORT = "report.json"
BENCHMARK = "bench.json"  # the same record, of a benchmark run
SCORES = "scores.parquet"
INFLUENCE = "influence.parquet"
SET_ASIDE = "set_aside.jsonl"
SAMPLES = "samples.html"
QUEUES = frozenset({"label_next", "disagreements"})  # tables of what a person should look at next
TEXT = ("categorical", "string", "empty")  # empty: a report without any defined number
_STEP = re.compile(r"(?:checkpoint|step|global_step|iter)[-_]?(\d+)", re.IGNORECASE)
NAMED = ("metric", "slice", "prompt")  # columns of the influences that say whose a value is


def training_step(*names: str) -> int | None:
    """The step that the first of some names holds, as in ``checkpoint-500``; None without one."""
    for name in names:
        if steps := _STEP.findall(name):
            return int(steps[-1])
    return None


def report_file(folder: Path) -> Path:
    """The record in a folder: report.json, or bench.json where there is no report."""
    names = [name for name in (REPORT, BENCHMARK) if (folder / name).is_file()]
    return folder / (names or [REPORT])[0]


def write(report: Report, folder: Path, paper: str) -> None:
    """Write a report; see `Report.save`.

    Views that an earlier report in the same folder named and this one does not are removed, so
    that no figure or table of another audit stays among these. Nothing else is touched.
    """
    from rmaudit.report.browser import samples_page
    from rmaudit.report.page import drawings, render
    from rmaudit.scoring.table import write_scores

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


def write_influence(folder: Path, influence: pd.DataFrame) -> None:
    """Write influence.parquet (see `rmaudit.report.influence`)."""
    # One group of rows: each would repeat the names of all prompts.
    whole = influence.to_parquet(
        index=False,
        row_group_size=max(1, len(influence)),
        use_dictionary=[*NAMED],  # the values are all different
        write_statistics=False,
    )
    files.write(folder / INFLUENCE, whole)


def read_table(path: Path) -> pd.DataFrame | None:
    """A Parquet file of a report; None if it isn't there.

    Raises
    ------
    SchemaError
        If it cannot be read.
    """
    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        reason = " ".join(str(error).split())[:200]
        raise SchemaError(f"{path}: cannot be read ({reason}); audit again") from error


def read_influence(path: Path) -> pd.DataFrame | None:
    """The influences of a report (see `influence_frame`); None if the file isn't there.

    Raises
    ------
    SchemaError
        If it cannot be read, or holds something else.
    """
    frame = read_table(path)
    if frame is None:
        return None
    if not {*NAMED, "value"} <= set(frame.columns):
        raise SchemaError(f"{path}: lacks one of {', '.join(NAMED)}, value; audit again")
    for name in NAMED:
        if pd.api.types.infer_dtype(frame[name], skipna=False) not in TEXT:
            raise SchemaError(f"{path}: column {name} holds what is no text; audit again")
    frame = frame[[*NAMED, "value"]].astype(dict.fromkeys(NAMED, "category"))
    for name in NAMED:
        categories = frame[name].cat.categories
        if frame[name].isna().any() or not all(isinstance(each, str) for each in categories):
            raise SchemaError(f"{path}: column {name} holds what is no text; audit again")
    value = frame["value"].to_numpy()
    if value.dtype != np.float64 or not np.isfinite(value).all():
        raise SchemaError(f"{path}: column value holds what is no number; audit again")
    return frame


def read_set_aside(path: Path) -> tuple[SetAside, ...] | None:
    """The rows that could not be used; None if the file isn't there."""
    if not path.is_file():
        return None
    try:
        with path.open(encoding="utf-8") as lines:
            return tuple(SetAside(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SchemaError(f"{path}: cannot be read ({error}); audit again") from error


def _named_before(folder: Path) -> set[str]:
    """The files of the report that the folder holds now, if it holds one, relative to it."""
    from rmaudit.report.document import Report

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
