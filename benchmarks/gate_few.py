"""False fails of the gate with few prompts: every truth on its threshold, one rule on all slices.

    python benchmarks/gate_few.py [REPORTS]

Each report has one number on 1, 10 or 40 slices of so many prompts each, and the gate one rule with
``slice = "*"``. Any fail is a false one. Shares are of one pair a prompt, or of one to four with
prompts of their own chances ("clustered"). Prints a Markdown table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits.base import Audit
from rmaudit.case import Case
from rmaudit.gating import Policy, gate
from rmaudit.report.document import Report
from rmaudit.results import AuditResult, Estimate, Metric, MetricSpec
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Cost, Scores
from rmaudit.stats.intervals import cluster_mean

PROMPTS, RULES = (5, 8, 20, 50, 200), (1, 10, 40)
KINDS = {"share 0.7": 0.7, "share 0.95": 0.95, "share 0.7, clustered": 0.7, "normal mean": 0.0}
ID = "simulated_few.number"


class Simulated(Audit):
    """One number, higher is better."""

    name = "simulated_few"
    title = question = meaning = source = "simulated"
    metrics: ClassVar[Mapping[str, MetricSpec]] = {ID: MetricSpec("SD", "higher", "a number", "N")}

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Nothing is measured here."""
        raise NotImplementedError


def drawn(kind: str, prompts: int, rng: np.random.Generator) -> Estimate:
    """An estimate whose truth is on the threshold."""
    codes: NDArray[np.int64] = np.arange(prompts)
    if kind == "normal mean":
        return cluster_mean(rng.normal(size=prompts), codes)
    chance = np.full(prompts, KINDS[kind])
    if kind.endswith("clustered"):
        chance = rng.beta(1.4, 0.6, prompts)
        codes = np.repeat(codes, rng.integers(1, 5, prompts))
    return cluster_mean(rng.random(codes.size) < chance[codes], codes, bounds=(0, 1))


def false_fails(kind: str, prompts: int, rules: int, reports: int) -> float:
    """Share of reports that fail."""
    rule = {"metric": ID, "slice": "*", "min": KINDS[kind]}
    policy = Policy.parse({"schema_version": 1, "rule": [rule]}, "benchmark")
    fails = 0
    for i in range(reports):
        rng = np.random.default_rng([prompts, rules, i])
        metrics = [Metric(ID, drawn(kind, prompts, rng), {"k": str(k)}) for k in range(rules)]
        report = Report.build(
            [AuditResult("simulated_few", metrics=tuple(metrics))],
            audits=[Simulated()],
            model=Recorded(),
            inputs={},
            cost=Cost(),
            seed=0,
            config={},
            provenance={},
        )
        fails += gate(report, policy).verdict == "fail"
    return fails / reports


def main(reports: int) -> None:
    """Print the table."""
    import rmaudit.audits.base as base

    base.AUDITS.add(Simulated.name, Simulated, Simulated.__module__)
    limit = 0.05 + 2.326 * np.sqrt(0.05 * 0.95 / reports)
    print(f"{reports:,} reports a cell; a true rate of 5 % shows {limit:.1%} at most (99 %).\n")
    print(
        "| number | prompts | 1 rule | 10 rules | 40 rules |\n| --- | ---: | ---: | ---: | ---: |"
    )
    for kind in KINDS:
        for prompts in PROMPTS:
            rates = [f"{false_fails(kind, prompts, rules, reports):.1%}" for rules in RULES]
            print(f"| {kind} | {prompts} | {' | '.join(rates)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000)
