"""`report.html`: one self-contained page, readable without scripts, safe whatever the data hold."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from rmaudit.errors import SchemaError
from rmaudit.plots import page_svg, shows, to_pdf, to_svg, visible
from rmaudit.report import wording
from rmaudit.report.breaks import breakable
from rmaudit.report.causes import grouped
from rmaudit.report.marks import interval_plot, marked, shorten
from rmaudit.report.schema import AuditRecord, FigureRecord, MetricRecord
from rmaudit.report.tables import cell_words, columns
from rmaudit.report.verdict import key_numbers, verdict
from rmaudit.results import OTHER_KIND

if TYPE_CHECKING:
    from rmaudit.report.document import Report

PAGE_BYTES = 1_000_000
# Examples of a finding, and characters of each of their texts: the first that fit. Two examples
# that can be read say more than five that are cut off.
EXAMPLE_LIMITS = ((5, 4_000), (5, 1_500), (3, 1_500), (2, 1_000), (1, 1_000), (1, 500), (1, 200))
MOST_OF_TEXT = 8_000  # characters of any other text, such as the name of a subset
PREVIEW = 280  # characters of a long text that show before it is opened
TALL = 15  # rows of a figure from which on it stands alone in its line
LONG = 600  # characters from which on a text beside another scrolls
MOST_SLICES = 300  # numbers by slice, an audit
MOST_ROWS = 20  # of a table; the others are in its CSV file
_ARXIV = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure drawn once for the page and the file, or the reason why it cannot be."""

    figure: FigureRecord
    svg: str | None
    fault: str | None = None  # None without an SVG: not one of its numbers is finite

    def pdf(self, style: str) -> bytes | None:
        """The figure for a paper; None if it cannot be drawn so: that costs this file alone."""
        try:
            return to_pdf(self.figure.model_dump(), style)
        except Exception:
            _log.warning("figure %s: no PDF of it can be drawn", self.figure.name)
            return None


_log = logging.getLogger("rmaudit")
Drawings = Mapping[tuple[str, str], Drawing]


def drawings(report: Report) -> dict[tuple[str, str], Drawing]:
    """Every figure by (audit, name). One that cannot be drawn costs its place, not the page."""
    drawn = {}
    for name, audit in report.audits.items():
        for figure in audit.figures:
            try:
                content = figure.model_dump()
                drawing = Drawing(figure, to_svg(content) if shows(content) else None)
            except SchemaError as error:
                drawing = Drawing(figure, None, str(error))
            except Exception as error:  # whatever a name may do to the drawing library
                drawing = Drawing(figure, None, f"cannot be drawn ({type(error).__name__})")
            drawn[name, figure.name] = drawing
    return drawn


def render(report: Report, drawn: Drawings | None = None) -> str:
    """The page.

    Long texts of examples are cut to whatever keeps it under a megabyte; report.json has them.

    Parameters
    ----------
    report
        What to show.
    drawn
        Its figures, where they are drawn already.
    """
    drawn = drawings(report) if drawn is None else drawn
    figures = {
        key: Markup(page_svg(d.svg)) if d.svg is not None else None  # nosec B704: our own SVG
        for key, d in drawn.items()
    }
    page = ""
    view = _view(report, drawn, figures)
    for most, limit in EXAMPLE_LIMITS:
        page = fill("page.html", view | {"most_examples": most}, limit)
        if len(page.encode()) < PAGE_BYTES:
            break
    return page


def fill(template: str, view: Mapping[str, Any], text_limit: int = 0) -> str:
    """A page of templates/ with its values; texts of examples are cut to `text_limit`."""
    return breakable(environment(text_limit).get_template(template).render(view))


def summary(report: Report) -> str:
    """The first screen as a fragment, for notebooks."""
    return fill("summary.html", _view(report, {}, {}))


def _view(report: Report, drawn: Drawings, figures: Mapping[Any, Any]) -> dict[str, Any]:
    audits = report.audits
    ran = {name: audit for name, audit in audits.items() if audit.status != "not_run"}
    numbered = [(f"finding-{i}", finding) for i, finding in enumerate(report.findings, 1)]
    overall = {n: [m for m in a.metrics if not m.slice] for n, a in ran.items()}
    script, style = (asset(name) for name in ("page.js", "page.css"))
    not_run = {n: audit for n, audit in audits.items() if n not in ran}
    other_kind = {n: a for n, a in not_run.items() if (a.reason or "").startswith(OTHER_KIND)}
    return {
        "report": report.record,
        "verdict": verdict(report),
        "key_numbers": key_numbers(report),
        "undefined_reason": next((m.reason for m in report.metrics() if m.reason), None),
        "names": {id_: text for a in audits.values() for id_, text in a.names.items()},
        "definitions": {id_: text for a in audits.values() for id_, text in a.definitions.items()},
        "cautions": {id_: text for a in audits.values() for id_, text in a.cautions.items()},
        "groups": grouped(report.findings),
        "has_samples": has_samples(report),
        "label_next": _suggested(report),
        "reproduce": _command(report),
        "by_audit": {name: [(a, f) for a, f in numbered if f.audit == name] for name in audits},
        "ran": ran,
        "not_run": not_run,
        "other_kind": other_kind,
        "lacking": {n: audit for n, audit in not_run.items() if n not in other_kind},
        "shown": {name: [m for m in metrics if _speaks(m)] for name, metrics in overall.items()},
        "folded": {
            name: [m for m in metrics if not _speaks(m)] for name, metrics in overall.items()
        },
        "slices": {name: _slices(audit) for name, audit in ran.items()},
        "drawn": drawn,
        "figures": figures,
        "style": Markup(style),  # nosec B704: a file of the package
        "script": Markup(script),  # nosec B704: a file of the package
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "most_rows": MOST_ROWS,
    }


