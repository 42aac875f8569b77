"""`overoptimization`: how hard may this reward be optimised before the gold reward turns?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.samples import (
    SampleRewards,
    gold_lacks,
    proxy_lacks,
    sample_requests,
    sample_rewards,
)
from rmaudit.audits.overoptimization.findings import findings, set_aside_finding, worst_examples
from rmaudit.case import Case
from rmaudit.overoptimization.curves import Pool, best_of_n_curve, judged, tilted_curve
from rmaudit.overoptimization.samples import aggregates, first_policy
from rmaudit.overoptimization.study import (
    METHOD_NAMES,
    Study,
    curve_frame,
    fit_frame,
    gain_figure,
    study,
)
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec
from rmaudit.scoring.requests import Request, Scores


@register_audit
class Overoptimization(Audit):
    """Best of n and tilting from samples with a gold reward: fits, peak, safe budget, gap."""

    name = "overoptimization"
    title = "Over-optimisation"
    question = (
        "How hard may a policy be optimised against this reward before the gold reward falls?"
    )
    meaning = (
        "The samples of the initial policy are optimised against the model, by keeping the best of "
        "n and by tilting, and the gold reward is read off. The safe budget is the KL (or n, or "
        "beta) up to which the lower bound of the gold gain still rises; it never reaches beyond "
        "what was measured. A gold reward that is itself a model gives a lower bound on the gap. "
        "Points of a tilt with too few effective samples (fewer than half of the samples, but "
        "ten to twenty suffice) take no part, and the KL of best of n is an upper bound where "
        "responses tie or are likely."
    )
    source = "Gao et al. 2022 (arXiv 2210.10760); Coste et al. 2023 (2310.02743)"
    order = 85
    metrics: ClassVar = {
        "overoptimization.peak_kl": MetricSpec(
            "nats",
            "higher",
            "KL at the fitted peak of the gold reward",
            "Fitted gold peak (KL)",
            "far beyond what was measured its 95% interval is far too short (47 to 88% "
            "coverage in simulation at 200 prompts)",
        ),
        "overoptimization.peak_n": MetricSpec(
            "n",
            "higher",
            "best of n at the fitted peak of the gold reward",
            "Fitted gold peak (n)",
            "far beyond what was measured its 95% interval is far too short (34 to 40% "
            "coverage in simulation at 200 prompts)",
        ),
        "overoptimization.safe_kl": MetricSpec(
            "nats",
            "higher",
            "KL up to which the lower bound of the gold gain rises",
            "Safe KL",
            "under tilting by a heavy-tailed reward its 95% interval covered 92% in "
            "simulation at 200 prompts",
        ),
        "overoptimization.safe_n": MetricSpec(
            "n", "higher", "best of n up to which the lower bound of the gold gain rises", "Safe n"
        ),
        "overoptimization.safe_beta": MetricSpec(
            "beta",
            "higher",
            "KL weight down to which the lower bound of the gold gain rises",
            "Safe beta",
        ),
        "overoptimization.gold_gain_at_peak": MetricSpec(
            "gold SD", "none", "gold gain at the highest point measured", "Gold gain at the peak"
        ),
        "overoptimization.gold_loss_after_peak": MetricSpec(
            "gold SD",
            "none",
            "gold reward lost from the highest point to the strongest optimisation measured",
            "Gold loss after the peak",
        ),
        "overoptimization.proxy_gold_gap": MetricSpec(
            "gold SD",
            "none",
            "proxy gain (proxy SDs) minus gold gain at the strongest optimisation measured",
            "Proxy-gold gap",
            "under tilting by a heavy-tailed reward its 95% interval covered 91% in "
            "simulation at 200 prompts",
        ),
        "overoptimization.onset_step": MetricSpec(
            "step",
            "higher",
            "step at which a run's gold reward is highest; its interval is a bracket of steps",
            "Step of the gold peak",
        ),
        "overoptimization.fit_alpha": MetricSpec(
            "gold SD per sqrt(nat)",
            "none",
            "alpha of d (alpha - beta d), d = sqrt(KL)",
            "Fitted alpha",
        ),
        "overoptimization.fit_beta": MetricSpec(
            "gold SD per nat",
            "none",
            "beta of d (alpha - beta d), d = sqrt(KL)",
            "Fitted beta",
            "under tilting by a heavy-tailed reward its 95% interval covered 92% in "
            "simulation at 200 prompts",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs samples with rewards of the model and a gold reward."""
        return proxy_lacks(case) or gold_lacks(case)

    def requests(self, case: Case) -> Sequence[Request]:
        """The samples."""
        return sample_requests(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Curves of the model, and of its members and their aggregates."""
        samples = case.samples
        if samples is None:
            return AuditResult(self.name, "not_run", self.missing(case))
        rewards, rows = sample_rewards(case, scores), first_policy(samples)
        if rewards.gold is None:
            return AuditResult(self.name, "not_run", "needs a gold reward of the samples")
        gold, proxy, codes = rewards.gold[rows], rewards.proxy[rows], samples.clusters[rows]
        judge = None if rewards.judge is None else rewards.judge[rows]
        pool = Pool.of(proxy, gold, codes, judge)
        reason = pool.lacks()
        if reason is not None:
            return AuditResult(
                self.name,
                metrics=tuple(_undefined(reason, case.confidence)),
                tables={"set_aside": _set_aside(pool)},
                findings=set_aside_finding(pool, int(rows.sum())),
            )
        studies = [
            study(
                case.model.name,
                curve,
                case.rng(f"overoptimization {curve.method}"),
                resamples=case.resamples,
                confidence=case.confidence,
            )
            for curve in (best_of_n_curve(pool), tilted_curve(pool))
        ]
        overlaid = member_studies(case, rewards, rows, codes)
        examples = worst_examples(case, proxy, gold, np.flatnonzero(rows))
        told = " ".join(part for part in (rewards.gold_from, judged(pool)) if part)
        return AuditResult(
            self.name,
            metrics=tuple(metric for one in studies for metric in study_metrics(one)),
            findings=(
                *findings(studies, told, examples),
                *set_aside_finding(pool, int(rows.sum())),
            ),
            tables={
                "curve": curve_frame([*studies, *overlaid], case.confidence),
                "fits": fit_frame([*studies, *overlaid]),
                "set_aside": _set_aside(pool),
            },
            figures=tuple(_figures(studies, overlaid, case.confidence)),
        )


def study_metrics(one: Study) -> list[Metric]:
    """The public metrics of one curve, on the slice of its method."""
    method, found = one.curve.method, one.found
    fit = found.fit(one.form)
    numbers = {
        "peak_kl": fit.peak_kl,
        "safe_kl": found.safe_kl,
        "gold_gain_at_peak": found.gain_at_peak,
        "gold_loss_after_peak": found.loss_after_peak,
        "proxy_gold_gap": found.proxy_gold_gap,
        "fit_alpha": fit.alpha,
        "fit_beta": fit.beta,
    }
    if method == "bon":
        numbers |= {"peak_n": fit.peak_n, "safe_n": found.safe_strength}
    if method == "tilted":
        numbers["safe_beta"] = found.safe_strength
    return [Metric(f"overoptimization.{k}", e, {"method": method}) for k, e in numbers.items()]


def member_studies(
    case: Case, rewards: SampleRewards, rows: np.ndarray, codes: np.ndarray
) -> list[Study]:
    """Best of n under each member and each aggregate, of members in SDs; none for one member.

    Each is re-sorted by the reward that selects: an aggregate has a curve of its own. All are on
    the samples that every member has a reward of.
    """
    if len(rewards.members) < 2 or rewards.gold is None:
        return []
    members = np.stack([values[rows] for values in rewards.members.values()])  # (K, rows, size)
    judge = None if rewards.judge is None else rewards.judge[rows]
    everywhere = np.isfinite(members).all(axis=0)
    members = np.where(everywhere, members, np.nan)
    named = dict(zip(rewards.members, members, strict=True)) | aggregates(members)
    studies = []
    for name, proxy in named.items():
        pool = Pool.of(proxy, rewards.gold[rows], codes, judge)
        if pool.lacks() is None:
            rng = case.rng(f"overoptimization {name}")
            curve = best_of_n_curve(pool)
            studies.append(
                study(name, curve, rng, resamples=case.resamples, confidence=case.confidence)
            )
    return studies


def _figures(
    studies: Sequence[Study], overlaid: Sequence[Study], confidence: float
) -> list[Figure]:
    figures = [
        gain_figure(
            [one],
            f"gain_{one.curve.method}",
            f"Gold and proxy gain against KL, {METHOD_NAMES[one.curve.method]}",
            confidence=confidence,
        )
        for one in studies
    ]
    if overlaid:
        figures.append(
            gain_figure(
                overlaid,
                "gain_members",
                "Gold gain of best of n under the members and their aggregates",
                confidence=confidence,
                with_proxy=False,
                with_fit=False,
            )
        )
    return figures


def _undefined(reason: str, confidence: float) -> list[Metric]:
    empty = Estimate.undefined(reason, confidence=confidence)
    of_runs = "overoptimization.onset_step"  # samples are of no run
    names = [n for n in Overoptimization.metrics if not n.endswith("beta") and n != of_runs]
    return [Metric(name, empty, {"method": "bon"}) for name in names]


def _set_aside(pool: Pool) -> pd.DataFrame:
    rows = [{"reason": reason, "prompts": count} for reason, count in pool.set_aside.items()]
    used = {"reason": f"used, {pool.size} samples each", "prompts": len(pool.gold)}
    return pd.DataFrame([used, *rows])
