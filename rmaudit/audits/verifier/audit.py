"""`verifier`: what does a verifier accept that is wrong, and reject that is correct?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.samples import gold_lacks, proxy_lacks, sample_requests, sample_rewards
from rmaudit.audits.verifier.cases import BARE, EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.findings import FALSE_NEGATIVE, FALSE_POSITIVE, findings
from rmaudit.audits.verifier.measure import SHOWN, Rated, best_wrong, rated, totals
from rmaudit.audits.verifier.plan import planned, reference_column, requests
from rmaudit.case import Case
from rmaudit.data.fields import REFERENCES, field_names
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import Signal, leaves
from rmaudit.scoring.requests import Request, Scores
from rmaudit.typing import Float, Integers, Mask

_FALSE = frozenset(kind.name for kind in EQUIVALENTS)


@register_audit
class Verifier(Audit):
    """False positives and false negatives on responses made of the reference answer."""

    name = "verifier"
    title = "Verifier"
    question = "What does the verifier accept that is wrong, and reject that is correct?"
    meaning = (
        "Responses are made of each row's reference answer, so whether they are correct is known: "
        "exploits (several candidate answers, the answer denied, an empty final answer, ...) are "
        "wrong, equivalents (a fraction as a decimal, thousands separators, ...) are correct. What "
        "is left of the signal is 1 minus both error rates; at 0 the verdict has no signal."
    )
    source = "Reinforcement learning with noisy verifiers (arXiv 2510.00915); arXiv 2505.22203"
    order = 26
    signals = frozenset[Signal]({"verdict"})
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        FALSE_POSITIVE: MetricSpec(
            "probability",
            "zero",
            "wrong responses, made of the reference answer, that are accepted",
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
        "verifier.best_wrong_share": MetricSpec(
            "probability",
            "zero",
            "prompts whose best sample by the verifier is wrong by the gold reward; ties share",
            "Best sample wrong",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs reference answers, and a reward that reads them."""
        column = reference_column(case)
        if column is None:
            named = ", ".join(REFERENCES)
            return f"needs a reference answer in --eval ({named}, or --reference-column NAME)"
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        names = field_names(case.eval)
        if not any(column in leaf.columns(names) for leaf in leaves(case.model)):
            return f"needs a reward that reads the reference answer (column {column!r})"
        return None if planned(case) else f"no reference answer of column {column!r} can be read"

    def requests(self, case: Case) -> Sequence[Request]:
        """About 15 responses for each of at most 300 prompts; the samples, if there are any."""
        return [*requests(case), *sample_requests(case)]

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Error rates by class, what they leave of the signal, and what is best and wrong."""
        column = reference_column(case) or ""
        found = rated(case, scores)
        rates = {
            name: each.rate(case, rejected=name in _FALSE)
            for name, each in found.items()
            if len(each.rows)
        }
        judged = {name: rate for name, rate in rates.items() if name != BARE.name}
        over_all = totals(case, found)
        best, disagreements, absent = _best(case, scores)
        metrics = [
            Metric(FALSE_POSITIVE, over_all.false_positive),
            *(
                Metric(FALSE_POSITIVE, rates[k.name], {"class": k.name})
                for k in _in(EXPLOITS, rates)
            ),
            Metric(FALSE_NEGATIVE, over_all.false_negative),
            *(
                Metric(FALSE_NEGATIVE, rates[k.name], {"class": k.name})
                for k in _in(EQUIVALENTS, rates)
            ),
            Metric("verifier.signal_left", over_all.signal_left),
            Metric("verifier.best_wrong_share", best),
        ]
        tables = {"classes": _table(found, rates), "cases": _errors(case, found)}
        if disagreements is not None:
            tables["disagreements"] = disagreements
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(findings(case, found, judged, column)),
            tests=len(judged),
            tables=tables,
            figures=(_figure(rates),),
            not_run=absent,
        )


QUEUED = 500  # disagreements that a table holds


def _in(kinds: Sequence, rates: Mapping[str, Estimate]) -> list:  # type: ignore[type-arg]
    return [kind for kind in kinds if kind.name in rates]


def _best(case: Case, scores: Scores) -> tuple[Estimate, pd.DataFrame | None, tuple[NotRun, ...]]:
    """The share of best samples that are wrong, and where verifier and gold disagree."""
    lacks = proxy_lacks(case) or gold_lacks(case)
    samples = case.samples
    if lacks is not None or samples is None:
        reason = lacks or "needs --samples"
        undefined = Estimate.undefined(reason, confidence=case.confidence)
        return undefined, None, (NotRun("how often the best sample is wrong", reason),)
    rewards = sample_rewards(case, scores)
    gold = rewards.gold
    if gold is None:
        undefined = Estimate.undefined("no gold rewards", confidence=case.confidence)
        return undefined, None, ()
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
    return share, table, ()


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
        alt += f" Highest: {worst.name}, {rates[worst.name].value:.1%}."
    data = {"rows": rows, "xlabel": "share judged wrongly", "reference": 0}
    return Figure("classes", "intervals", "Errors of the verifier by class", alt, data)
