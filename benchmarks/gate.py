"""Error rates of the gate and of comparisons: reports simulated at and beyond their thresholds.

    python benchmarks/gate.py [REPORTS]

Each report has ten numbers of the same prompts: five shares and five means, with a rule on each.
Intervals are those that audits give (cluster-robust), verdicts those of the shipped `gate` and
`compare`. At the boundary every true value equals its threshold (or the baseline's, plus the
margin): any fail is a false one. Power is for one number that is off by so many standard errors.
Prints Markdown tables.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rmaudit.audits.base import Audit
from rmaudit.case import Case
from rmaudit.comparison import compare
from rmaudit.gating import Policy, gate
from rmaudit.report.document import Report
from rmaudit.results import AuditResult, Metric, MetricSpec
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Cost, Scores
from rmaudit.stats.intervals import cluster_mean

Float = NDArray[np.float64]

PROMPTS = 300
SHARES = np.array([0.7, 0.8, 0.6, 0.9, 0.95])  # thresholds of the first five numbers
MEANS = np.zeros(5)  # and of the others, in standard deviations of one prompt
THRESHOLDS = np.r_[SHARES, MEANS]
ERRORS = np.r_[np.sqrt(SHARES * (1 - SHARES)), np.ones(5)] / np.sqrt(PROMPTS)
IDS = [f"simulated.number_{i}" for i in range(10)]
PROMPT_KEYS = [f"prompt {i}" for i in range(PROMPTS)]


class Simulated(Audit):
    """Ten numbers, higher is better."""

    name = "simulated"
    title = question = meaning = source = "simulated"
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        id_: MetricSpec("probability" if i < 5 else "SD", "higher", id_)
        for i, id_ in enumerate(IDS)
    }

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Nothing is measured here."""
        raise NotImplementedError


def noise(rng: np.random.Generator, rho: float) -> Float:
    """Standard normal, (prompts, 10), equicorrelated over the numbers of a prompt."""
    common = rng.normal(size=(PROMPTS, 1))
    return np.asarray(
        np.sqrt(rho) * common + np.sqrt(1 - rho) * rng.normal(size=(PROMPTS, len(IDS)))
    )


def report(latent: Float, shift: Float) -> Report:
    """The report on prompts with this noise, its true values off their thresholds by `shift`."""
    truth = THRESHOLDS + shift
    right = latent[:, :5] < ndtri(truth[:5])
    values = np.concatenate([right, latent[:, 5:] + truth[5:]], axis=1)
    clusters = np.arange(PROMPTS)
    metrics = [
        Metric(id_, cluster_mean(values[:, i], clusters, bounds=(0, 1) if i < 5 else None))
        for i, id_ in enumerate(IDS)
    ]
    return Report.build(
        [AuditResult("simulated", metrics=tuple(metrics))],
        audits=[Simulated()],
        model=Recorded(),
        inputs={},
        cost=Cost(),
        seed=0,
        config={},
        provenance={},
        prompts=PROMPT_KEYS,
    )


def thresholds() -> Policy:
    """A rule on each number: at least its threshold."""
    rules: list[dict[str, Any]] = [
        {"metric": id_, "min": float(t)} for id_, t in zip(IDS, THRESHOLDS, strict=True)
    ]
    return Policy.parse({"schema_version": 1, "rule": rules}, "benchmark")


def margins(size: Float) -> Policy:
    """A rule on each number: at most so much worse than the baseline."""
    rules: list[dict[str, Any]] = [
        {"metric": id_, "max_regression": float(m)} for id_, m in zip(IDS, size, strict=True)
    ]
    return Policy.parse({"schema_version": 1, "rule": rules}, "benchmark")


def gate_rates(reports: int, shift: Float, rho: float, seed: int) -> dict[str, float]:
    """Shares of verdicts of the gate."""
    policy, found = thresholds(), []
    for i in range(reports):
        rng = np.random.default_rng([seed, i])
        found.append(gate(report(noise(rng, rho), shift), policy).verdict)
    return {verdict: found.count(verdict) / reports for verdict in ("fail", "inconclusive", "pass")}


