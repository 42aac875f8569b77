"""Weak regions: parts of the prompts, named by nobody, that are ranked worse than the rest.

A model that ranks one half of the prompts well and the other in reverse has an accuracy near one
half on the whole. Without a column that names the halves they are looked for: clusters of the
prompts' words, and splits by length, turns and language of the prompt. A region is found on one
half of the prompts and tested on the other, so that the search needs no allowance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.base import grade
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import Margins, pair_examples
from rmaudit.audits.common.shares import percent
from rmaudit.audits.common.support import prompt_words
from rmaudit.case import Case
from rmaudit.data.types import prompt_key
from rmaudit.order import natural
from rmaudit.results import Estimate, Finding, Metric, Severity
from rmaudit.stats.intervals import cluster_mean, cluster_ratios, count_codes
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.text.embedding import Space, one_thread
from rmaudit.text.topics import distinctive_words
from rmaudit.typing import Float, Integers, Mask

LEAST_PROMPTS = 15  # of a region, and of the rest, in either half
CLUSTERS = (2, 4, 8)  # numbers of clusters that are tried
MOST_TESTED = 3  # regions that are taken to the other half
TOLERATED = 0.02  # of accuracy, below the rest
WORDS_SHOWN = 4
MOST_ROWS = 5_000  # prompts that the space of words and its clusters are fitted on


@dataclass(frozen=True)
class Region:
    """A part of the prompts, found on one half of them."""

    name: str
    inside: Mask  # of the decided pairs, (n_pairs,)


@dataclass(frozen=True)
class Tested:
    """A region on the half that it was not found on."""

    region: Region
    accuracy: Estimate
    rest: Estimate
    gap: Estimate  # of the rest minus the region's


def search(case: Case, decided: Margins) -> list[Tested]:
    """The regions that are furthest below the rest on one half of the prompts, on the other."""
    if not len(decided):
        return []
    first = halves_of(case)[decided.row]
    correct, codes = decided.correct, decided.cluster
    ranked = []
    for region in candidates(case, decided, first):
        gap = gap_of(correct, region.inside, codes, first, 0.9)
        if gap is not None and gap.defined:
            ranked.append((gap.low, region))
    ranked.sort(key=lambda item: -item[0])
    ranked = [item for i, item in enumerate(ranked) if i == 0 or item[0] > 0]
    tested: list[Tested] = []
    taken = np.zeros(len(decided), dtype=bool)
    for _, region in ranked:
        overlap = float(np.mean(taken[region.inside])) if region.inside.any() else 1.0
        if len(tested) == MOST_TESTED or overlap > 0.5:  # no more of one and the same place
            continue
        gap = gap_of(correct, region.inside, codes, ~first, case.confidence)
        if gap is None:
            continue
        here, there = region.inside & ~first, ~region.inside & ~first
        accuracy, rest = (
            cluster_mean(correct[part], codes[part], confidence=case.confidence, bounds=(0, 1))
            for part in (here, there)
        )
        tested.append(Tested(region, accuracy, rest, gap))
        taken |= region.inside
    return tested


def halves_of(case: Case) -> Mask:
    """Whether each evaluation row is in the half that is searched; no prompt is in both."""
    keys = list(dict.fromkeys(case.eval.cluster_keys.tolist()))
    order = sample_order(keys, case.seed)
    first = np.zeros(len(keys), dtype=bool)
    first[order[: len(keys) // 2]] = True
    return np.asarray(first[case.clusters])


def candidates(case: Case, decided: Margins, first: Mask) -> list[Region]:
    """Regions to look at: clusters of words, and prompts that are long, of many turns, ..."""
    frame = case.eval.frame
    words = prompt_words(case.eval)
    regions = by_words(case, words, decided, first)
    lengths = np.array([len(text.split()) for text in words], dtype=np.float64)
    turns = np.array(
        [1 if isinstance(prompt, str) else len(prompt) for prompt in frame["prompt"]],
        dtype=np.float64,
    )
    foreign = np.array([_foreign(text) for text in words], dtype=np.float64)
    for name, values in (("words", lengths), ("turns", turns)):
        for edge in np.unique(np.quantile(values, [0.25, 0.5, 0.75])):
            above = (values > edge)[decided.row]
            regions.append(Region(f"prompts of over {edge:g} {name}", above))
            regions.append(Region(f"prompts of at most {edge:g} {name}", ~above))
    regions.append(Region("prompts not in Latin script", (foreign > 0.5)[decided.row]))
    for column in ("language", "source"):
        if column in frame and 1 < frame[column].nunique() <= 20:
            labels = frame[column].map(str, na_action="ignore")
            regions += [
                Region(f"{column} {value}", (labels == value).to_numpy(dtype=bool)[decided.row])
                for value in sorted(labels.dropna().unique(), key=natural)
            ]
    return regions


def _foreign(text: str) -> float:
    """Share of the letters that are not Latin."""
    letters = [c for c in text if c.isalpha()]
    return sum(ord(c) > 0x24F for c in letters) / len(letters) if letters else 0.0


def by_words(case: Case, words: Sequence[str], decided: Margins, first: Mask) -> list[Region]:
    """Clusters of the prompts, fitted without regard to the labels, named by their words."""
    from sklearn.cluster import KMeans

    keys = [prompt_key(prompt) for prompt in case.eval.frame["prompt"]]
    distinct_keys = np.array(keys, dtype=object)
    _, places, which = np.unique(distinct_keys, return_index=True, return_inverse=True)
    texts = [words[place] for place in places.tolist()]
    if len(texts) < 2 * LEAST_PROMPTS or not any(texts):
        return []
    rows = np.random.default_rng(case.seed).permutation(len(texts))[:MOST_ROWS]
    vectors = Space([texts[row] for row in rows], seed=case.seed).place(texts)
    distinct = len(np.unique(vectors[rows].round(5), axis=0))
    regions = []
    for k in CLUSTERS:
        if k > distinct:
            break
        with one_thread():
            fitted = KMeans(k, n_init=2, random_state=case.seed).fit(vectors[rows])
            codes = fitted.predict(vectors).astype(np.int64)
        names = named(texts, codes)
        regions += [
            Region(names[code], (codes[which] == code)[decided.row]) for code in np.unique(codes)
        ]
    return regions


def named(texts: Sequence[str], codes: Integers) -> dict[int, str]:
    """Clusters by the words that tell their prompts from the others."""
    return {
        code: f"prompts about: {', '.join(words)}" if words else f"cluster {code}"
        for code, words in distinctive_words(texts, codes, WORDS_SHOWN).items()
    }


def gap_of(
    correct: Float, inside: Mask, codes: Integers, among: Mask, confidence: float
) -> Estimate | None:
    """Accuracy of the rest minus that of a region, on some pairs; None if either is small."""
    here, there = inside & among, ~inside & among
    if min(count_codes(codes[here]), count_codes(codes[there])) < LEAST_PROMPTS:
        return None
    a, b = here.astype(np.float64), there.astype(np.float64)
    terms = [(1.0, correct * b, b), (-1.0, correct * a, a)]
    return cluster_ratios(terms, codes, confidence=confidence, bounds=(-1, 1))


def region_metrics(tested: Sequence[Tested]) -> list[Metric]:
    """Accuracy and gap of each region that was tested, as slices by its name."""
    numbers = []
    for each in tested:
        where = {"region": each.region.name}
        numbers.append(Metric("generalization.region_accuracy", each.accuracy, where))
        numbers.append(Metric("generalization.region_gap", each.gap, where))
    return numbers


def region_findings(case: Case, decided: Margins, tested: Sequence[Tested]) -> list[Finding]:
    """Regions that are ranked below the rest, or in reverse, on the half they were not found on."""
    raised = []
    for each in tested:
        # Each was found on other prompts; up to three are tested on these.
        allowed = (1 - case.confidence) / len(tested)
        p = p_at_most(each.gap, TOLERATED)
        if p > allowed / 2:
            continue
        reversed_ = p_at_least(each.accuracy, 0.5) <= allowed / 2
        severity: Severity = "high" if reversed_ else grade(each.gap.low, 0.05, 0.15)
        what = "ranked in reverse" if reversed_ else "ranked worse than the rest"
        accuracy, rest = each.accuracy, each.rest
        wrong = np.where(each.region.inside & (decided.margin < 0), -decided.margin, -np.inf)
        raised.append(
            Finding(
                severity,
                "generalization",
                "generalization.region_gap",
                f"Accuracy differs by region: {percent(accuracy)} on {each.region.name}, "
                f"{rest.value:.1%} elsewhere",
                f"This region is {what}: {100 * each.gap.value:.1f} points below "
                f"[{100 * each.gap.low:.1f}, {100 * each.gap.high:.1f}]. It was found on one half "
                "of the prompts and tested on the other. Label more of it, and gate it as a subset "
                "of its own.",
                pair_examples(case, decided, wrong),
                min(1.0, len(tested) * p),
            )
        )
    return raised
