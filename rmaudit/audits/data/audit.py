"""Data: what is wrong with the preferences, before any model is asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.row_content import (
    NONE,
    Content,
    contradictions,
    cycles,
    duplicates,
    leaked,
)
from rmaudit.audits.data import views
from rmaudit.audits.data.near import near_leak
from rmaudit.audits.poison.views import WORD_METRICS, words_part
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import EVERY_SIGNAL
from rmaudit.scoring.requests import Scores
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.law import p_at_most

CHECKED = ("eval", "feedback")
COMPARED = ("preference", "ranking")
LABELLED = (*COMPARED, "rating", "unpaired")
NO_TEXTS = "the data hold no response texts"


@register_audit
class Data(Audit):
    """Duplicates, contradictions, leakage, identical pairs, cycles, and skew."""

    name = "data"
    title = "Data"
    question = "Can the preference data be trusted, before any model is asked?"
    meaning = (
        "Shares of rows (of prompts, for cycles) with a fault that no reward model can make good. "
        "Texts are compared after Unicode and white-space normalisation. The metrics are of the "
        "evaluation data; slices named feedback are of the data that the model learnt from. "
        "Phrases and suspect labels are of the feedback where it is given."
    )
    source = "Elazar et al. 2023 (arXiv 2310.20707)"
    order = 20
    signals = EVERY_SIGNAL
    rewarded = False
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "data.duplicate_share": MetricSpec(
            "share", "zero", "rows that repeat an earlier row", "Duplicate rows"
        ),
        "data.contradiction_share": MetricSpec(
            "share",
            "zero",
            "rows whose responses another row labels the other way",
            "Contradicting labels",
        ),
        "data.near_leakage_share": MetricSpec(
            "share",
            "zero",
            "rows that are in the feedback with a word or two changed",
            "Near-duplicate leakage",
        ),
        "data.leakage_share": MetricSpec(
            "share",
            "zero",
            "evaluation rows whose prompt and response are in the feedback data",
            "Leakage",
        ),
        "data.identical_pair_share": MetricSpec(
            "share", "zero", "rows that compare a response with itself", "Identical pairs"
        ),
        "data.cycle_share": MetricSpec(
            "share",
            "zero",
            "prompts whose preferences run in a circle (a > b > c > a)",
            "Preference cycles",
        ),
        **WORD_METRICS,
    }

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Counts on the texts alone; the scores are not looked at."""
        book = _Book(case)
        contents = {name: Content.of(data) for name, data in case.inputs.items() if name in CHECKED}
        for name, content in contents.items():
            _check_rows(book, name, content)
            _check_cycles(book, name, content)
            _check_skew(book, name, content)
        not_run: tuple[NotRun, ...] = ()
        if "feedback" in contents:
            _check_leakage(book, contents["eval"], contents["feedback"])
        else:
            not_run = (NotRun("leakage of evaluation rows into the feedback", "--feedback"),)
        for name, data in case.inputs.items():
            book.find(views.set_aside_finding(data, name, case.example_limit))
        words = words_part(case)
        return AuditResult(
            self.name,
            metrics=(*book.metrics, *words.metrics),
            findings=(*book.findings, *words.findings),
            tables={**_tables(book, case.inputs), **words.tables},
            figures=tuple(_figures(book, case.inputs)),
            not_run=not_run,
            tests=2,
        )


@dataclass
class _Book:
    """What has been found so far."""

    case: Case
    metrics: list[Metric] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    shares: list[tuple[str, str, Estimate]] = field(default_factory=list)  # input, what, share
    skews: list[tuple[str, str, Estimate]] = field(default_factory=list)
    length_ratios: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def mean(
        self, values: NDArray[np.bool_], data: Dataset, rows: NDArray[np.int64] | None = None
    ) -> Estimate:
        """A share with its interval; `values` are of these rows of the data, by default of all."""
        clusters = data.clusters if rows is None else data.clusters[rows]
        found = cluster_mean(values, clusters, confidence=self.case.confidence, bounds=(0, 1))
        # An influence is over the evaluation's prompts; those of other data have no such place.
        return found if data is self.case.eval else replace(found, influence=None)

    def undefined(self, reason: str, n: int) -> Estimate:
        """A share that does not exist."""
        return Estimate.undefined(reason, n=n, confidence=self.case.confidence)

    def share(self, name: str, source: str, estimate: Estimate) -> None:
        """Enter the share of a fault, as a metric where it is one."""
        if f"data.{name}" in Data.metrics:
            slice_ = {} if source == "eval" else {"input": source}
            self.metrics.append(Metric(f"data.{name}", estimate, slice_))
        self.shares.append((source, views.FAULTS[name].label, estimate))

    def find(self, finding: Finding | None) -> None:
        """Enter a finding, if there is one."""
        if finding is not None:
            self.findings.append(finding)


def _check_rows(book: _Book, source: str, content: Content) -> None:
    """Faults of single rows, and of rows that do not go together."""
    for name, partners, note in _row_faults(content):
        _enter(book, name, source, content.data, partners, note)


def _row_faults(content: Content) -> Iterator[tuple[str, NDArray[np.int64] | str, str]]:
    """Name; the partner of each row that has the fault, or why it cannot be told; a note."""
    type_, every = content.data.type, np.arange(len(content.data))
    if not content.has_texts:
        for name in ("duplicate_share", "contradiction_share", "identical_pair_share", "empty"):
            yield name, NO_TEXTS, ""
        return
    yield "duplicate_share", duplicates(content), "repeats id {}"
    known = contradictions(content) if type_ in LABELLED else f"{type_} data have no labels"
    yield "contradiction_share", known, "says the opposite of id {}"
    same: NDArray[np.int64] | str = f"{type_} data compare no responses"
    if type_ in COMPARED:
        same = np.where(content.identical, every, NONE)
    yield "identical_pair_share", same, "compares a response with itself"
    empty = np.bincount(content.text_rows[content.empty], minlength=len(every)) > 0
    yield "empty", np.where(empty, every, NONE), "holds an empty response"


