"""Numbers about criteria: reliability, dead and duplicate ones, those that ask for words alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rmaudit.audits.mix.measure import (
    Groups,
    advantage_shares,
    constant_shares,
    correlation_within,
    first_movers,
)
from rmaudit.audits.rubric.reading import Verdicts
from rmaudit.data.types import Dataset
from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, cluster_ratio
from rmaudit.typing import Float, Integers

SHARED = 10  # prompts that a criterion must be on for numbers of its own
FEWEST = 4  # responses of a prompt
SAME = 0.9  # correlation from which two criteria are one, or a criterion is its own words
_WORD = re.compile(r"[^\W\d_]{4,}|\d+")
# Words of a criterion that say how it is judged, not what a response would hold.
_ASKING = frozenset(
    {"response", "answer", "user", "model", "that", "this", "with", "from", "about", "their"}
    | {"mention", "mentions", "include", "includes", "contain", "contains", "list", "lists"}
    | {"state", "states", "name", "names", "give", "gives", "provide", "provides", "uses"}
    | {"should", "must", "does", "have", "clearly", "correctly", "least"}
)


@dataclass(frozen=True)
class Measured:
    """What is measured of a rubric; by criterion where a dictionary holds estimates."""

    reliability: Estimate
    dead: Estimate  # points on criteria that are constant on a prompt
    top: Estimate  # points on a prompt's largest criterion
    duplicates: Estimate  # points on criteria that say what an earlier one says
    presence: Estimate  # points on criteria that hang on their own words being there
    by_reliability: dict[str, Estimate] = field(default_factory=dict)
    constant: dict[str, Estimate] = field(default_factory=dict)
    shares: dict[str, Estimate] = field(default_factory=dict)
    slopes: dict[str, Estimate] = field(default_factory=dict)
    words: dict[str, Estimate] = field(default_factory=dict)  # correlation with own words
    pairs: dict[tuple[str, str], Estimate] = field(default_factory=dict)  # duplicates
    means: dict[str, float] = field(default_factory=dict)
    points: dict[str, float] = field(default_factory=dict)  # mean over the prompts that have it
    groups: Groups | None = None
    pairs_tested: int = 0


def measured(rubric: Sequence[Verdicts], data: Dataset, confidence: float) -> Measured:
    """All numbers of the audit; criteria on fewer than `SHARED` prompts count in the sums alone."""
    codes = data.clusters
    by_name: dict[str, list[Verdicts]] = defaultdict(list)
    judged = [each for each in rubric if np.isfinite(each.values).any()]
    for each in judged:
        by_name[each.name].append(each)
    shared = {n: v for n, v in by_name.items() if len({codes[e.row] for e in v}) >= SHARED}
    groups = _groups(rubric, shared, data, confidence)
    words, pairs = {}, {}
    if groups is not None:
        words = _own_words(shared, data, groups)
        pairs = _alike(groups)
    same = {
        pair: r
        for pair, r in pairs.items()
        if r.defined and r.low >= SAME  # one criterion under two names
    }
    double = {later for _, later in same}
    wordy = {name for name, r in words.items() if r.defined and r.low >= SAME}
    return Measured(
        _reliability(rubric, codes, confidence),
        _points_share(judged, codes, confidence, lambda v: not _varies(v.means)),
        _top_share(rubric, codes, confidence),
        _points_share(judged, codes, confidence, lambda v: v.name in double),
        _points_share(judged, codes, confidence, lambda v: v.name in wordy),
        {name: _reliability(each, codes, confidence) for name, each in shared.items()},
        {} if groups is None else constant_shares(groups),
        {} if groups is None else advantage_shares(groups),
        {} if groups is None else first_movers(groups),
        words,
        same,
        {name: float(np.nanmean([np.nanmean(e.means) for e in v])) for name, v in shared.items()},
        {name: float(np.mean([e.points for e in v])) for name, v in by_name.items()},
        groups,
        len(pairs),
    )


def _varies(values: Float) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size and np.ptp(finite) > 1e-9)


def _points_share(
    rubric: Sequence[Verdicts], codes: Integers, confidence: float, which: object
) -> Estimate:
    """Share of all points, by size, on criteria for which `which` holds."""
    if not rubric or not callable(which):
        return Estimate.undefined("no criterion has a verdict", confidence=confidence)
    size = np.array([abs(each.points) for each in rubric])
    held = np.array([bool(which(each)) for each in rubric], dtype=np.float64)
    rows = np.array([codes[each.row] for each in rubric])
    return cluster_mean(held, rows, weights=size, confidence=confidence, bounds=(0, 1))


def _top_share(rubric: Sequence[Verdicts], codes: Integers, confidence: float) -> Estimate:
    """Mean over prompts of the largest criterion's share of the points, of rubrics of several."""
    by_row: dict[int, list[float]] = defaultdict(list)
    for each in rubric:
        by_row[each.row].append(abs(each.points))
    several = {r: p for r, p in by_row.items() if len(p) > 1 and sum(p) > 0}
    if not several:
        return Estimate.undefined("no rubric of two criteria or more", confidence=confidence)
    shares = np.array([max(p) / sum(p) for p in several.values()])
    rows = np.array([codes[row] for row in several])
    return cluster_mean(shares, rows, confidence=confidence, bounds=(0, 1))


