"""A report in a model card: a Markdown section, and evaluation results as the hub reads them."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from rmaudit.errors import DataError, StoreError, UsageError
from rmaudit.report.verdict import key_numbers, verdict
from rmaudit.report.wording import words

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

    from rmaudit.report.document import Report
    from rmaudit.report.schema import MetricRecord

START, END = "<!-- rmaudit: start -->", "<!-- rmaudit: end -->"
SOURCE = "rmaudit"
BENCH_SOURCE = f"{SOURCE} bench"
_MANY = ("category.", "subset.")  # official names of which a benchmark has dozens
_TASK = ("text-classification", "Reward modelling")  # what the hub files reward models under
_SHOWN = ("high", "medium")
_HUB_DATA = re.compile(r"(?P<id>[\w.-]+/[\w.-]+):(?P<split>[^/\\]+)")


def model_card(report: Report) -> ModelCard:
    """A card of its own: the section, under metadata that the hub's own classes made and read.

    Raises
    ------
    DataError
        If huggingface_hub does not read back what it was given.
    """
    return _card({}, f"# {_plain(report.record.model.name)}\n\n{section(report)}", report)


def updated_card(text: str, report: Report) -> ModelCard:
    """A card with this audit in place of an earlier one, all else as it was.

    The section replaces the one between rmaudit's two comments, or goes to the end. Evaluation
    results whose source is rmaudit are replaced; those of others stay.

    Raises
    ------
    DataError
        If the card's metadata cannot be read.
    """
    from huggingface_hub import ModelCard

    try:
        card: Any = ModelCard(text)
    except Exception as error:  # yaml's errors, and the hub's own on metadata it cannot read
        raise DataError(
            f"the card's metadata cannot be read ({' '.join(str(error).split())[:200]}); "
            "repair the lines between the two ---"
        ) from error
    first, last = _marks(report)
    before, start, rest = card.text.partition(first)
    _, end, after = rest.partition(last)
    if start and not end:
        raise DataError(f"the card has {first} without {last}; remove it")
    if not start:
        before, after = f"{card.text.rstrip()}\n\n", "\n"
    body = before + section(report).rstrip() + after
    return _card(card.data.to_dict(), body, report)


def eval_results(report: Report) -> list[EvalResult]:
    """The key numbers, each with its interval, confidence level and count of prompts."""
    from huggingface_hub import EvalResult

    if report.suite is not None:
        return _official_results(report)
    source = report.record.inputs.get("eval")
    path = "unknown" if source is None else source.path
    hub = _HUB_DATA.fullmatch(path)
    name = path if hub else Path(path).name
    return [
        EvalResult(
            task_type=_TASK[0],
            task_name=_TASK[1],
            dataset_type=hub["id"] if hub else "preferences",
            dataset_name=name,
            dataset_split=hub["split"] if hub else None,
            dataset_args=None if source is None else {"sha256": source.sha256},
            metric_type=metric.id,
            metric_name=metric.id,
            metric_value=metric.value,
            metric_args=_facts(metric),
            source_name=f"{SOURCE} {report.record.rmaudit_version}",
            source_url="https://github.com/rmaudit/rmaudit",
        )
        for metric in key_numbers(report)
        if metric.value is not None
    ]


def _official_results(report: Report) -> list[EvalResult]:
    """A benchmark's official numbers under their own names; not those of its many categories."""
    from huggingface_hub import EvalResult

    suite, source = dict(report.suite or {}), report.record.inputs["eval"]
    hub = _HUB_DATA.fullmatch(suite["hub"] or "")
    records = {m.slice["part"]: m for m in report.metrics() if "part" in m.slice}
    return [
        EvalResult(
            task_type=_TASK[0],
            task_name=_TASK[1],
            dataset_type=hub["id"] if hub else suite["name"],
            dataset_name=suite["title"],
            dataset_split=hub["split"] if hub else None,
            dataset_args={"sha256": source.sha256},
            metric_type=f"{suite['name']}.{name}",
            metric_name=f"{suite['title']} {name}",
            metric_value=value,
            metric_args=_facts(records[name]),
            source_name=f"{BENCH_SOURCE} {report.record.rmaudit_version}",
            source_url="https://github.com/rmaudit/rmaudit",
        )
        for name, value in report.official.items()
        if value is not None and not name.startswith(_MANY)
    ]


def _marks(report: Report) -> tuple[str, str]:
    """The comments around the section: one of the audit, one of each benchmark."""
    if report.suite is None:
        return START, END
    name = report.suite["name"]
    return f"<!-- rmaudit bench {name}: start -->", f"<!-- rmaudit bench {name}: end -->"


