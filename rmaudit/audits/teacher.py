"""`teacher`: does the reward tell a policy's own outputs apart, so that it can learn?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, example, register_audit
from rmaudit.audits.common.samples import proxy_lacks, proxy_matrix, sample_requests
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.overoptimization.samples import first_policy
from rmaudit.results import AuditResult, Estimate, Figure, Finding, Metric, MetricSpec
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_mean, cluster_ratio
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.typing import Float, Integers

FLAT = 0.1  # of the usual SD within a prompt, under which a prompt teaches nothing
OUTLYING = 10.0  # times the median: what a prompt's SD counts for at most in what is usual
FAINT = 1e-3  # of the spread of all rewards, under which differences are lost beside levels
BARELY = 1e-4  # an SD in the reward's own unit that any usual KL penalty outweighs
MUCH = 0.2  # share of flat prompts beyond which it is a finding


@register_audit
class Teacher(Audit):
    """Within-prompt spread of the reward under the policy."""

    name = "teacher"
    title = "Reward variance"
    question = "Do the rewards of one prompt's samples differ enough for a policy to learn from?"
    meaning = (
        "A policy learns from differences between its responses to one prompt. Where the reward "
        "gives them all the same, it learns nothing, however accurate the reward is elsewhere. A "
        f"prompt is saturated where its SD is under {FLAT:g} of what is usual among prompts. "
        "The SD is in the reward's own unit: compare it with beta, not with other models."
    )
    source = "Razin et al. 2025 (arXiv 2503.15477)"
    order = 87
    metrics: ClassVar = {
        "teacher.within_prompt_sd": MetricSpec(
            "reward",
            "none",
            "pooled SD of the reward among samples of one prompt",
            "Within-prompt reward SD",
        ),
        "teacher.saturated_share": MetricSpec(
            "share",
            "none",
            "prompts whose samples all get almost the same reward",
            "Saturated prompts",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs samples with rewards of the model."""
        return proxy_lacks(case)

    def requests(self, case: Case) -> Sequence[Request]:
        """The samples."""
        return sample_requests(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """The spread over prompts."""
        samples = case.samples
        if samples is None:
            return AuditResult(self.name, "not_run", self.missing(case))
        rows = np.flatnonzero(first_policy(samples))
        proxy = proxy_matrix(case, samples, scores)[rows]
        square, freedom = spread_parts(proxy)
        used = freedom > 0
        codes = samples.clusters[rows]
        pooled = pooled_sd(square[used], freedom[used], codes[used], case.confidence)
        own = np.sqrt(np.divide(square, freedom, out=np.zeros(square.shape), where=used))
        limit = flat_limit(own[used], proxy[used])
        saturated = saturated_share(own[used], limit, pooled, codes[used], case.confidence)
        return AuditResult(
            self.name,
            metrics=(
                Metric("teacher.within_prompt_sd", pooled),
                Metric("teacher.saturated_share", saturated),
            ),
            findings=(
                *_finding(case, samples, saturated, own, limit, rows, used),
                *_barely(pooled),
            ),
            tests=2,
            tables={"prompts": _table(samples, rows[used], own[used], freedom[used])},
            figures=(_figure(own[used], limit),) if pooled.defined else (),
        )


def spread_parts(proxy: Float) -> tuple[Float, Float]:
    """Squared deviations from the prompt's mean and degrees of freedom, (n_prompts,) each."""
    there = np.isfinite(proxy)
    counts = there.sum(axis=1)
    values = np.where(there, proxy, 0.0)
    mean = values.sum(axis=1) / np.maximum(counts, 1)
    deviation = np.where(there, values - mean[:, None], 0.0)
    # The mean of equal numbers may differ from them by rounding; that is no variation.
    deviation[np.abs(deviation) <= 1e-12 * np.abs(values)] = 0.0
    return (deviation**2).sum(axis=1), np.maximum(counts - 1, 0).astype(np.float64)


def pooled_sd(square: Float, freedom: Float, codes: Integers, confidence: float) -> Estimate:
    """Root of the pooled variance, in the reward's unit; a ratio of totals, clustered by prompt."""
    variance = cluster_ratio(square, freedom, codes, confidence=confidence)
    if not variance.defined:
        reason = "fewer than two prompts have two samples with finite rewards"
        return Estimate.undefined(
            reason, n=variance.n, n_clusters=variance.n_clusters, confidence=confidence
        )
    value, low, high = (math.sqrt(max(v, 0.0)) for v in (variance.value, *variance.ci))
    # Codes are those of the samples: the influences kept in a report are by evaluation prompt.
    return replace(variance, value=value, low=low, high=high, influence=None)


def flat_limit(own: Float, proxy: Float) -> float:
    """The SD up to which a prompt is flat: a tenth of what is usual, or lost beside the levels.

    What is usual is the root mean square of the prompts' SDs, in which none counts for more than
    ten times their median: one outlying prompt does not make all others flat. Rewards that differ
    far more between prompts than within any leave hardly a digit for the differences within.
    """
    if not own.size:
        return 0.0
    usual = math.sqrt(float(np.mean(np.minimum(own, OUTLYING * float(np.median(own))) ** 2)))
    if not float(np.median(own)):
        usual = math.sqrt(float(np.mean(own**2)))
    finite = proxy[np.isfinite(proxy)]
    spread = float(np.subtract(*np.quantile(finite, [0.84, 0.16]))) / 2 if finite.size else 0.0
    return max(FLAT * usual, FAINT * spread)


def saturated_share(
    own: Float, limit: float, pooled: Estimate, codes: Integers, confidence: float
) -> Estimate:
    """Share of prompts whose own SD is at most the limit; all where there is no spread at all."""
    if not pooled.defined:
        return pooled
    flat = (own <= limit).astype(np.float64)
    share = cluster_mean(flat, codes, confidence=confidence, bounds=(0, 1))
    return replace(share, influence=None)


def _barely(pooled: Estimate) -> tuple[Finding, ...]:
    """Rewards whose differences are outweighed by whatever stands beside them."""
    if not (pooled.defined and pooled.high < BARELY):
        return ()
    return (
        Finding(
            "medium",
            "teacher",
            "teacher.within_prompt_sd",
            f"The reward hardly moves within a prompt: SD {pooled.value:.2g} in its own unit",
            f"At most {pooled.high:.2g}. A KL penalty at any usual weight (0.001 per nat and more) "
            "or another reward beside it outweighs such differences, and low precision rounds "
            "them off. Scale the reward, or divide it by its SD within the group.",
            p=p_at_least(pooled, BARELY),
        ),
    )


def _finding(
    case: Case,
    samples: Dataset,
    saturated: Estimate,
    own: Float,
    limit: float,
    rows: Integers,
    used: np.ndarray,
) -> tuple[Finding, ...]:
    if not saturated.defined or saturated.low <= MUCH:
        return ()
    flat = np.flatnonzero(used & (own <= limit))[: case.example_limit]
    shown = tuple(
        example(
            {
                "id": samples.frame["id"].iloc[int(rows[i])],
                "prompt": samples.frame["prompt"].iloc[int(rows[i])],
            },
            note=f"SD {own[i]:.3g} among its samples; at most {limit:.3g} counts as flat",
        )
        for i in flat.tolist()
    )
    return (
        Finding(
            "medium" if saturated.low > 0.5 else "low",
            "teacher",
            "teacher.saturated_share",
            f"On {saturated.value:.1%} of the prompts the reward does not tell the policy's "
            "responses apart",
            "A policy gets no gradient there. Sample more widely, label pairs of such prompts, or "
            "leave these prompts out of the run.",
            shown,
            p_at_most(saturated, MUCH),
        ),
    )


def _table(samples: Dataset, rows: Integers, own: Float, freedom: Float) -> pd.DataFrame:
    """The prompts that teach least first."""
    frame = pd.DataFrame(
        {
            "id": samples.frame["id"].to_numpy()[rows],
            "samples": (freedom + 1).astype(int),
            "sd": own,
        }
    )
    return frame.sort_values("sd", kind="stable").head(50).reset_index(drop=True)


def _figure(own: Float, limit: float) -> Figure:
    counts, edges = np.histogram(own, bins=min(30, max(5, round(math.sqrt(own.size)))))
    return Figure(
        "spread",
        "histogram",
        "Spread of the reward within a prompt",
        f"SD of the reward among samples of one prompt, over {own.size} prompts; at "
        f"most {limit:.3g} counts as flat.",
        {
            "series": [
                {"name": "prompts", "edges": edges.tolist(), "counts": counts.astype(int).tolist()}
            ],
            "xlabel": "SD of the reward within a prompt",
            "ylabel": "prompts",
            "reference_x": limit,
        },
    )
