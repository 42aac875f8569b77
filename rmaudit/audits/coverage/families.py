"""Families of contexts: given, or found by clustering and named by their distinguishing words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import bdtr

from rmaudit.audits.common.pairs import Margins
from rmaudit.audits.common.support import Support, feedback_of, prompt_words
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.order import natural
from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, cluster_ratios, count_codes
from rmaudit.stats.law import p_at_most
from rmaudit.stats.multiple import holm
from rmaudit.text.embedding import one_thread
from rmaudit.text.topics import distinctive_words
from rmaudit.typing import Float, Integers, Vectors

FOUND_FAMILIES = 12
FIT_ROWS = 20_000
MOST_COUNTED = 20  # holes of which a number is told for certain
LEAST_SHARE, MOST_RATIO = 0.01, 0.1  # of a hole: share in deployment, and feedback against it


@dataclass(frozen=True)
class Families:
    """A family's name for every row; `eval` is None where the evaluation data do not say."""

    source: str
    feedback: list[str]
    deployment: list[str]
    eval: list[str] | None


def families(case: Case, deployment: Dataset, where: Support) -> Families:
    """By the column ``family`` or ``subset`` where feedback and deployment both have it."""
    feedback = feedback_of(case)
    for column in ("family", "subset"):
        if feedback.columns(column) and deployment.columns(column):
            given = [
                data.frame[column].astype(str).tolist() if data.columns(column) else None
                for data in (feedback, deployment, case.eval)
            ]
            return Families(f"the column {column}", given[0] or [], given[1] or [], given[2])
    parts = [where.feedback, where.others["deployment"], where.others["eval"]]
    codes = clusters(parts, FOUND_FAMILIES, case.seed)
    names = _names([*prompt_words(feedback), *prompt_words(deployment)], np.concatenate(codes[:2]))
    named = [[names.get(int(c), f"cluster {c}") for c in part] for part in codes]
    return Families("k-means of the prompts", *named)


def clusters(parts: list[Vectors], most: int, seed: int) -> list[Integers]:
    """K-means codes of each part, fitted on a sample of the first two together."""
    from sklearn.cluster import KMeans

    both = np.concatenate(parts[:2])
    # In an order of its own, so that the order of the data's rows decides nothing.
    both = both[np.lexsort(both.round(4).T)]
    rows = np.random.default_rng(seed).permutation(len(both))[:FIT_ROWS]
    distinct = len(np.unique(both[rows].round(5), axis=0))
    if distinct < 2:
        return [np.zeros(len(part), dtype=np.int64) for part in parts]
    with one_thread():
        means = KMeans(min(most, distinct), n_init=2, random_state=seed).fit(both[rows])
        return [
            means.predict(part).astype(np.int64) if len(part) else np.zeros(0, dtype=np.int64)
            for part in parts
        ]


def _names(texts: list[str], codes: Integers) -> dict[int, str]:
    """Each cluster's number and the three words that tell its prompts from the others."""
    return {
        code: f"{code}: {', '.join(words)}" if words else f"cluster {code}"
        for code, words in distinctive_words(texts, codes, 3).items()
    }


