"""`judge`: does a judge answer by what it reads, or by order, chance and empty phrases?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.pairs import lacks_pairs
from rmaudit.audits.judge.findings import (
    AGREEMENT,
    CEILING,
    CYCLES,
    FLIPS,
    HEAPS,
    KEY,
    LABELS,
    REWORDED,
    SAVED,
    TESTS,
    TIES,
    UNREADABLE,
    USED,
    findings,
)
from rmaudit.audits.judge.measure import Measured, measured
from rmaudit.audits.judge.plan import most_calls
from rmaudit.case import Case
from rmaudit.results import NO_INTERVAL, AuditResult, Estimate, Metric, MetricSpec
from rmaudit.rewards.base import Signal
from rmaudit.scoring.requests import Scores


@register_audit
class Judge(Audit):
    """Order flips, repeats, rewordings, master keys, cycles, use of the scale, labels."""

    name = "judge"
    title = "Judge"
    question = "Does the judge answer by what it reads, or by order, chance and empty phrases?"
    meaning = (
        "A judge of pairs sees each pair in both orders; a sample of texts is judged twice, and "
        "with the question in other words; empty phrases (master keys) compete with the chosen "
        "response; three responses to one prompt are compared in a circle. Each is asked prompt by "
        "prompt and left off once its interval decides; the intervals allow for that. A sound "
        "judge flips only on close pairs, repeats itself, never prefers an empty phrase, and uses "
        "its scale."
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
        REWORDED: MetricSpec(
            "-1..1",
            "higher",
            "Krippendorff's alpha (interval) of one text judged with the question in other words",
            "Agreement over wordings",
        ),
        USED: MetricSpec(
            "share",
            "higher",
            "exp(entropy) of the scores over the number of scores on the scale",
            "Scale used",
        ),
        HEAPS: MetricSpec(
            "probability",
            "zero",
            "texts that get one of the two most frequent scores",
            "Heaped scores",
        ),
        CEILING: MetricSpec(
            "probability", "zero", "texts that get the highest score", "Scores at the ceiling"
        ),
        TIES: MetricSpec(
            "probability", "zero", "pairs whose two responses get the same score", "Tied scores"
        ),
        SAVED: MetricSpec(
            "share",
            "none",
            "planned calls that were not made because the interval had already decided",
            "Calls saved",
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
        if case.signal == "score" and not case.model.judged_on:
            return (
                "needs a judge: a language model behind a URL (--http-format openai), a function "
                "f(prompts, responses_a, responses_b), or one with the attribute scale = (1, 10)"
            )
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        return lacks_pairs(case)

    def further(self, case: Case) -> int:
        """Repeats, rewordings, master keys and circles of at most 100 prompts."""
        return most_calls(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """All numbers, where the judge flips or is fooled, and what each question cost."""
        found = measured(case, scores)
        frame = case.eval.frame
        fooled = pd.DataFrame(
            {
                "id": [frame["id"].iloc[row] for row, _ in found.keys.rows],
                "key": [key for _, key in found.keys.rows],
            }
        )
        return AuditResult(
            self.name,
            metrics=(
                Metric(FLIPS, found.flips),
                Metric(AGREEMENT, found.repeats.estimate),
                Metric(REWORDED, found.rewordings.estimate),
                Metric(UNREADABLE, found.unreadable),
                Metric(KEY, found.keys.estimate),
                *(Metric(KEY, part, {"key": key}) for key, part in found.keys.parts.items()),
                Metric(CYCLES, found.cycles.estimate),
                Metric(LABELS, found.labels),
                Metric(USED, found.scale.used),
                Metric(HEAPS, found.scale.heaped),
                Metric(CEILING, found.scale.ceiling),
                Metric(TIES, found.scale.ties),
                Metric(SAVED, _saved(case, found)),
            ),
            findings=tuple(findings(case, found)),
            tests=TESTS,
            tables={"keys": fooled, "calls": _calls(found), "scores": found.scale.table()},
        )


def _calls(found: Measured) -> pd.DataFrame:
    """One row a question: what it was asked of, at most, and whether that decided."""
    return pd.DataFrame(
        [
            {
                "question": each.name,
                "decision": each.decision,
                "prompts": each.prompts,
                "prompts planned": each.most,
                "calls": each.calls * each.prompts,
                "calls saved": each.calls * (each.most - each.prompts),
            }
            for each in found.asked
        ]
    )


def _saved(case: Case, found: Measured) -> Estimate:
    planned = sum(each.calls * each.most for each in found.asked)
    made = sum(each.calls * each.prompts for each in found.asked)
    if not planned:
        return Estimate.undefined("nothing was asked", confidence=case.confidence)
    value = 1 - made / planned
    n = len(case.eval.frame)
    return Estimate(value, value, value, case.confidence, NO_INTERVAL, planned, n)