def _reliability(rubric: Sequence[Verdicts], codes: Integers, confidence: float) -> Estimate:
    """Krippendorff's alpha of repeated verdicts, each criterion around its own mean."""
    centre = _centres(rubric)
    same, spread, rows = [], [], []
    for each in rubric:
        for values in each.values:
            known = values[np.isfinite(values)]
            if known.size < 2:
                continue
            total = float(np.mean((known - centre[each.name]) ** 2))
            same.append(total - float(np.var(known, ddof=1)))
            spread.append(total)
            rows.append(codes[each.row])
    if not rows:
        reason = "no response has two verdicts of one criterion"
        return Estimate.undefined(reason, confidence=confidence)
    if not any(spread):
        return Estimate.undefined("every verdict is the same", confidence=confidence)
    return cluster_ratio(
        np.array(same), np.array(spread), np.array(rows), confidence=confidence, bounds=(-1, 1)
    )


def _centres(rubric: Sequence[Verdicts]) -> dict[str, float]:
    known: dict[str, list[float]] = defaultdict(list)
    for each in rubric:
        known[each.name] += each.values[np.isfinite(each.values)].tolist()
    return {name: float(np.mean(values)) if values else math.nan for name, values in known.items()}


def _groups(
    rubric: Sequence[Verdicts],
    shared: Mapping[str, Sequence[Verdicts]],
    data: Dataset,
    confidence: float,
) -> Groups | None:
    """Totals and the shared criteria of every row, weighted by their points over what is there."""
    most: dict[int, float] = defaultdict(float)
    for each in rubric:
        most[each.row] += max(each.points, 0.0)
    sizes = data.frame["outputs"].map(len).to_numpy()
    rows = [r for r in sorted(most) if most[r] > 0 and sizes[r] >= FEWEST]
    if len(rows) < SHARED or not shared:
        return None
    place = {row: k for k, row in enumerate(rows)}
    shape = (len(rows), int(sizes[rows].max()))
    total = np.where(np.arange(shape[1]) < sizes[rows][:, None], 0.0, np.nan)
    components = {name: np.full(shape, np.nan) for name in shared}
    weights: dict[str, list[float]] = {name: [] for name in shared}
    for each in rubric:
        if each.row not in place:
            continue
        k, means = place[each.row], each.means
        share = each.points / most[each.row]
        total[k, : means.size] += share * np.where(np.isfinite(means), means, 0.0)
        if each.name in components:
            components[each.name][k, : means.size] = means
            weights[each.name].append(share)
    kept = {name: values for name, values in weights.items() if values}
    return Groups(
        total,
        {name: components[name] for name in kept},
        {name: float(np.mean(values)) for name, values in kept.items()},
        data.clusters[rows],
        "none",
        confidence,
    )


def _own_words(
    shared: Mapping[str, Sequence[Verdicts]], data: Dataset, groups: Groups
) -> dict[str, Estimate]:
    """Correlation, within prompts, of a criterion with how many of its own words are there."""
    found = {}
    for name, each in shared.items():
        keys = {word for word in _words(each[0].text) if word not in _ASKING}
        verdicts = np.full((len(each), groups.total.shape[1]), np.nan)
        presence = np.full(verdicts.shape, np.nan)
        for k, one in enumerate(each):
            outputs = data.frame["outputs"].iloc[one.row]
            if len(outputs) > verdicts.shape[1]:
                continue
            verdicts[k, : len(outputs)] = one.means
            if keys:
                presence[k, : len(outputs)] = [len(keys & _words(o)) / len(keys) for o in outputs]
        codes = np.array([data.clusters[one.row] for one in each])
        both = np.isfinite(verdicts) & np.isfinite(presence)
        within = replace(groups, total=np.where(both, 0.0, np.nan), codes=codes)
        if keys:
            found[name] = correlation_within(within, verdicts, presence)
    return found


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _alike(groups: Groups) -> dict[tuple[str, str], Estimate]:
    """Correlations within prompts of each two criteria that vary on the same prompts."""
    names = list(groups.components)
    found = {}
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            a, b = groups.components[one], groups.components[other]
            both = np.isfinite(a) & np.isfinite(b)
            if both.any(axis=1).sum() < SHARED:
                continue
            within = replace(groups, total=np.where(both, groups.total, np.nan))
            found[(one, other)] = correlation_within(within, a, b)
    return found
