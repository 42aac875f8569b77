"""`index.html` over many audits: models and checkpoints, their verdicts, and trends."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rmaudit import files
from rmaudit.errors import RmauditError, UsageError
from rmaudit.plots import page_svg, to_svg
from rmaudit.report.document import Report
from rmaudit.report.folder import training_step
from rmaudit.report.page import asset, fill
from rmaudit.report.schema import MetricRecord
from rmaudit.report.verdict import DECISIVE, Verdict, verdict
from rmaudit.report.wording import axis_unit, words

PAGE = "index.html"
COLUMNS = 4  # key numbers beside the verdict
FEWEST_FOR_A_TREND = 3


@dataclass(frozen=True)
class Entry:
    """One audit in the index."""

    report: Report
    folder: Path
    verdict: Verdict

    @property
    def name(self) -> str:
        """The audited model."""
        return self.report.record.model.name

    @property
    def step(self) -> int | None:
        """The training step that the model's or the folder's name holds, as in checkpoint-500."""
        named = str(self.report.record.config.get("model", ""))
        return training_step(named, self.name, str(self.folder))

    @cached_property
    def data(self) -> str:
        """What it was measured on: its prompts, whatever rewards the file holds beside them."""
        influence = self.report.influence
        if influence is not None:
            prompts = "\n".join(sorted(influence["prompt"].astype(str).unique()))
            return hashlib.sha256(prompts.encode()).hexdigest()
        source = self.report.record.inputs.get("eval")
        return "" if source is None else source.sha256

    def number(self, metric_id: str) -> MetricRecord | None:
        """The overall number of an id (or its first slice), if it is defined."""
        same = [m for m in self.report.metrics() if m.id == metric_id and m.value is not None]
        return min(same, key=lambda m: bool(m.slice), default=None)


def write_index(folder: Path) -> tuple[Path, list[Entry], list[str]]:
    """Write `index.html` over every audit below a folder.

    Returns
    -------
    tuple
        The page, its entries, and one line for each report that could not be read.

    Raises
    ------
    UsageError
        If there is no readable report below the folder.
    """
    entries, faults = read_entries(folder)
    if not entries:
        told = f" ({faults[0]})" if faults else ""
        raise UsageError(f"no report below {folder}{told}; `rmaudit audit --out DIR` writes one")
    page = folder / PAGE
    files.write(page, render(entries, folder, faults))
    return page, entries, faults


def read_entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """The audits below a folder, oldest first, and what could not be read."""
    entries, faults = [], []
    for file in sorted(folder.rglob("report.json")):
        try:
            report = Report.load(file)
            entry = Entry(report, file.parent, verdict(report))
            _ = entry.data  # read now: a file that is broken costs its own entry, not the page
        except RmauditError as error:
            faults.append(str(error))
            continue
        entries.append(entry)
    entries.sort(key=lambda entry: (entry.report.record.created, str(entry.folder)))
    return entries, faults


def render(entries: Sequence[Entry], folder: Path, faults: Sequence[str]) -> str:
    """The page. Links are relative to the folder, so that it can be moved as a whole."""
    shown = [id_ for id_ in DECISIVE if any(entry.number(id_) for entry in entries)][:COLUMNS]
    names: dict[str, str] = {}
    for entry in entries:
        for audit in entry.report.audits.values():
            names.update(audit.names)
    view = {
        "rows": [
            {
                "entry": entry,
                "href": Path(os.path.relpath(entry.folder / "report.html", folder)).as_posix(),
                "numbers": [
                    words(number) if (number := entry.number(id_)) else None for id_ in shown
                ],
            }
            for entry in reversed(entries)
        ],
        "columns": [names.get(id_, id_) for id_ in shown],
        "trends": list(_trends(entries, shown, names)),
        "faults": faults,
        "style": Markup(asset("page.css")),  # nosec B704: a file of the package
    }
    return fill("index.html", view)


def _trends(
    entries: Sequence[Entry], shown: Sequence[str], names: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A figure per metric and evaluation file, over training steps (or the order of audits)."""
    trends = []
    for data in dict.fromkeys(entry.data for entry in entries):
        same = [entry for entry in entries if entry.data == data]
        steps = [entry.step for entry in same]
        known = [step for step in steps if step is not None]
        by_step = len(known) == len(same) and len(set(known)) == len(same)
        places = known if by_step else list(range(1, len(same) + 1))
        for id_ in shown:
            series = _series(names.get(id_, id_), id_, same, places)
            if len(series["x"]) < FEWEST_FOR_A_TREND:
                continue
            axis = "training step" if by_step else "audit, oldest first"
            title = f"{series['name']} by {axis}"
            unit = next(number.unit for entry in same if (number := entry.number(id_)) is not None)
            shown_as = axis_unit(id_, unit)
            ylabel = series["name"] + (", points" if shown_as == "points" else "")
            figure = {
                "name": id_,
                "kind": "curves",
                "title": title,
                "alt": title,
                "data": {
                    "series": [series],
                    "xlabel": axis,
                    "ylabel": ylabel,
                    "yunit": shown_as,
                },
            }
            svg = Markup(page_svg(to_svg(figure)))  # nosec B704: our own SVG
            trends.append({"title": title, "svg": svg})
    return trends


def _series(name: str, id_: str, entries: Sequence[Entry], places: Sequence[int]) -> dict[str, Any]:
    points = sorted(
        (place, number.value, *number.ci)
        for place, entry in zip(places, entries, strict=True)
        if (number := entry.number(id_)) is not None
    )
    columns = [list(column) for column in zip(*points, strict=True)] or [[], [], [], []]
    x, y, low, high = columns
    return {"name": name, "x": x, "y": y, "low": low, "high": high, "style": "points"}