def section(report: Report) -> str:
    """The Markdown section: the answer, key numbers, findings, and what was not measured."""
    record = report.record
    answer = verdict(report)
    start, end = _marks(report)
    lead = f"**Can it be optimised against? {answer.answer}** {_plain(' '.join(answer.sentences))}"
    title = "Audit"
    if report.suite is not None:
        title, lead = report.suite["title"], _plain(report.suite.get("rule", ""))
    lines = [
        start,
        f"## {title}",
        "",
        lead,
        "",
        "| metric | value | interval | better | n |",
        "| --- | --- | --- | --- | --- |",
    ]
    for metric in key_numbers(report):
        shown = words(metric)
        value = shown.value if metric.value is None else f"{shown.value} {shown.unit}".strip()
        interval = shown.interval or shown.reason or ""
        cells = (f"`{metric.id}`", value, interval, shown.better, shown.n)
        lines.append(f"| {' | '.join(_plain(cell) for cell in cells)} |")
    findings = [f for f in report.findings if f.severity in _SHOWN]
    if findings:
        lines += ["", "Findings of high and medium severity:", ""]
        lines += [f"- {f.severity}: {_plain(f.title)}" for f in findings]
    lines += ["", *_origin(report)]
    if "verifiable" in (facts := record.model.facts):
        lines += ["", f"Verifiable: {_plain(str(facts['verifiable']))}."]
    return "\n".join([*lines, end]) + "\n"


def _origin(report: Report) -> list[str]:
    record = report.record
    confidence = {m.confidence for m in report.metrics()}
    level = f"{confidence.pop():.0%} intervals" if len(confidence) == 1 else "intervals as stated"
    lines = [
        f"Audited with rmaudit {record.rmaudit_version} on {record.created[:10]}, seed "
        f"{record.seed}, {level}, clustered by prompt. Model fingerprint "
        f"`{_plain(record.model.fingerprint[:16])}`."
    ]
    for name, source in record.inputs.items():
        lines.append(
            f"Data ({name}): `{_plain(Path(source.path).name)}`, {source.rows_used:,} rows, sha256 "
            f"`{source.sha256[:16]}`."
        )
    absent = [_plain(audit.title) for audit in report.audits.values() if audit.status != "ok"]
    if absent:
        lines.append(f"Not measured: {', '.join(absent)}.")
    return lines


def _facts(metric: MetricRecord) -> dict[str, Any]:
    low, high = metric.ci
    facts = {"confidence": metric.confidence, "low": low, "high": high, "prompts": metric.n_prompts}
    return {**facts, "unit": metric.unit, "better": metric.better}


def _card(metadata: dict[str, Any], body: str, report: Report) -> ModelCard:
    """Metadata and text bound together, and read back by the hub's classes."""
    from huggingface_hub import ModelCard, ModelCardData

    data: Any = ModelCardData(**metadata)
    others = [r for r in data.eval_results or () if not _replaced(r, report)]
    data.eval_results = [*others, *eval_results(report)]
    data.model_name = data.model_name or report.record.model.name
    data.tags = list(dict.fromkeys([*(data.tags or ()), "reward-model", SOURCE]))
    if not data.eval_results:
        data.eval_results = None
    content = f"---\n{data.to_yaml()}\n---\n\n{body.lstrip()}"
    try:
        card: Any = ModelCard(content)
    except Exception as error:
        raise DataError(f"huggingface_hub refuses the card: {error}") from error
    if card.data.to_dict() != data.to_dict():
        raise DataError("huggingface_hub reads the card's metadata otherwise than it was written")
    made: ModelCard = card
    return made


def _replaced(result: EvalResult, report: Report) -> bool:
    """Whether a result of the card is an earlier one of the same audit or benchmark."""
    source = result.source_name or ""
    if report.suite is not None:
        return source.startswith(BENCH_SOURCE) and result.dataset_name == report.suite["title"]
    return source.startswith(SOURCE) and not source.startswith(BENCH_SOURCE)


def card_text(card: ModelCard) -> str:
    """The file: metadata with characters that do not show hold them as YAML's escapes."""
    metadata: Any = card.data
    if all(c.isprintable() or c == "\n" for c in metadata.to_yaml()):
        return str(card)
    data = yaml.dump(metadata.to_dict(), sort_keys=False, allow_unicode=False)
    return f"---\n{data.strip()}\n---\n{card.text}"


def write_card(path: Path, report: Report) -> None:
    """Write a card, or bring the audit in an existing one up to date.

    Raises
    ------
    UsageError
        If the file has another ending than .md.
    DataError
        If an existing card cannot be read.
    StoreError
        If the file cannot be written.
    """
    from rmaudit import files

    if path.suffix.lower() != ".md":
        raise UsageError(f"--out {path}: a model card is a Markdown file, e.g. README.md")
    try:
        old = files.read_text(path) if path.exists() else None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read as UTF-8 text ({error})") from error
    card = model_card(report) if old is None else updated_card(old, report)
    files.write(path, card_text(card))


def _plain(text: str) -> str:
    """Text of others that can break out of no table, and start no markup."""
    flat = "".join(c if c.isprintable() else " " for c in text)
    escaped = html.escape(flat, quote=False).replace("\\", "\\\\").replace("|", "\\|")
    return escaped.replace("[", "\\[").replace("]", "\\]")
