"""The performance gap of Section 6.2, inside and outside the support: part of `generalization`.

What is lost when a policy is optimised against the reward model instead of the truth, from samples
of the first policy with gold rewards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.pairs import optional
from rmaudit.audits.common.samples import sample_requests, sample_rewards
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.overoptimization.samples import first_policy, recorded
from rmaudit.results import Estimate, Figure, Finding, Metric
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_mean, count_codes
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.stats.tilting import Gap, performance_gap
from rmaudit.typing import Float

BETAS = (0.5, 1.0, 2.0, 4.0, 8.0)  # SDs per nat: from strong optimisation to weak
SHOWN_BETA = 1.0  # what a finding is about


def gap_lacks(case: Case) -> str | None:
    """What the performance gap needs and the case does not have, in words."""
    samples = case.samples
    if samples is None or not samples.columns("gold_rewards"):
        return "--samples, responses of the policy with gold_rewards"
    if not case.new_text and recorded(samples) is None:
        return "proxy_rewards in --samples, or a model that can score new text"
    return None


def gap_requests(case: Case) -> Sequence[Request]:
    """The samples, for the model to reward."""
    return () if gap_lacks(case) else sample_requests(case)


def gaps(case: Case, scores: Scores) -> list[Gap]:
    """The performance gap at each beta; requires that `gap_lacks` nothing."""
    samples = case.samples
    if samples is None:
        raise ValueError("the case has no samples")
    rewards = sample_rewards(case, scores)
    gold = rewards.proxy * np.nan if rewards.gold is None else rewards.gold
    # What tilts is the policy that comes first: an optimised one's samples are not its own.
    proxy = np.where(first_policy(samples)[:, None], rewards.proxy, np.nan)
    level = case.confidence
    return [performance_gap(gold, proxy, b, samples.clusters, confidence=level) for b in BETAS]


def part(case: Case, gap: Gap, chosen: Float, where: str) -> Estimate:
    """Mean gap over some contexts, gold SDs; the SDs of the rewards are taken as given."""
    if not gap.gap.defined or case.samples is None:
        return gap.gap
    use = np.isfinite(gap.by_context) & (chosen > 0)
    codes = case.samples.clusters[use]
    if count_codes(codes) < 2:
        reason = f"fewer than two sampled prompts lie {where} the support"
        return Estimate.undefined(reason, n=int(use.sum()), confidence=case.confidence)
    mean = cluster_mean(gap.by_context[use], codes, confidence=case.confidence)
    return replace(mean, influence=None)


def gap_metrics(case: Case, found: Sequence[Gap], outside: Float | None) -> list[Metric]:
    """`delta_j` and `delta_j_outside`, a slice a beta."""
    metrics = []
    for gap in found:
        slice_ = {"beta": f"{gap.beta:g}"}
        metrics.append(Metric("generalization.delta_j", gap.gap, slice_))
        if outside is not None:
            there = part(case, gap, outside, "outside")
            metrics.append(Metric("generalization.delta_j_outside", there, slice_))
    return metrics


def gap_table(case: Case, found: Sequence[Gap], outside: Float | None) -> pd.DataFrame:
    """One row a beta: gap, its two parts, what either policy gains, sample sizes, KL, equal KL.

    `outside_contribution` is the part of the gap that the contexts outside make up; it and that of
    the contexts inside sum to `delta_j`.
    """
    rows = []
    for gap in found:
        row: dict[str, float] = {"beta": gap.beta}
        named = {"delta_j": gap.gap, "gain_gold": gap.gold, "gain_model": gap.proxy}
        if outside is not None:
            named["inside"] = part(case, gap, 1 - outside, "inside")
            named["outside"] = part(case, gap, outside, "outside")
            there = np.isfinite(gap.by_context)
            if gap.gap.defined:
                share = np.where(outside[there] > 0, gap.by_context[there], 0.0)
                row["outside_contribution"] = float(share.mean())
        named["delta_j_equal_kl"] = gap.equal_kl_gap
        for name, estimate in named.items():
            row |= {
                name: estimate.value,
                f"{name}_low": estimate.low,
                f"{name}_high": estimate.high,
            }
        rows.append(
            {
                **row,
                "beta_equal_kl": gap.equal_kl_beta,
                "effective_samples_gold": gap.effective_gold,
                "effective_samples_model": gap.effective_proxy,
                "kl_gold": gap.kl_gold,
                "kl_model": gap.kl_proxy,
            }
        )
    return pd.DataFrame(rows)


def gap_figure(table: pd.DataFrame) -> Figure:
    """The gap against beta: all contexts, inside, outside."""
    names = {"delta_j": "all prompts", "inside": "inside", "outside": "outside the support"}
    series = [
        {
            "name": shown,
            "x": table["beta"].tolist(),
            "y": [optional(v) for v in table[name]],
            "low": [optional(v) for v in table[f"{name}_low"]],
            "high": [optional(v) for v in table[f"{name}_high"]],
            "style": "line",
        }
        for name, shown in names.items()
        if name in table
    ]
    known = table.dropna(subset=["delta_j"])
    alt = "No beta has enough effective samples."
    if len(known):
        row = known.iloc[0]
        alt = (
            f"At beta {row['beta']:g}, the strongest optimisation that the samples allow, the "
            f"policy tilted by the model is {row['delta_j']:.2f} gold SD worse than the one tilted "
            "by the gold reward."
        )
    return Figure(
        "performance_gap",
        "curves",
        "What optimising the model loses against optimising the gold reward",
        alt,
        {
            "series": series,
            "xlabel": "beta (SD per nat): strong optimisation on the left",
            "ylabel": "Delta J (gold SD)",
            "xscale": "log",
            "diagonal": False,
            "reference_y": 0.0,
            "reference_x": None,
        },
    )


def gap_findings(case: Case, found: Sequence[Gap], outside: Float | None) -> list[Finding]:
    """Optimising the model loses gold reward outside the support, or makes things worse."""
    gap = next((g for g in found if g.beta == SHOWN_BETA), found[0])
    if not gap.gap.defined or case.samples is None:
        return []
    findings = []
    examples = _examples(case.samples, gap.by_context, case.example_limit)
    if gap.proxy.high < 0:
        findings.append(
            Finding(
                "high",
                "generalization",
                "generalization.delta_j",
                f"A policy optimised against this reward gets worse: {gap.proxy.value:+.2f} gold "
                f"SD at beta {gap.beta:g}",
                "Do not optimise against it. The prompts below lose most.",
                examples,
                p_at_least(gap.proxy, 0.0),
            )
        )
    if outside is None:
        return findings
    out, inner = part(case, gap, outside, "outside"), part(case, gap, 1 - outside, "inside")
    if out.defined and inner.defined and out.low > inner.high:
        findings.append(
            Finding(
                grade(out.low - inner.high, 0.1, 0.3),
                "generalization",
                "generalization.delta_j_outside",
                f"Optimising this reward loses {out.value:.2f} gold SD outside the support of the "
                f"feedback against {inner.value:.2f} inside (beta {gap.beta:g})",
                "Label prompts of the table label_next (coverage) before the policy is trained, "
                "or keep its KL smaller there.",
                examples,
                max(p_at_most(out, inner.high), p_at_least(inner, out.low)),
            )
        )
    return findings


def _examples(samples: Dataset, gap: Float, limit: int) -> tuple[dict[str, object], ...]:
    order = np.argsort(-np.nan_to_num(gap, nan=-np.inf), kind="stable")[:limit]
    frame = samples.frame
    return tuple(
        example(
            {"id": frame["id"].iloc[i], "prompt": frame["prompt"].iloc[i]},
            note=f"loses {gap[i]:.2f} gold SD",
        )
        for i in order.tolist()
        if np.isfinite(gap[i])
    )
