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
from rmaudit.typing import Float, Integers

FLAT = 0.1  # of the pooled SD, under which a prompt teaches nothing
MUCH = 0.2  # share of flat prompts beyond which it is a finding


@register_audit
class Teacher(Audit):
    """Within-prompt spread of the reward under the policy."""

    name = "teacher"
    title = "Reward variance"
    question = "Do the rewards of one prompt's samples differ enough for a policy to learn from?"
    meaning = (
        "A policy learns from differences between its outputs to one prompt. Where the reward "
        "gives them all the same, it learns nothing, however accurate the reward is elsewhere. A "
        f"prompt is saturated where its SD is under {FLAT:g} of that of all prompts. The SD is "
        "in the reward's own unit: compare it with beta, not with other models."
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
        saturated = saturated_share(own[used], pooled, codes[used], case.confidence)
        return AuditResult(
            self.name,
            metrics=(
                Metric("teacher.within_prompt_sd", pooled),
                Metric("teacher.saturated_share", saturated),
            ),
            findings=_finding(case, samples, pooled, saturated, own, rows, used),
            tables={"prompts": _table(samples, rows[used], own[used], freedom[used])},
            figures=(_figure(own[used], pooled),) if pooled.defined else (),
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


def saturated_share(own: Float, pooled: Estimate, codes: Integers, confidence: float) -> Estimate:
    """Share of prompts whose own SD is under a tenth of the pooled one; all where that is zero."""
    if not pooled.defined:
        return pooled
    flat = (own <= FLAT * pooled.value).astype(np.float64)
    share = cluster_mean(flat, codes, confidence=confidence, bounds=(0, 1))
    return replace(share, influence=None)


def _finding(
    case: Case,
    samples: Dataset,
    pooled: Estimate,
    saturated: Estimate,
    own: Float,
    rows: Integers,
    used: np.ndarray,
) -> tuple[Finding, ...]:
    if not saturated.defined or saturated.low <= MUCH:
        return ()
    flat = np.flatnonzero(used & (own <= FLAT * pooled.value))[: case.example_limit]
    shown = tuple(
        example(
            {
                "id": samples.frame["id"].iloc[int(rows[i])],
                "prompt": samples.frame["prompt"].iloc[int(rows[i])],
            },
            note=f"SD {own[i]:.3g} among its samples; {pooled.value:.3g} over all prompts",
        )
        for i in flat.tolist()
    )
    return (
        Finding(
            "medium" if saturated.low > 0.5 else "low",
            "teacher",
            "teacher.saturated_share",
            f"On {saturated.value:.0%} of the prompts the reward does not tell the policy's "
            "outputs apart",
            "A policy gets no gradient there. Sample more widely, label pairs of such prompts, or "
            "leave these prompts out of the run.",
            shown,
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


def _figure(own: Float, pooled: Estimate) -> Figure:
    counts, edges = np.histogram(own, bins=min(30, max(5, round(math.sqrt(own.size)))))
    return Figure(
        "spread",
        "histogram",
        "Spread of the reward within a prompt",
        f"SD of the reward among samples of one prompt, over {own.size} prompts; pooled "
        f"{pooled.value:.3g}.",
        {
            "series": [
                {"name": "prompts", "edges": edges.tolist(), "counts": counts.astype(int).tolist()}
            ],
            "xlabel": "SD of the reward within a prompt",
            "ylabel": "prompts",
            "reference_x": FLAT * pooled.value,
        },
    )
