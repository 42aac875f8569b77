"""The folder of a benchmark run: bench.json, and what comparisons by item need beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from rmaudit import files
from rmaudit.errors import UsageError
from rmaudit.plots import page_svg
from rmaudit.report.folder import BENCHMARK, REPORT, SCORES, write_influence
from rmaudit.report.page import asset, drawings, fill
from rmaudit.report.wording import words

if TYPE_CHECKING:
    from rmaudit.report.document import Report
    from rmaudit.report.schema import MetricRecord


def write_benchmark(report: Report, folder: Path) -> Path:
    """Write bench.json, bench.html, influence.parquet and scores.parquet; returns the folder.

    Raises
    ------
    UsageError
        If the folder holds an audit, whose files have the same names.
    """
    from rmaudit.scoring.table import write_scores

    if (folder / REPORT).is_file():
        raise UsageError(f"{folder}: holds an audit; name another folder for the benchmark")
    scores, influence = report.scores, report.influence
    files.write(folder / BENCHMARK, report.to_json())
    files.write(folder / "bench.html", render_benchmark(report))
    if influence is not None:
        write_influence(folder, influence)
    if scores is not None:
        write_scores(folder / SCORES, scores)
    return folder


def render_benchmark(report: Report) -> str:
    """The page: the score beside blind rules, every official number, and ours."""
    suite = dict(report.suite or {})
    (audit,) = report.audits.values()
    overall = {m.id.partition(".")[2]: m for m in audit.metrics if not m.slice}
    figures = [
        Markup(page_svg(drawing.svg))  # nosec B704: our own SVG
        for drawing in drawings(report).values()
        if drawing.svg is not None
    ]
    view = {
        "report": report.record,
        "suite": suite,
        "audit": audit,
        "answer": _answer(report, overall),
        "parts": [m for m in audit.metrics if "part" in m.slice],
        "ours": [m for name, m in overall.items() if name != "score"],
        "subsets": [m for m in audit.metrics if "subset" in m.slice],
        "figures": figures,
        "style": Markup(asset("page.css")),  # nosec B704: a file of the package
    }
    return fill("bench.html", view)


def _answer(report: Report, overall: Mapping[str, MetricRecord]) -> str:
    """The headline in a sentence, and whether a blind rule does as well."""
    score, before = overall["score"], "Official score"
    if score.value is None and "score_present" in overall:
        before = f"No official score ({score.reason}); mean of the groups present"
        score = overall["score_present"]
    said = words(score)
    if score.value is None:
        return f"No official score: {score.reason}."
    interval = f" [{said.interval}]" if said.interval else " (too few items for an interval)"
    text = f"{before}: {said.value}{interval}."
    best = best_blind_rule(report)
    if best is None:
        return text
    rule, blind = best
    low = score.ci[0]
    beaten = low is not None and blind.value is not None and low > blind.value
    verb = "above" if beaten else "not shown to be above"
    return f"{text} It is {verb} the best blind rule ({rule}: {words(blind).value})."


def best_blind_rule(report: Report) -> tuple[str, MetricRecord] | None:
    """The rule that reads no prompt and scores highest, as ("longer wins", its number)."""
    (audit,) = report.audits.values()
    rules = [(m.value, m) for m in audit.metrics if ".blind_" in m.id and not m.slice and m.value]
    if not rules:
        return None
    _, best = max(rules, key=lambda rule: rule[0])
    return audit.names[best.id].partition(": ")[2], best
