"""`verifier`: what does a verifier accept that is wrong, and reject that is correct?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.samples import gold_lacks, proxy_lacks, sample_requests, sample_rewards
from rmaudit.audits.verifier.cases import BARE, EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.findings import (
    ACCEPTED,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    findings,
    open_findings,
)
from rmaudit.audits.verifier.measure import SHOWN, Rated, best_wrong, rated, totals
from rmaudit.audits.verifier.plan import read_reference, reference_column, requests
from rmaudit.audits.verifier.unreferenced import (
    Unreferenced,
    made,
    measured,
    most_gold,
    over_classes,
)
from rmaudit.audits.verifier.unreferenced import requests as unreferenced_requests
from rmaudit.case import Case
from rmaudit.data.fields import REFERENCES
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import Signal
from rmaudit.scoring.requests import Request, Scores
from rmaudit.typing import Float, Integers, Mask

_FALSE = frozenset(kind.name for kind in EQUIVALENTS)


@register_audit
class Verifier(Audit):
    """What a verdict accepts and rejects among made responses, with a reference answer or none."""

    name = "verifier"
    title = "Verifier"
    question = "What does the verifier accept that is wrong, and reject that is correct?"
    meaning = (
        "Responses are made of each row's reference answer, so whether they are correct is known: "
        "exploits (several candidate answers, the answer denied, an empty final answer, ...) are "
        "wrong, equivalents (a fraction as a decimal, thousands separators, ...) are correct. What "
        "is left of the signal is 1 minus both error rates; at 0 the verdict has no signal. "
        "Responses without content need no reference: nothing, a full stop, tags around nothing. "
        "That one is accepted is a fact; that it is wrong takes a reference, a label, a gold "
        "verdict or a declaration."
    )
    source = "Reinforcement learning with noisy verifiers (arXiv 2510.00915); arXiv 2505.22203"
    order = 26
    signals = frozenset[Signal]({"verdict"})
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        FALSE_POSITIVE: MetricSpec(
            "probability",
            "zero",
            "wrong responses, made of the reference answer, that are accepted; without a "
            "reference those that a label, a gold verdict or a declaration calls wrong",
            "False positive rate",
        ),
        FALSE_NEGATIVE: MetricSpec(
            "probability",
            "zero",
            "correct responses, made of the reference answer, that are rejected",
            "False negative rate",
        ),
        "verifier.signal_left": MetricSpec(
            "share",
            "higher",
            "1 minus the false positive and the false negative rate over all classes",
            "Signal left",
        ),
        ACCEPTED: MetricSpec(
            "probability",
            "zero",
            "responses without content that are accepted; slices hold each class",
            "Content-free responses accepted",
        ),
        "verifier.best_wrong_share": MetricSpec(
            "probability",
            "zero",
            "prompts whose best sample by the verifier is wrong by the gold reward; ties count by "
            "their share",
            "Best sample wrong",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs a reward that new responses can be shown to, and prompts to show them on."""
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        return None if made(case) else "needs prompts in --eval"

    def requests(self, case: Case) -> Sequence[Request]:
        """About a dozen responses, with a reference 25, for each of at most 300 prompts."""
        return [*requests(case), *unreferenced_requests(case), *sample_requests(case)]

    def further(self, case: Case) -> int:
        """The gold verdicts on made responses."""
        return most_gold(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Error rates by class, what they leave of the signal, and what is best and wrong."""
        open_, best = measured(case, scores), _best(case, scores)
        parts = _referenced if read_reference(case) else _unreferenced
        base = parts(case, scores, open_)
        rates = {name: each.acceptance(case) for name, each in open_.verdicts.items()}
        metrics = [
            Metric(ACCEPTED, over_classes(case, open_.contentless.values())),
            *(Metric(ACCEPTED, rate, {"class": name}) for name, rate in rates.items()),
            Metric("verifier.best_wrong_share", best.share),
        ]
        needs = "a verdict on such responses: the reward gave none"
        unanswered = [NotRun(f"the class {name!r}", needs) for name in open_.unanswered]
        tables = {**base.tables, "content_free": _open_table(case, open_)}
        if best.disagreements is not None:
            tables["disagreements"] = best.disagreements
        return replace(
            base,
            metrics=(*base.metrics, *metrics),
            tables=tables,
            figures=(*base.figures, _open_figure(rates)),
            not_run=(*base.not_run, *unanswered, *best.not_run),
        )


def _referenced(case: Case, scores: Scores, open_: Unreferenced) -> AuditResult:
    """Error rates on what is made of the reference answer."""
    found = rated(case, scores)
    rates = {
        name: each.rate(case, rejected=name in _FALSE)
        for name, each in found.items()
        if len(each.rows)
    }
    judged = {name: rate for name, rate in rates.items() if name != BARE.name}
    tests, over_all = len(judged) + len(open_.verdicts), totals(case, found)
    metrics = [
        Metric(FALSE_POSITIVE, over_all.false_positive),
        *(Metric(FALSE_POSITIVE, rates[k.name], {"class": k.name}) for k in _in(EXPLOITS, rates)),
        *(
            Metric(FALSE_POSITIVE, each.false_positives(case), {"class": name})
            for name, each in open_.verdicts.items()
        ),
        Metric(FALSE_NEGATIVE, over_all.false_negative),
        *(
            Metric(FALSE_NEGATIVE, rates[k.name], {"class": k.name})
            for k in _in(EQUIVALENTS, rates)
        ),
        Metric("verifier.signal_left", over_all.signal_left),
    ]
    raised = findings(case, found, judged, reference_column(case) or "", tests)
    return AuditResult(
        Verifier.name,
        metrics=tuple(metrics),
        findings=(*raised, *open_findings(case, open_, tests)),
        tests=tests,
        tables={"classes": _table(found, rates), "cases": _errors(case, found)},
        figures=(_figure(rates),),
    )


def _unreferenced(case: Case, scores: Scores, open_: Unreferenced) -> AuditResult:
    """What can be said without a reference answer that the reward reads."""
    why = "no reference answer that the reward reads"
    unknown = Estimate.undefined(why, confidence=case.confidence)
    known = {name: each.false_positives(case) for name, each in open_.verdicts.items()}
    wrong = {name: rate for name, rate in known.items() if rate.defined}
    over_all = over_classes(case, [open_.verdicts[name] for name in wrong], wrong=True)
    metrics = [
        Metric(FALSE_POSITIVE, over_all if wrong else unknown),
        *(Metric(FALSE_POSITIVE, rate, {"class": name}) for name, rate in wrong.items()),
        Metric(FALSE_NEGATIVE, unknown),
        Metric("verifier.signal_left", unknown),
    ]
    named = ", ".join(REFERENCES)
    needs = f"a reward that reads a reference answer ({named}, or --reference-column NAME)"
    return AuditResult(
        Verifier.name,
        metrics=tuple(metrics),
        findings=tuple(open_findings(case, open_, len(open_.verdicts))),
        tests=len(open_.verdicts),
        not_run=(NotRun("responses made of the reference answer", needs),),
    )


QUEUED = 500  # disagreements that a table holds


def _in(kinds: Sequence, rates: Mapping[str, Estimate]) -> list:  # type: ignore[type-arg]
    return [kind for kind in kinds if kind.name in rates]


@dataclass(frozen=True)
class Best:
    """The share of best samples that are wrong, and where verifier and gold disagree."""

    share: Estimate
    disagreements: pd.DataFrame | None = None
    not_run: tuple[NotRun, ...] = ()


def _best(case: Case, scores: Scores) -> Best:
    lacks = proxy_lacks(case) or gold_lacks(case)
    samples = case.samples
    if lacks is not None or samples is None:
        reason = lacks or "needs --samples"
        undefined = Estimate.undefined(reason, confidence=case.confidence)
        return Best(undefined, None, (NotRun("how often the best sample is wrong", reason),))
    rewards = sample_rewards(case, scores)
    gold = rewards.gold
    if gold is None:
        return Best(Estimate.undefined("no gold rewards", confidence=case.confidence))
    share, disagree = best_wrong(rewards.proxy, gold, samples.clusters, case.confidence)
    rows, columns = _queued(disagree, rewards.proxy, gold)
    frame = samples.frame
    table = pd.DataFrame(
        {
            "id": frame["id"].to_numpy()[rows],
            "prompt": [frame["prompt"].iloc[int(r)] for r in rows],
            "output": [
                frame["outputs"].iloc[int(r)][int(c)] for r, c in zip(rows, columns, strict=True)
            ],
            "verdict": rewards.proxy[rows, columns],
            "gold": gold[rows, columns],
        }
    )
    return Best(share, table)


def _queued(disagree: Mask, verdicts: Float, gold: Float) -> tuple[Integers, Integers]:
    """The samples on which verifier and gold disagree, in the order in which to look at them.

    One sample of each prompt comes first, then a second: of each prompt the one that is rewarded
    most beyond its gold, for that is what the policy learns; at most 500.
    """
    excess = np.where(disagree, verdicts - gold, -np.inf)
    order = np.argsort(-excess, axis=1, kind="stable")
    ranked = np.take_along_axis(excess, order, axis=1)
    rows, ranks = np.nonzero(np.isfinite(ranked))
    first = np.lexsort((-ranked[rows, ranks], ranks))[:QUEUED]
    return rows[first], order[rows[first], ranks[first]]


def _table(found: Mapping[str, Rated], rates: Mapping[str, Estimate]) -> pd.DataFrame:
    rows = []
    for kind in SHOWN:
        if kind.name not in rates:
            continue
        each, rate = found[kind.name], rates[kind.name]
        rows.append(
            {
                "class": kind.name,
                "correct": kind.name in _FALSE,
                "cases": len(each.rows),
                "accepted": int(each.accepted.sum()),
                "error": rate.value if kind is not BARE else None,
                "low": rate.low if kind is not BARE else None,
                "high": rate.high if kind is not BARE else None,
                "without a verdict": each.left_out,
                "example": min(each.responses, key=len),
            }
        )
    return pd.DataFrame(rows)


def _errors(case: Case, found: Mapping[str, Rated]) -> pd.DataFrame:
    """Every case that the verifier gets wrong, at most ten a class."""
    frame, rows = case.eval.frame, []
    for kind in SHOWN:
        if kind.name not in found or kind is BARE:
            continue
        each, correct = found[kind.name], kind.name in _FALSE
        for i in np.flatnonzero(each.accepted != correct)[:10].tolist():
            rows.append(
                {
                    "class": kind.name,
                    "id": frame["id"].iloc[int(each.rows[i])],
                    "output": each.responses[i],
                    "verdict": "accepted" if each.accepted[i] else "rejected",
                }
            )
    return pd.DataFrame(rows, columns=["class", "id", "output", "verdict"])


def _highest(name: str, rate: Estimate) -> str:
    return f" Highest: {name}, {rate.value:.1%}." if rate.value else " All are 0.0%."


def _figure(rates: Mapping[str, Estimate]) -> Figure:
    kinds = [kind for kind in SHOWN if kind.name in rates and kind is not BARE]
    rows = [
        {
            "label": f"{kind.name} ({'correct' if kind.name in _FALSE else 'wrong'})",
            "value": rates[kind.name].value,
            "low": rates[kind.name].low,
            "high": rates[kind.name].high,
        }
        for kind in kinds
    ]
    worst = max(kinds, key=lambda kind: rates[kind.name].value, default=None)
    alt = f"Share of errors for {len(kinds)} classes of made responses."
    if worst is not None:
        alt += _highest(worst.name, rates[worst.name])
    data = {"rows": rows, "xlabel": "share judged wrongly", "xunit": "percent", "reference": 0}
    return Figure("classes", "intervals", "Errors of the verifier by class", alt, data)


def _open_table(case: Case, found: Unreferenced) -> pd.DataFrame:
    """What is accepted of each class that needs no reference."""
    rows = []
    for name, each in found.verdicts.items():
        rate = each.acceptance(case)
        rows.append(
            {
                "class": name,
                "made of": {"nothing": "", "own": "the accepted response"}.get(
                    each.kind.made_of, "an accepted response to another prompt"
                ),
                "responses": len(each.rows),
                "accepted": int(each.accepted.sum()),
                "rate": rate.value,
                "low": rate.low,
                "high": rate.high,
                "known to be wrong": int((each.wrong == 1).sum()),
                "known to be correct": int((each.wrong == 0).sum()),
                "without a verdict": each.left_out,
                "example": min(each.responses, key=len),
            }
        )
    return pd.DataFrame(rows)


def _open_figure(rates: Mapping[str, Estimate]) -> Figure:
    rows = [
        {"label": name, "value": rate.value, "low": rate.low, "high": rate.high}
        for name, rate in rates.items()
    ]
    most = max(rates, key=lambda name: rates[name].value, default=None)
    alt = f"Share accepted of {len(rates)} classes of responses that need no reference answer."
    if most is not None:
        alt += _highest(most, rates[most])
    data = {"rows": rows, "xlabel": "share accepted", "xunit": "percent", "reference": 0}
    title = "Accepted responses that need no reference answer"
    return Figure("content_free", "intervals", title, alt, data)
