"""What an audit would score, and how long that may take: `rmaudit audit --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rmaudit.auditing import with_signal
from rmaudit.audits.base import audits as registered_audits
from rmaudit.case import Case
from rmaudit.config import AuditConfig
from rmaudit.results import AuditResult
from rmaudit.rewards.base import leaves
from rmaudit.running import Inputs, build_case, plans
from rmaudit.scoring import NullStore, ScoreStore, open_store
from rmaudit.scoring.costs import by_audit, speed_of
from rmaudit.scoring.engine import plan_passes
from rmaudit.scoring.requests import AuditCost


@dataclass(frozen=True, slots=True)
class Forecast:
    """The cost of an audit before it is run; nothing was scored to find out.

    Parameters
    ----------
    costs
        By audit, the data's own texts first; audits that need no text of their own are left out.
    not_run
        Audits that would not run, with the reason.
    unit
        Of their `tokens`: "tokens" or "characters".
    models
        How many models score: each counts.
    per_second
        Tokens (or characters) per second that the last audit of this model took on this machine;
        None if none is known.
    kind_assumed
        The kind of reward, where scoring a few texts would have told another; None if it is known.
    """

    costs: Sequence[AuditCost]
    not_run: Sequence[tuple[str, str]]
    unit: str
    models: int
    per_second: float | None
    kind_assumed: str | None

    def seconds(self, tokens: int) -> float | None:
        """How long so many tokens take; None if no speed is known."""
        return None if not self.per_second else tokens / self.per_second


def forecast(settings: AuditConfig) -> Forecast:
    """Plan an audit: read the data, ask every audit for its texts, look them up, score nothing.

    Errors are those of `rmaudit.running.run`. The model is opened, as its tokenizer counts.
    """
    rewarded = any(audit.rewarded for audit in registered_audits(settings.only))
    with open_store(settings.store, cache=not settings.no_cache) as store:
        case = build_case(settings, Inputs.named(settings), store, rewarded=rewarded)
        known = case.model.signal_is_declared or not case.model.scores_new_text
        if known and rewarded:
            case, _ = with_signal(case, store)
        return _planned(case, settings, store, rewarded, None if known else case.signal)


def _planned(
    case: Case,
    settings: AuditConfig,
    store: NullStore | ScoreStore,
    rewarded: bool,
    assumed: str | None,
) -> Forecast:
    wanted = plans(settings, case)
    requests = [*case.data_requests] if rewarded else []
    for plan in wanted:
        requests += plan.requests
    passes = plan_passes(case.model, requests, store, case.inputs, ensemble=case.ensemble)
    if case.gold is not None and case.gold_requests:
        passes += plan_passes(case.gold, case.gold_requests, store, case.inputs)
    members = sum(member.scores_new_text for member in leaves(case.model))
    searches = {plan.audit.name: plan.searches * members for plan in wanted}
    return Forecast(
        by_audit(passes, searches),
        [
            (plan.audit.name, str(plan.wanted.reason))
            for plan in wanted
            if isinstance(plan.wanted, AuditResult)
        ],
        case.model.length_unit,
        len(passes),
        speed_of(case.model, store),
        assumed,
    )
