"""One audit's part in a report: what it wants scored, and what it measures; faults stay its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rmaudit.case import Case
from rmaudit.errors import RmauditError
from rmaudit.results import AuditResult
from rmaudit.scoring.requests import Cost, Request, Scores
from rmaudit.scoring.signals import inferred_signal
from rmaudit.scoring.store import Store

if TYPE_CHECKING:
    from rmaudit.audits.base import Audit


def with_signal(case: Case, store: Store) -> tuple[Case, Cost]:
    """The case with what its model's rewards claim, and what it cost to find out.

    See `rmaudit.scoring.signals`.
    """
    signal, cost = inferred_signal(case.model, case.data_requests, case.inputs, store)
    return replace(case, told_signal=signal), cost


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
