"""One audit's part in a report: what it wants scored, and what it measures; faults stay its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.errors import RmauditError
from rmaudit.overoptimization.samples import matrix, recorded
from rmaudit.results import AuditResult, Finding
from rmaudit.scoring.requests import Cost, Request, Scores
from rmaudit.scoring.signals import inferred_signal, is_verdict
from rmaudit.scoring.store import Store
from rmaudit.stats.multiple import holm

if TYPE_CHECKING:
    from rmaudit.audits.base import Audit


def with_signal(case: Case, store: Store) -> tuple[Case, Cost]:
    """The case with what its model's rewards claim, and what it cost to find out.

    See `rmaudit.scoring.signals`. Recorded rewards of the samples have their say: evaluation data
    of zeros and ones beside graded rewards of samples make no verdict.
    """
    signal, cost = inferred_signal(case.model, case.data_requests, case.inputs, store)
    told = case.model.signal_is_declared or case.model.scores_new_text
    if signal == "verdict" and not told and not _verdicts(case.samples):
        signal = case.model.signal
    return replace(case, told_signal=signal), cost


def _verdicts(samples: Dataset | None) -> bool:
    """Whether recorded rewards of samples are those of a verdict; true without any."""
    column = None if samples is None else recorded(samples)
    if samples is None or column is None:
        return True
    rewards = matrix(samples.frame[column].tolist()).ravel()
    return not np.isfinite(rewards).any() or is_verdict(rewards)


def wanted_of(audit: Audit, case: Case, debug: bool) -> AuditResult | Sequence[Request]:
    """The texts that an audit wants scored; its result where it cannot run.

    An error of the user's (an option, a file) is raised; one of the audit's own fails that audit.
    """
    try:
        reason = audit.lacks(case)
        return (
            audit.requests(case) if reason is None else AuditResult(audit.name, "not_run", reason)
        )
    except Exception as error:
        if debug or isinstance(error, RmauditError):
            raise
        return AuditResult(audit.name, "failed", _internal(error))


def _internal(error: Exception) -> str:
    return f"internal error ({type(error).__name__}: {error}); --debug shows where"


def measured(audit: Audit, case: Case, scores: Scores, debug: bool) -> AuditResult:
    """One audit's result; an error of one audit must not cost the user the others."""
    try:
        return audit.measure(case, scores)
    except RmauditError as error:
        if debug:
            raise
        return AuditResult(audit.name, "failed", str(error))
    except Exception as error:
        if debug:
            raise
        return AuditResult(audit.name, "failed", _internal(error))


def as_one_family(results: Sequence[AuditResult], confidence: float) -> list[AuditResult]:
    """The results with their findings of high and medium severity adjusted over the whole report.

    A report asks dozens of questions, each of which may be answered falsely. By Holm's method a
    report on a sound reward holds any false finding of high or medium severity with a chance of at
    most ``1 - confidence``. The family are all tests that could have raised one
    (`AuditResult.tests`), raised or not; findings without a p-value are facts about the data. One
    that does not survive stays in the report, as low, and says so.
    """
    tested = [
        finding.p
        for result in results
        for finding in result.findings
        if finding.p is not None and finding.severity in ("high", "medium")
    ]
    family = max(len(tested), sum(r.tests for r in results if r.status == "ok"))
    # The tests that raised nothing have larger p-values, and do not matter to those that did.
    adjusted = dict(zip(tested, holm([*tested, *[1.0] * (family - len(tested))]), strict=False))

    def judged(finding: Finding) -> Finding:
        if finding.p is None or finding.severity not in ("high", "medium"):
            return finding
        p = adjusted[finding.p]
        if p <= 1 - confidence:
            return replace(finding, p_adjusted=p)
        doubt = (
            f" Low, since with the {family} tests of this report it is not certain (p = {p:.2g})."
        )
        return replace(finding, severity="low", p_adjusted=p, detail=finding.detail + doubt)

    return [replace(r, findings=tuple(judged(f) for f in r.findings)) for r in results]