def ledger(
    case: Case,
    deployment: Dataset,
    kinds: tuple[list[str], list[str]],
    evaluation: list[str] | None,
    found: Margins | None,
) -> pd.DataFrame:
    """One row a family: shares with intervals, accuracy where known, hole or not; largest first."""
    feedback = feedback_of(case)
    in_feedback, in_deployment = (np.array(part, dtype=object) for part in kinds)
    rows = []
    for name in sorted(set(kinds[0]) | set(kinds[1]), key=natural):
        a, b = (in_feedback == name).astype(float), (in_deployment == name).astype(float)
        share_a = cluster_mean(a, feedback.clusters, confidence=case.confidence, bounds=(0, 1))
        share_b = cluster_mean(b, deployment.clusters, confidence=case.confidence, bounds=(0, 1))
        possible = _possible(a, b, feedback, deployment, share_b, case.confidence)
        seen = _prompts(a, feedback), _prompts(b, deployment)
        accuracy = _accuracy(name, evaluation, found, case.confidence)
        rows.append(
            {
                "family": name,
                "feedback_share": a.mean(),
                "feedback_low": share_a.low,
                "feedback_high": share_a.high,
                "deployment_share": b.mean(),
                "deployment_low": share_b.low,
                "deployment_high": share_b.high,
                "accuracy": accuracy.value,
                "accuracy_low": accuracy.low,
                "accuracy_high": accuracy.high,
                "accuracy_pairs": accuracy.n,
                "hole": bool(b.mean() >= LEAST_SHARE and a.mean() < MOST_RATIO * b.mean()),
                "hole_possible": possible,
                "hole_p": max(p_at_most(share_b, LEAST_SHARE), rarer(*seen, MOST_RATIO)),
                "rarer_p": rarer(*seen, 1.0),
            }
        )
    table = pd.DataFrame(rows)
    table["hole_p_alone"] = table["hole_p"]
    for name in ("hole_p", "rarer_p"):
        table[name] = holm(table[name].tolist())  # all families are looked at
    table["hole_certain"] = table["hole_p"] <= 1 - case.confidence
    return table.sort_values("deployment_share", ascending=False, kind="stable", ignore_index=True)


def _prompts(inside: Float, data: Dataset) -> tuple[int, int]:
    """Prompts of a family, and all prompts: a prompt that is repeated counts once."""
    return count_codes(data.clusters[inside > 0]), count_codes(data.clusters)


def rarer(feedback: tuple[int, int], deployment: tuple[int, int], ratio: float) -> float:
    """p-value of "a family's share of the feedback is at least `ratio` times its deployment's".

    Exact: given how many prompts of the family there are in both, those of the feedback are
    binomial with the odds of the two sizes (Przyborowski & Wilenski 1940). `feedback` and
    `deployment` are (prompts of the family, all prompts).
    """
    (hits, n), (others, m) = feedback, deployment
    if hits + others == 0 or m == 0:
        return 1.0
    return float(bdtr(hits, hits + others, ratio * n / (ratio * n + m)))


def _possible(
    a: Float, b: Float, feedback: Dataset, deployment: Dataset, share: Estimate, level: float
) -> bool:
    """Whether it is a hole at either end of the intervals."""
    none_a, none_b = np.zeros(len(a)), np.zeros(len(b))
    offset = int(feedback.clusters.max(initial=0)) + 1
    lacking = cluster_ratios(
        [
            (1.0, np.r_[a, none_b], np.r_[np.ones(len(a)), none_b]),
            (-MOST_RATIO, np.r_[none_a, b], np.r_[none_a, np.ones(len(b))]),
        ],
        np.r_[feedback.clusters, offset + deployment.clusters],
        confidence=level,
    )
    return not lacking.defined or (share.high >= LEAST_SHARE and lacking.low < 0)


def _accuracy(
    name: str, evaluation: list[str] | None, found: Margins | None, level: float
) -> Estimate:
    if evaluation is None or found is None:
        return Estimate.undefined("families of the evaluation data are not known")
    rows = np.array(evaluation, dtype=object) == name
    part = found.decided.on_rows(rows)
    return cluster_mean(part.correct, part.cluster, confidence=level, bounds=(0, 1))


def hole_count(table: pd.DataFrame, n: int, n_clusters: int, level: float) -> Estimate:
    """Number of holes, from those certain to those possible.

    "At most k are holes" leaves all but k families without one, so the p-value of that is the
    (k + 1)-th smallest of the families' times how many those are (Benjamini & Heller 2008).
    """
    p = np.sort(table["hole_p_alone"].to_numpy(dtype=np.float64))
    each = np.maximum.accumulate(np.minimum(1.0, p * np.arange(len(p), 0, -1)))
    return Estimate(
        float(table["hole"].sum()),
        float((table["hole_certain"] & table["hole"]).sum()),
        float((table["hole_possible"] | table["hole"]).sum()),
        level,
        "families decided one by one",
        n,
        n_clusters,
        more_than=tuple(each[:MOST_COUNTED].tolist()),
    )
