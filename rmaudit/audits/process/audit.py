"""`process`: does a reward of steps find the first wrong one, and what does it pay for?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.process.findings import PAY, SUCCESS, TESTS, WRONG, findings
from rmaudit.audits.process.measure import (
    Attacked,
    Localised,
    attacked,
    localised,
    pay_per_step,
    prefix_rewards,
    requests,
)
from rmaudit.audits.process.solutions import STEP, half, solutions
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Finding, Metric, MetricSpec, NotRun
from rmaudit.rewards.steps import AGGREGATES, READINGS
from rmaudit.scoring.requests import Request, Scores

F1, RIGHT, EFFECT = (
    "process.first_error_f1",
    "process.correct_accuracy",
    "process.attack_effect",
)
FEWEST = 10  # prompts with a wrong step, and without, in each half


@register_audit
class ProcessAudit(Audit):
    """First-error localisation, pay for steps, attacks on the aggregate."""

    name = "process"
    title = "Process reward"
    question = "Does the reward find the first wrong step, and what does it pay for?"
    meaning = (
        "A solution is read step by step; the first step after which the reward is at or below a "
        "threshold is named as the first wrong one. The threshold is chosen on one half of the "
        "prompts and reported on the other. Then whole solutions are edited without adding "
        "anything to them: steps split, repeated, padded, or merged. SD is that of the rewards of "
        "whole solutions."
    )
    source = "Zheng et al. 2024, ProcessBench (arXiv 2412.06559); Lightman et al. 2023"
    order = 28
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        F1: MetricSpec(
            "probability",
            "higher",
            "harmonic mean of first errors found and correct solutions passed",
            "First-error F1",
        ),
        WRONG: MetricSpec(
            "probability",
            "higher",
            "solutions with a wrong step whose first one is named exactly",
            "First error found",
        ),
        RIGHT: MetricSpec(
            "probability",
            "higher",
            "solutions without a wrong step in which none is named",
            "Correct solutions passed",
        ),
        PAY: MetricSpec(
            "SD per step",
            "zero",
            "change of a correct solution's reward per step that splitting adds",
            "Reward per added step",
        ),
        EFFECT: MetricSpec(
            "SD", "lower", "change of the reward under an edit that adds nothing", "Attack effect"
        ),
        SUCCESS: MetricSpec(
            "probability",
            "zero",
            "wrong solutions that were at or below the threshold and are above it after an edit",
            "Attack success rate",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs solutions whose steps are labelled, with and without a wrong one."""
        if case.eval.type != "unpaired" or STEP not in case.eval.frame:
            return "needs solutions with a label for each step in --eval"
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        read = solutions(case)
        if not read:
            return "needs solutions whose labelled rows are prefixes of one another"
        searched = half(case, read)
        codes = case.clusters[[each.whole for each in read]]
        wrong = np.array([each.first_wrong >= 0 for each in read])
        for here in (searched, ~searched):
            fewest = min(np.unique(codes[here & which]).size for which in (wrong, ~wrong))
            if fewest < FEWEST:
                return (
                    f"needs {2 * FEWEST} prompts or more with a wrong step, and as many without, "
                    f"in --eval (one half has {fewest})"
                )
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """Four edits of at most 200 solutions."""
        return requests(case, solutions(case))

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """The reward as it is, then under every aggregate whose scores are known."""
        read = solutions(case)
        known = scores.column("output").components
        readings: list[str | None] = [None]
        readings += [f"{READINGS}{how}" for how in AGGREGATES if f"{READINGS}{how}" in known]
        metrics: list[Metric] = []
        rows = []
        told: tuple[Finding, ...] = ()
        for reading in readings:
            name = None if reading is None else reading.removeprefix(READINGS)
            local = localised(case, read, prefix_rewards(scores, reading))
            attacks = attacked(case, read, scores, reading, local.threshold)
            pay = pay_per_step(case, read, scores, reading)
            where = {} if name is None else {"aggregate": name}
            metrics += _metrics(local, attacks, pay, where)
            rows.append(_row(name or "as it is", local, attacks, pay))
            if reading is None:
                told = findings(case, read, local, attacks, pay)
        absent = (
            ()
            if len(readings) > 1
            else (NotRun("other aggregates", "a process reward that gives its steps' scores"),)
        )
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=told,
            tests=TESTS,
            tables={"aggregates": pd.DataFrame(rows)},
            not_run=absent,
        )


def _metrics(
    local: Localised, attacks: Mapping[str, Attacked], pay: Estimate, where: dict[str, str]
) -> list[Metric]:
    return [
        Metric(F1, local.f1, where),
        Metric(WRONG, local.wrong, where),
        Metric(RIGHT, local.right, where),
        Metric(PAY, pay, where),
        *(Metric(EFFECT, a.effect, {"attack": name, **where}) for name, a in attacks.items()),
        *(Metric(SUCCESS, a.success, {"attack": name, **where}) for name, a in attacks.items()),
    ]


def _row(
    name: str, local: Localised, attacks: Mapping[str, Attacked], pay: Estimate
) -> dict[str, object]:
    return {
        "aggregate": name,
        "threshold": local.threshold if np.isfinite(local.threshold) else None,
        "first-error F1": local.f1.value,
        "pay per step": pay.value,
        **{f"{each} effect": a.effect.value for each, a in attacks.items()},
        **{f"{each} passes": a.success.value for each, a in attacks.items()},
    }
