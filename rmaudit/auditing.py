"""One audit's part in a report: what it wants scored, and what it measures; faults stay its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from rmaudit.audits.common.pairs import LARGEST
from rmaudit.audits.preflight.findings import unusable_findings
from rmaudit.case import BEYOND_QUICK, Case
from rmaudit.data.types import Dataset
from rmaudit.errors import RmauditError
from rmaudit.overoptimization.samples import matrix, recorded
from rmaudit.results import AuditResult, Finding, Metric
from rmaudit.rewards.base import does_not_apply, failed
from rmaudit.scoring.progress import FurtherProgress, Progress
from rmaudit.scoring.requests import Cost, Request, Scores
from rmaudit.scoring.signals import inferred_signal, is_verdict
from rmaudit.scoring.store_types import Store
from rmaudit.stats.multiple import finding_level, holm
from rmaudit.typing import Float

if TYPE_CHECKING:
    from rmaudit.audits.base import Audit

NO_ROWS = "no rows"  # what numbers say that have none


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


@dataclass(frozen=True, slots=True)
class Planned:
    """One audit before the pass: the case as it sees it, and what it wants (or why it cannot)."""

    audit: Audit
    case: Case
    wanted: AuditResult | Sequence[Request]

    @property
    def requests(self) -> Sequence[Request]:
        """The texts it wants scored; none where it cannot run."""
        return () if isinstance(self.wanted, AuditResult) else self.wanted

    @property
    def searches(self) -> int:
        """The most texts that it may ask for afterwards."""
        return 0 if isinstance(self.wanted, AuditResult) else self.audit.further(self.case)

    @property
    def cost(self) -> int:
        """Texts beyond the evaluation data's own, searches included; equal ones count each."""
        own = [r for r in self.requests if r.audit or r.data != "eval"]
        return sum(len(request.outputs) for request in own) + self.searches


def planned(
    audits: Sequence[Audit], case: Case, *, quick: bool = False, debug: bool = False
) -> list[Planned]:
    """What each audit wants scored, in their order.

    With `quick` the cheapest audits share as many texts as the data has of its own: 4 per pair in
    all. Another measures what needs no further text, or is not run, and says so.
    """
    plans = [Planned(audit, case, wanted_of(audit, case, debug)) for audit in audits]
    if not quick:
        return plans
    room = sum(len(request.outputs) for request in case.data_requests)
    frugal = replace(case, frugal=True)
    kept: dict[str, Planned] = {}
    for plan in sorted(plans, key=lambda plan: plan.cost):
        if plan.cost > room:
            plan = Planned(plan.audit, frugal, wanted_of(plan.audit, frugal, debug))
        if plan.cost > room:
            reason = f"needs {BEYOND_QUICK}"
            plan = replace(plan, wanted=AuditResult(plan.audit.name, "not_run", reason))
        room -= plan.cost
        kept[plan.audit.name] = plan
    return [kept[audit.name] for audit in audits]


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


def measure(
    plans: Sequence[Planned], scores: Scores, progress: Progress | None, debug: bool
) -> list[AuditResult]:
    """The result of each audit; `progress` is told which one is measured, if it wants to know."""
    told = progress if isinstance(progress, FurtherProgress) else None
    results = []
    try:
        for place, plan in enumerate(plans, 1):
            if isinstance(plan.wanted, AuditResult):
                results.append(plan.wanted)
                continue
            if told is not None:
                told.stage(f"measuring {plan.audit.name} ({place} of {len(plans)})")
            results.append(measured(plan.audit, plan.case, scores, debug))
    finally:
        if told is not None:
            told.stage(None)
    return results


def with_true_reasons(
    results: Sequence[AuditResult], rewards: Float, data: Dataset
) -> list[AuditResult]:
    """The results, where undefined numbers say that no reward or no pair can be used, if so.

    Parameters
    ----------
    results
        Of all audits.
    rewards
        Of the evaluation data, (n,).
    data
        That data.
    """
    if not rewards.size:
        return list(results)
    if (np.abs(rewards) < LARGEST).any():  # false for NaN too
        if not data.tied.all():
            return list(results)
        return _renamed(results, f"all {len(data):,} pairs are labelled ties", NO_ROWS)
    left, broken = does_not_apply(rewards), failed(rewards)
    reason = f"all {rewards.size:,} rewards are not finite"
    if np.isfinite(rewards).any():
        reason += f" or beyond {LARGEST:g}"
    elif left.all():
        reason = f"the reward applies to none of the {rewards.size:,} responses"
    elif broken.all():
        reason = f"the reward failed on all {rewards.size:,} responses"

    return _renamed(results, reason)


def _renamed(
    results: Sequence[AuditResult], reason: str, instead: str | None = None
) -> list[AuditResult]:
    """Results whose numbers without rows have a reason, of any other or `instead` of one."""

    def told(metric: Metric) -> Metric:
        # A number that has rows it can use lacks something else: prompts, a model that reads text.
        if metric.estimate.defined or metric.estimate.n > 0:
            return metric
        if instead is not None and metric.estimate.undefined_reason != instead:
            return metric
        return replace(metric, estimate=replace(metric.estimate, undefined_reason=reason))

    return [
        replace(
            result,
            metrics=tuple(told(metric) for metric in result.metrics),
            tables={name: _renamed_in(table, reason) for name, table in result.tables.items()},
        )
        for result in results
    ]


def _renamed_in(table: pd.DataFrame, reason: str) -> pd.DataFrame:
    """A table whose rows say that same reason where they said that there are no rows."""
    columns = [name for name in ("note", "reason") if name in table]
    return table.assign(**{name: table[name].replace(NO_ROWS, reason) for name in columns})


def with_unusable_rewards(
    results: Sequence[AuditResult], case: Case, scores: Scores
) -> list[AuditResult]:
    """The results, with `preflight`'s findings on rewards that no number is made of.

    Whichever audits were asked for leave such rewards out. Where `preflight` is none of those that
    ran, its findings stand with the first that did.
    """
    found = list(results)
    places = [place for place, result in enumerate(found) if result.status == "ok"]
    if not places or any(found[place].audit == "preflight" for place in places):
        return found
    first = found[places[0]]
    findings = (*unusable_findings(case, scores), *first.findings)
    found[places[0]] = replace(first, findings=findings)
    return found


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
    """The results with their findings held to the whole report; the doubtful ones are left out.

    A report asks dozens of questions, each of which may be answered falsely. Two rules hold what
    is told of a sound reward:

    - a finding, of whatever severity, needs a p-value of at most `finding_level` (2.5 % at a
      confidence of 95 %; `Finding.p`, two-sided where its claim has two directions). Numbers and
      intervals stay in the report;
    - those of high and medium severity are adjusted by Holm's method over all tests that could
      have raised one (`AuditResult.tests`), raised or not: any false one has a chance of at most
      ``1 - confidence``. One that does not survive is told as low, and says so.

    Findings without a p-value are facts about the data.
    """
    allowed = finding_level(confidence)
    results = [
        replace(r, findings=tuple(f for f in r.findings if f.p is None or f.p <= allowed))
        for r in results
    ]
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
