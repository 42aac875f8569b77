"""`coverage`: how much of what the model will meet did people ever judge? (kappa and rho)"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.pairs import LABELLED, Margins, margins
from rmaudit.audits.common.support import (
    Support,
    contexts,
    feedback_of,
    lacking,
    output_words,
    pair_support,
    prompt_words,
)
from rmaudit.audits.coverage.families import Families, clusters, families, hole_count, ledger
from rmaudit.audits.coverage.label_next import label_next
from rmaudit.audits.coverage.views import (
    bars,
    curve,
    deficit_finding,
    hole_findings,
    projection,
    shift_finding,
)
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import AuditResult, Estimate, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import EVERY_SIGNAL
from rmaudit.scoring.requests import Scores
from rmaudit.stats.intervals import cluster_mean
from rmaudit.support.conformal import LEVEL, support_share
from rmaudit.support.two_sample import ToldApart, told_apart
from rmaudit.typing import Float, Integers

FINE_TYPES = 100
LEAST_VERBATIM = (
    20  # deployment rows found word for word; with fewer, rho is over contexts inside the support
)


FEW_CALIBRATION = (
    "a third of the feedback's prompts tell where the support ends. The 95% interval holds the "
    "value in 94 to 97% of simulated data sets; in 90 to 95% with under 75 prompts of feedback."
)


@register_audit
class Coverage(Audit):
    """Exact, conformal and type-wise readings of kappa and rho; the ledger; what to label next."""

    name = "coverage"
    title = "Coverage"
    question = "How much of the deployment is covered by the feedback?"
    meaning = (
        "A prompt is inside the support unless it lies farther from the feedback than 95% of "
        "feedback held out from it. Of deployment drawn like the feedback, at least 95% would "
        "be inside, so the deficit is tested. A gap is a subset of at least 1% of deployment "
        "with less than a tenth of that share in feedback. Rho is over the responses of prompts "
        f"found word for word in the feedback or, where under {LEAST_VERBATIM} rows are, of those "
        "inside its support."
    )
    source = "Chaudhari et al. 2024 (arXiv 2404.08555), Section 5; Bates et al. 2023 (2104.08279)"
    order = 60
    signals = EVERY_SIGNAL
    metrics: ClassVar = {
        "coverage.kappa_exact": MetricSpec(
            "share",
            "higher",
            "deployment prompts found verbatim in the feedback",
            "Prompt coverage, verbatim",
        ),
        "coverage.kappa": MetricSpec(
            "share",
            "higher",
            "deployment prompts inside the feedback's conformal support",
            "Prompt coverage (kappa)",
            FEW_CALIBRATION,
        ),
        "coverage.kappa_mass": MetricSpec(
            "share",
            "higher",
            "deployment prompts of a type that occurs in the feedback",
            "Prompt coverage by type",
            f"without a subset column the types are {FINE_TYPES} clusters of the prompts, and the "
            "share rises with their number.",
        ),
        "coverage.rho_exact": MetricSpec(
            "share",
            "higher",
            "deployment responses found verbatim in the feedback",
            "Response coverage, verbatim",
        ),
        "coverage.rho": MetricSpec(
            "share",
            "higher",
            "deployment responses inside the feedback's conformal support",
            "Response coverage (rho)",
            FEW_CALIBRATION,
        ),
        "coverage.rho_mass": MetricSpec(
            "share",
            "higher",
            "deployment responses of a type that occurs in the feedback",
            "Response coverage by type",
        ),
        "coverage.kappa_deficit": MetricSpec(
            "share", "zero", "0.95 minus kappa", "Prompt coverage deficit", FEW_CALIBRATION
        ),
        "coverage.rho_deficit": MetricSpec(
            "share", "zero", "0.95 minus rho", "Response coverage deficit", FEW_CALIBRATION
        ),
        "coverage.shift_auroc": MetricSpec(
            "probability",
            "lower",
            "AUROC with which a classifier, fitted on other prompts, tells deployment prompts from "
            "feedback prompts; one half if they come from one distribution",
            "Deployment told from feedback (AUROC)",
        ),
        "coverage.shift_detectable": MetricSpec(
            "probability",
            "lower",
            "smallest AUROC that would be shown to be above 0.5 with 80% power",
            "Smallest detectable shift (AUROC)",
        ),
        "coverage.holes": MetricSpec(
            "count",
            "zero",
            "subsets common in deployment and rare in the feedback",
            "Coverage gaps",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs feedback, and prompts of the deployment."""
        if case.deployment is None:
            return "needs --deployment, prompts that the model meets in use"
        if not any(case.deployment.frame["prompt"]):
            return "needs prompts in --deployment: all are empty"
        return lacking(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Shares over deployment prompts; families; suggestions."""
        deployment = case.deployment
        if deployment is None:
            return AuditResult(self.name, "not_run", self.missing(case))
        where = contexts(case)
        distance, p = where.distances["deployment"], where.p("deployment")
        words = set(prompt_words(case.feedback))
        exact = np.array([prompt in words for prompt in prompt_words(deployment)], dtype=float)
        named = families(case, deployment, where)
        ranked = margins(case, scores) if case.eval.type in LABELLED else None
        table = ledger(case, deployment, (named.feedback, named.deployment), named.eval, ranked)
        types = _types(case, named, where)
        shift = prompt_shift(case, deployment, where)
        numbers = prompt_numbers(case.confidence, deployment, exact, where, types)
        kappa = numbers["kappa"]
        numbers |= {
            "shift_auroc": shift.auroc,
            "shift_detectable": shift.detectable,
            "holes": hole_count(table, len(deployment), kappa.n_clusters, case.confidence),
        }
        undefined = where.calibration.undefined_reason
        lacks = [NotRun("kappa", undefined)] if undefined else []
        if deployment.columns("outputs"):
            numbers |= output_numbers(case, deployment, exact > 0, where)
        else:
            lacks.append(NotRun("rho", "the column responses in --deployment"))
        dissent = disagreement(case, scores, named.eval, ranked)
        suggested = label_next(deployment, where, named.deployment, table, dissent, exact > 0)
        return AuditResult(
            self.name,
            metrics=tuple(Metric(f"coverage.{name}", e) for name, e in numbers.items()),
            findings=(
                *hole_findings(case, deployment, table, named.deployment, p),
                *deficit_finding(case, deployment, kappa, distance, p),
                *shift_finding(case, deployment, kappa, shift),
            ),
            tables={
                "ledger": table.assign(families_from=named.source),
                "label_next": suggested,
                "good_turing": good_turing(prompt_words(case.feedback), types[0]),
            },
            figures=(*([] if undefined else [curve(p)]), bars(table), projection(case, where)),
            not_run=tuple(lacks),
            tests=3,
        )


def prompt_shift(case: Case, deployment: Dataset, where: Support) -> ToldApart:
    """Whether a classifier tells the deployment's prompts from the feedback's."""
    feedback = prompt_words(case.feedback)
    return told_apart(
        (where.feedback, feedback),
        (where.others["deployment"], prompt_words(deployment)),
        case.rng("prompt shift"),
        confidence=case.confidence,
    )


def _types(
    case: Case, named: Families, where: Support
) -> tuple[Sequence[object], Sequence[object]]:
    """Types of context for the mass that was seen: the given families, or fine clusters."""
    if named.source.startswith("the column"):
        return named.feedback, named.deployment
    fine = clusters([where.feedback, where.others["deployment"]], FINE_TYPES, case.seed)
    return fine[0].tolist(), fine[1].tolist()


def deficit(share: Estimate) -> Estimate:
    """0.95 minus a support share; zero or less is what chance gives."""
    return replace(
        share,
        value=1 - LEVEL - share.value,
        low=1 - LEVEL - share.high,
        high=1 - LEVEL - share.low,
        influence=None,
        bounds=(-LEVEL, 1 - LEVEL),
    )


def seen_mass(
    feedback: Sequence[object], deployment: Sequence[object], codes: Integers, level: float
) -> Estimate:
    """Share of deployment rows of a type that is in the feedback; 0 to 1, higher is better."""
    seen = set(feedback)
    inside = np.array([kind in seen for kind in deployment], dtype=float)
    return share_of(inside, codes, level)


def share_of(values: Float, codes: Integers, level: float) -> Estimate:
    """A share of deployment rows, without an influence: that is over the evaluation's prompts."""
    share = cluster_mean(values, codes, confidence=level, bounds=(0, 1))
    return replace(share, influence=None)


def prompt_numbers(
    confidence: float,
    deployment: Dataset,
    verbatim: np.ndarray,
    contexts: Support,
    types: tuple[Sequence[object], Sequence[object]],
) -> dict[str, Estimate]:
    """Kappa word for word, by support and by mass, and its deficit."""
    codes, distance = deployment.clusters, contexts.distances["deployment"]
    kappa = support_share(distance, contexts.calibration, codes, confidence=confidence)
    return {
        "kappa_exact": share_of(verbatim, codes, confidence),
        "kappa": kappa,
        "kappa_mass": seen_mass(*types, codes, confidence),
        "kappa_deficit": deficit(kappa),
    }


def output_numbers(
    case: Case, deployment: Dataset, verbatim: np.ndarray, contexts: Support
) -> dict[str, Estimate]:
    """Rho over outputs of contexts found in the feedback, or in its support if too few are."""
    texts, rows = output_words(deployment, "deployment")
    names = ("rho_exact", "rho", "rho_mass", "rho_deficit")
    chosen = verbatim
    if verbatim.sum() < LEAST_VERBATIM:
        if reason := contexts.calibration.undefined_reason:
            return dict.fromkeys(names, Estimate.undefined(reason))
        chosen = contexts.outside("deployment") == 0
    kept = chosen[rows]
    texts, rows = [text for text, keep in zip(texts, kept, strict=True) if keep], rows[kept]
    level, codes = case.confidence, deployment.clusters[rows]
    if not len(texts):
        nothing = Estimate.undefined("no deployment response has a prompt like the feedback")
        return dict.fromkeys(names, nothing)
    where = pair_support(case, {"deployment": texts}, "response support")
    known = set(output_words(feedback_of(case), "feedback")[0])
    exact = np.array([text in known for text in texts], dtype=float)
    rho = support_share(where.distances["deployment"], where.calibration, codes, confidence=level)
    fine = clusters([where.feedback, where.others["deployment"]], FINE_TYPES, case.seed)
    return {
        "rho_exact": share_of(exact, codes, level),
        "rho": rho,
        "rho_mass": seen_mass(fine[0].tolist(), fine[1].tolist(), codes, level),
        "rho_deficit": deficit(rho),
    }


def disagreement(
    case: Case, scores: Scores, families: list[str] | None, found: Margins | None
) -> dict[str, float]:
    """SD over members of the margin, by family of the evaluation pairs, relative to the mean."""
    if families is None or found is None or len(scores.members) < 2:
        return {}
    if case.eval.type != "preference":
        return {}
    margin = scores.member_rewards("chosen") - scores.member_rewards("rejected")
    spread = margin.std(axis=0)
    finite = np.isfinite(spread)
    mean = float(spread[finite].mean()) if finite.any() else 0.0
    if mean == 0:
        return {}
    grouped = pd.Series(spread[finite] / mean).groupby(np.array(families, dtype=object)[finite])
    return {str(name): float(value) for name, value in grouped.mean().items()}


def good_turing(prompts: Sequence[str], types: Sequence[object]) -> pd.DataFrame:
    """Missing mass N1 / N of the feedback, of prompts and of types (Good 1953), a share.

    The chance that one more prompt drawn like the feedback is new. A prompt that was labelled
    several times is one draw of its type, and n draws of itself. Its SD is that of Esty (1983,
    Annals of Statistics 11): ``sqrt(N1 / N * (1 - N1 / N) + 2 * N2 / N) / sqrt(N)``.
    """
    rows = []
    drawn = list(dict(zip(prompts, types, strict=True)).values())
    for unit, values in (("context", prompts), ("type", drawn)):
        counts = Counter(Counter(values).values())
        n, once, twice = len(values), counts[1], counts[2]
        missing = once / n
        half = 1.96 * math.sqrt((missing * (1 - missing) + 2 * twice / n) / n)
        rows.append(
            {
                "of": unit,
                "n": n,
                "seen_once": once,
                "missing_mass": missing,
                "low": max(0.0, missing - half),
                # With none seen once, Esty's SD is zero: then the rule of three.
                "high": min(1.0, max(missing + half, 3 / n)),
            }
        )
    return pd.DataFrame(rows)