def _suggested(report: Report) -> int:
    """How many prompts the coverage audit suggests to label; 0 without a suggestion."""
    coverage = report.audits.get("coverage")
    table = None if coverage is None else coverage.tables.get("label_next")
    return 0 if table is None else len(table.rows)


def has_samples(report: Report) -> bool:
    """Whether samples.html stands beside the page."""
    if report.data is not None:
        return report.scores is not None and len(report.data) > 0
    return report.folder is not None and (report.folder / "samples.html").is_file()


def _speaks(metric: MetricRecord) -> bool:
    """Whether a number is worth a row of its own: defined, and not an exact "nothing found"."""
    return metric.value is not None and not (metric.better == "zero" and metric.value == 0)


def _command(report: Report) -> str | None:
    """The command that measures it again, up to the audits' names if it ends in --only.

    A demonstration, whose settings name no files, is run again as a whole; None where no command
    is known.
    """
    config = report.record.config
    if not isinstance(config.get("model"), str) or not isinstance(config.get("eval"), str):
        command = report.record.provenance.command
        return command if command is not None and command.startswith("rmaudit ") else None
    parts = ["rmaudit audit", "--model", shlex.quote(str(config["model"]))]
    for name in ("eval", "feedback", "deployment", "samples", "gold"):
        if isinstance(config.get(name), str):
            parts += [f"--{name}", shlex.quote(str(config[name]))]
    return " ".join([*parts, "--seed", str(report.record.seed), "--only"])


@dataclass(frozen=True, slots=True)
class SliceGroup:
    """The numbers of one audit by one slicing key (or several), by metric id.

    `alike` has one number of each metric that says the same in every slice: undefined for one
    reason, or zero; then that whose interval reaches farthest, which tells what could be missed.
    """

    by: str
    metrics: Mapping[str, Sequence[MetricRecord]]
    alike: Mapping[str, MetricRecord]
    count: int
    left_out: int


def _slices(audit: AuditRecord) -> list[SliceGroup]:
    groups: dict[str, dict[str, list[MetricRecord]]] = {}
    room = MOST_SLICES
    counts: dict[str, int] = {}
    for metric in audit.metrics:
        if not metric.slice:
            continue
        by = " and ".join(metric.slice)
        counts[by] = counts.get(by, 0) + 1
        if room > 0:
            groups.setdefault(by, {}).setdefault(metric.id, []).append(metric)
            room -= 1
    return [_slice_group(by, shown, counts[by]) for by, shown in groups.items()]


def _slice_group(by: str, shown: Mapping[str, Sequence[MetricRecord]], count: int) -> SliceGroup:
    alike = {
        id_: max(metrics, key=lambda metric: metric.ci[1] or 0.0)
        for id_, metrics in shown.items()
        if len(metrics) > 1
        and not any(map(_speaks, metrics))
        and len({(metric.value, metric.reason) for metric in metrics}) == 1
    }
    rest = {id_: metrics for id_, metrics in shown.items() if id_ not in alike}
    return SliceGroup(by, rest, alike, count, count - sum(len(m) for m in shown.values()))


@cache
def asset(name: str) -> str:
    """The text of a file in templates/."""
    loader = PackageLoader("rmaudit.report")
    text, _, _ = loader.get_source(Environment(autoescape=True), name)
    return text


@cache
def environment(text_limit: int) -> Environment:
    """Templates with autoescape and our filters; texts of examples are cut to `text_limit`."""
    environment = Environment(
        loader=PackageLoader("rmaudit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every value that is put out, without a template having to remember it.
        finalize=_shown,
    )
    environment.filters.update(
        words=wording.words,
        interval_plot=interval_plot,
        slice_words=wording.slice_words,
        marked=lambda text, other: marked(text, other, text_limit),
        number=wording.number,
        minus=wording.minus,
        heading=wording.heading,
        cell_words=cell_words,
        linked=_linked,
        shorten=lambda text: shorten(text, text_limit),
        preview=lambda text: text[:PREVIEW].rstrip(),
    )
    environment.globals.update(
        table_columns=columns, preview_length=PREVIEW, long_text=LONG, tall=TALL
    )
    return environment


def _shown(value: Any) -> Any:
    """A value as it is put out: of a name as long as a book, its beginning."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible(value if len(value) <= MOST_OF_TEXT else f"{value[:MOST_OF_TEXT]} …")


def _linked(source: str) -> Markup:
    """A source with links where it names papers on arXiv."""
    parts, end = [], 0
    for match in _ARXIV.finditer(source):
        parts.append(escape(visible(source[end : match.start()])))
        link = Markup('<a href="https://arxiv.org/abs/{0}" rel="noreferrer">arXiv {0}</a>')
        parts.append(link.format(match.group(1)))
        end = match.end()
    parts.append(escape(visible(source[end:])))
    return Markup("").join(parts)