def baseline_rates(
    reports: int, worse: Float, margin: Float, rho: float, seed: int
) -> dict[str, float]:
    """Shares of verdicts against a baseline; the two models share half of a prompt's noise."""
    policy, found = margins(margin), []
    for i in range(reports):
        before, after = pair(np.random.default_rng([seed, i]), worse, rho)
        found.append(gate(after, policy, before).verdict)
    return {verdict: found.count(verdict) / reports for verdict in ("fail", "inconclusive", "pass")}


def compare_rates(reports: int, worse: Float, rho: float, seed: int) -> dict[str, float]:
    """Share of comparisons that call any number different, and the first one worse."""
    any_, first = 0, 0
    for i in range(reports):
        result = compare(*pair(np.random.default_rng([seed, i]), worse, rho))
        any_ += any(d.verdict != "no difference" for d in result.differences)
        first += result[IDS[0]].verdict == "worse"
    return {"any": any_ / reports, "first worse": first / reports}


def pair(rng: np.random.Generator, worse: Float, rho: float) -> tuple[Report, Report]:
    """Two models on the same prompts; the second is worse by `worse`, in units of the value."""
    shared = noise(rng, rho)
    first, second = (np.sqrt(0.5) * shared + np.sqrt(0.5) * noise(rng, rho) for _ in range(2))
    return report(first, np.zeros(10)), report(second, -worse)


def one(size: float) -> Float:
    """The first number off by so many standard errors, the others not."""
    return np.r_[size, np.zeros(9)] * ERRORS


def main(reports: int) -> None:
    """Print the tables."""
    limit = 0.05 + 2.326 * np.sqrt(0.05 * 0.95 / reports)
    print(f"{reports:,} reports a row, ten rules, {PROMPTS} prompts; a true rate of 5 % shows")
    print(f"{limit:.1%} at most (99 %).\n")
    print("| rules | truth | correlation | fail | inconclusive | pass |")
    print("| --- | --- | --- | --- | --- | --- |")

    def row(rules: str, truth: str, rho: float, rates: Mapping[str, float]) -> None:
        cells = " | ".join(f"{rates[v]:.1%}" for v in ("fail", "inconclusive", "pass"))
        print(f"| {rules} | {truth} | {rho:g} | {cells} |", flush=True)

    far = 8 * ERRORS
    for rho in (0.0, 0.5, 0.9):
        row("thresholds", "all at the boundary", rho, gate_rates(reports, np.zeros(10), rho, 1))
    few = max(reports // 4, 1)
    good = np.minimum(far, 0.99 - np.r_[SHARES, np.full(5, -9.0)])
    edge = np.r_[0.0, good[1:]]
    row("thresholds", "one at the boundary, nine good", 0.5, gate_rates(reports, edge, 0.5, 2))
    for size in (2.0, 3.0, 4.0):
        row("thresholds", f"one {size:g} SE below", 0.5, gate_rates(few, one(-size), 0.5, 3))
        row(
            "thresholds",
            f"all {size + 1:g} SE above (or 0.99)",
            0.5,
            gate_rates(few, np.minimum((size + 1) * ERRORS, good), 0.5, 4),
        )
    margin = 2 * ERRORS
    for rho in (0.0, 0.5):
        rates = baseline_rates(reports, margin, margin, rho, 5)
        row("baseline", "all worse by the margin", rho, rates)
    for size in (3.0, 4.0):
        rates = baseline_rates(few, margin + one(size), margin, 0.5, 6)
        row("baseline", f"one {size:g} SE beyond", 0.5, rates)
    rates = baseline_rates(few, np.zeros(10), 5 * ERRORS, 0.5, 7)
    row("baseline", "equal models, margin 5 SE", 0.5, rates)
    print("\n| compare: truth | correlation | any called different | the first called worse |")
    print("| --- | --- | --- | --- |")
    for size, rho, count in (
        (0.0, 0.0, reports),
        (0.0, 0.5, reports),
        (3.0, 0.5, few),
        (4.0, 0.5, few),
    ):
        rates = compare_rates(count, one(size), rho, 8)
        truth = f"one worse by {size:g} SE" if size else "equal models"
        print(
            f"| {truth} | {rho:g} | {rates['any']:.1%} | {rates['first worse']:.1%} |", flush=True
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
