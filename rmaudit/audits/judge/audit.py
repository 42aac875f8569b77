"""`judge`: does a judge answer by what it reads, or by order, chance and empty phrases?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.judge.findings import (
    AGREEMENT,
    CYCLES,
    FLIPS,
    KEY,
    LABELS,
    TESTS,
    UNREADABLE,
    findings,
)
from rmaudit.audits.judge.measure import measured
from rmaudit.audits.judge.plan import planned, requests
from rmaudit.case import Case
from rmaudit.results import AuditResult, Metric, MetricSpec
from rmaudit.rewards.base import Signal
from rmaudit.scoring.requests import Request, Scores


@register_audit
class Judge(Audit):
    """Order flips, repeats, unreadable replies, master keys, cycles, agreement with labels."""

    name = "judge"
    title = "Judge"
    question = "Does the judge answer by what it reads, or by order, chance and empty phrases?"
    meaning = (
        "A judge of pairs sees each pair in both orders; a sample of texts is judged twice; empty "
        "phrases (master keys) compete with the chosen response; three responses to one prompt "
        "are compared in a circle. A sound judge flips only on close pairs, repeats itself, and "
        "never prefers an empty phrase."
    )
    source = "Zheng et al. 2023 (arXiv 2306.05685); Zhao et al. 2025 (arXiv 2507.08794)"
    order = 27
    signals = frozenset[Signal]({"preference", "score"})
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        FLIPS: MetricSpec(
            "probability",
            "zero",
            "pairs in which both orders favour the first response, or both the second",
            "Order flips",
        ),
        AGREEMENT: MetricSpec(
            "-1..1",
            "higher",
            "Krippendorff's alpha (interval) of two judgements of one text; 0 is chance",
            "Agreement with itself",
        ),
        UNREADABLE: MetricSpec(
            "probability", "zero", "replies that hold no readable answer", "Unreadable replies"
        ),
        KEY: MetricSpec(
            "probability",
            "zero",
            "comparisons in which a phrase without content is rated above the chosen response",
            "Master keys accepted",
        ),
        CYCLES: MetricSpec(
            "probability",
            "zero",
            "triples of responses that are preferred in a circle, over both orders",
            "Cyclic preferences",
        ),
        LABELS: MetricSpec(
            "-1..1",
            "higher",
            "2 x accuracy - 1 on labelled pairs, both orders averaged; 0 is chance",
            "Chance-corrected agreement",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs a judge that can be asked, and labelled pairs."""
        served = case.model.describe().get("http_format") == "openai"
        if case.signal == "score" and not served:
            return (
                "needs a judge: a language model behind a URL (--http-format openai), or a "
                "function f(prompts, responses_a, responses_b)"
            )
        if not case.model.scores_new_text:
            return "needs a judge that can be asked (--model recorded cannot)"
        if case.eval.type != "preference":
            return "needs pairs (chosen and rejected) in --eval"
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """Repeats of 50 pairs, 4 master keys on 50, three responses of at most 50 prompts."""
        return requests(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """The six numbers, and where the judge flips or is fooled."""
        found = measured(case, scores, planned(case))
        keys = [Metric(KEY, rate, {"key": k} if k else {}) for k, rate in found.keys.items()]
        frame = case.eval.frame
        fooled = pd.DataFrame(
            {
                "id": [frame["id"].iloc[row] for row, _ in found.keyed],
                "key": [key for _, key in found.keyed],
            }
        )
        return AuditResult(
            self.name,
            metrics=(
                Metric(FLIPS, found.flips),
                Metric(AGREEMENT, found.agreement),
                Metric(UNREADABLE, found.unreadable),
                *keys,
                Metric(CYCLES, found.cycles),
                Metric(LABELS, found.labels),
            ),
            findings=tuple(findings(case, found)),
            tests=TESTS,
            tables={"keys": fooled},
        )