def _check_leakage(book: _Book, content: Content, feedback: Content) -> None:
    """Evaluation rows that the model has learnt from."""
    by_text, by_prompt = leaked(content, feedback)
    known = "in the feedback data as id {}"
    _enter(book, "leakage_share", "eval", content.data, by_text, known, other=feedback.data)
    if content.has_texts and feedback.has_texts:
        _check_near(book, content, feedback, by_text)
    book.shares.append(("eval", "prompt in feedback", book.mean(by_prompt != NONE, content.data)))


def _check_near(book: _Book, content: Content, feedback: Content, exact: NDArray[np.int64]) -> None:
    """Rows that are in the feedback but for a word or two; more than its own rows are alike."""
    near = near_leak(content.data, feedback.data, exact != NONE, book.case.seed)
    share = book.mean(near.partner != NONE, content.data, near.rows)
    if len(near.rows) < len(content.data):
        share = replace(share, influence=None)
    book.share("near_leakage_share", "eval", share)
    if not (near.excess.defined and near.excess.low > 0.01):
        return
    partners = np.full(len(content.data), NONE, dtype=np.int64)
    partners[near.rows] = near.partner
    note = "in the feedback data, hardly changed, as id {}"
    limit = book.case.example_limit
    shown = views.examples_of(content.data, partners, limit, note, feedback.data)
    count = int(np.count_nonzero(near.partner != NONE))
    finding = views.fault_finding("near_leakage_share", "eval", count, share, shown)
    book.find(replace(finding, p=p_at_most(near.excess, 0.01)))


def _enter(
    book: _Book,
    name: str,
    source: str,
    data: Dataset,
    partners: NDArray[np.int64] | str,
    note: str,
    other: Dataset | None = None,
) -> None:
    """Enter one fault: its share, and a finding with real rows where there are any."""
    if isinstance(partners, str):
        book.share(name, source, book.undefined(partners, len(data)))
        return
    estimate = book.mean(partners != NONE, data)
    book.share(name, source, estimate)
    count = int(np.count_nonzero(partners != NONE))
    if count:
        shown = views.examples_of(data, partners, book.case.example_limit, note, other)
        book.find(views.fault_finding(name, source, count, estimate, shown))


def _check_cycles(book: _Book, source: str, content: Content) -> None:
    """Preferences that no scalar can agree with."""
    data, name = content.data, "cycle_share"
    if data.type not in COMPARED or not content.has_texts:
        reason = NO_TEXTS if data.type in COMPARED else f"{data.type} data compare no responses"
        book.share(name, source, book.undefined(reason, 0))
        return
    rows, circular = cycles(content)
    if not len(rows):
        reason = "no prompt has three responses compared in several rows"
        book.share(name, source, book.undefined(reason, 0))
        return
    estimate = book.mean(circular, data, rows)
    book.share(name, source, estimate)
    if circular.any():
        partners = np.full(len(data), NONE, dtype=np.int64)
        partners[rows[circular]] = rows[circular]
        note = "one of the rows of a prompt whose preferences run in a circle"
        shown = views.examples_of(data, partners, book.case.example_limit, note)
        book.find(views.fault_finding(name, source, int(circular.sum()), estimate, shown))


def _check_skew(book: _Book, source: str, content: Content) -> None:
    """Whether length, or the place in which it was shown, tells the label."""
    data = content.data
    if data.type != "preference":
        return
    decided = ~data.tied
    if content.has_texts:
        chosen, rejected = (
            data.frame[side].str.len().to_numpy(dtype=np.float64) for side in ("chosen", "rejected")
        )
        book.length_ratios[source] = np.log2((chosen[decided] + 1) / (rejected[decided] + 1))
        _enter_skew(
            book, views.LONGER, source, data, chosen > rejected, decided & (chosen != rejected)
        )
    if "chosen_position" in data.frame:
        place = pd.to_numeric(data.frame["chosen_position"], errors="coerce").to_numpy()
        _enter_skew(book, views.FIRST, source, data, place == 1, decided & np.isin(place, (1, 2)))


def _enter_skew(
    book: _Book,
    what: str,
    source: str,
    data: Dataset,
    values: NDArray[np.bool_],
    counted: NDArray[np.bool_],
) -> None:
    rows = np.flatnonzero(counted)
    estimate = book.mean(values[rows], data, rows)
    book.skews.append((source, what, estimate))
    book.find(views.skew_finding(what, source, estimate))


def _tables(book: _Book, inputs: Mapping[str, Dataset]) -> dict[str, pd.DataFrame]:
    tables = {
        "inputs": views.inputs_table(inputs),
        "faults": views.shares_table(book.shares),
    }
    if any(data.source.reasons for data in inputs.values()):
        tables["set_aside"] = views.reasons_table(inputs)
    if book.skews:
        tables["skew"] = views.shares_table(book.skews)
    return tables


def _figures(book: _Book, inputs: Mapping[str, Dataset]) -> Iterator[Figure]:
    yield views.shares_figure(book.shares)
    if any(len(ratios) for ratios in book.length_ratios.values()):
        yield views.length_figure(book.length_ratios)
    if any(data.source.rows_set_aside for data in inputs.values()):
        yield views.reasons_figure(inputs)
