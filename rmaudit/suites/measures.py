"""What stands beside the official numbers: accuracy by our rule, blind rules, calibration, length.

Our accuracy counts a tie one half and leaves pairs without two finite rewards out. Every interval
is clustered by the benchmark's item.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from rmaudit.results import NO_INTERVAL, Better, Estimate, Figure, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import does_not_apply
from rmaudit.stats.binning import binned_calibration
from rmaudit.stats.calibration import overconfidence
from rmaudit.stats.intervals import cluster_mean
from rmaudit.suites.base import Suite, suites
from rmaudit.suites.scored import Number, Official, Scored
from rmaudit.typing import Float, Mask

POWER = 0.8
PRESENT = "score_present"
_BLIND = "the official score of a rule that reads nothing else"
_PAIRS = "pairs of a better and a worse response"
_TEXTS = "the texts of the responses (a result file has none)"

Parts = tuple[list[Metric], list[NotRun]]


_SPECS: Mapping[str, tuple[str, Better, str, str]] = {
    "score": ("probability", "higher", "Official score", "the benchmark's own number: {rule}"),
    "score_present": (
        "probability",
        "higher",
        "Score of the groups present",
        "the mean of those groups that the data have, where the official score needs all of them",
    ),
    "score_ties_half": (
        "probability",
        "higher",
        "Official averages, ties one half",
        "the benchmark's own averages with ties at one half (1/k of k best) and missing rewards "
        "left out",
    ),
    "accuracy": (
        "probability",
        "higher",
        "Pairwise accuracy",
        "share of pairs in which the better response gets the higher reward; ties count 0.5, "
        "missing rewards are left out",
    ),
    "tie_rate": ("share", "zero", "Tied pairs", "share of pairs with equal rewards"),
    "nonfinite_share": (
        "share",
        "zero",
        "Non-finite rewards",
        "share of responses whose reward is missing or not finite",
    ),
    "blind_longer": ("probability", "none", "Blind rule: longer wins", _BLIND),
    "blind_shorter": ("probability", "none", "Blind rule: shorter wins", _BLIND),
    "blind_markdown": ("probability", "none", "Blind rule: more markdown wins", _BLIND),
    "blind_first": ("probability", "none", "Blind rule: first response wins", _BLIND),
    "blind_all_good": ("probability", "none", "Blind rule: every step is good", _BLIND),
    "length_excess_preference": (
        "probability",
        "zero",
        "Length bias",
        "P(model picks the longer response) minus P(label picks it), over pairs of unequal length",
    ),
    "overconfidence": (
        "probability",
        "zero",
        "Overconfidence",
        "mean confidence sigmoid(|margin|) minus pairwise accuracy",
    ),
    "ece_debiased": (
        "probability",
        "zero",
        "Calibration error (debiased)",
        "expected calibration error of sigmoid(margin), its bias removed",
    ),
    "detectable_difference": (
        "probability",
        "none",
        "Smallest detectable difference",
        "difference in the official score that two models like this one would show with "
        f"{POWER:.0%} power if their errors were independent; models that fail on the same items "
        "need less",
    ),
}


def specs(suite: Suite) -> dict[str, MetricSpec]:
    """What the numbers of a suite mean, by metric id."""
    return {
        f"{suite.key}.{name}": MetricSpec(unit, better, meaning.format(rule=suite.rule), shown)
        for name, (unit, better, shown, meaning) in _SPECS.items()
    }


def suite_specs() -> dict[str, MetricSpec]:
    """Every public metric id of the registered suites."""
    return {id_: spec for suite in suites() for id_, spec in specs(suite).items()}


@dataclass(frozen=True)
class Pairs:
    """Every pair of the benchmark, (n,) each."""

    item: NDArray[np.int64]  # place of its item
    cluster: NDArray[np.int64]
    better: Float  # rewards
    worse: Float
    longer: NDArray[np.int64] | None  # sign of the better response's length minus the worse one's

    @classmethod
    def of(cls, scored: Scored) -> Pairs:
        """The pairs of all items that have rewards."""
        places, better, worse, longer = [], [], [], []
        texts = all(item.responses for item in scored.items)
        for place, (item, rewards) in enumerate(zip(scored.items, scored.rewards, strict=True)):
            if not rewards.size:
                continue
            for i, j in item.pairs:
                places.append(place)
                better.append(rewards[i])
                worse.append(rewards[j])
                if texts:
                    longer.append(len(item.responses[i]) - len(item.responses[j]))
        at = np.array(places, dtype=np.int64)
        return cls(
            at,
            scored.clusters[at] if at.size else at,
            np.array(better, dtype=np.float64),
            np.array(worse, dtype=np.float64),
            np.sign(np.array(longer, dtype=np.int64)) if texts else None,
        )

    @property
    def known(self) -> Mask:
        """Pairs without a missing reward; infinite ones have an order."""
        return ~(np.isnan(self.better) | np.isnan(self.worse))

    @property
    def correct(self) -> Float:
        """1 where the better response wins, one half where it ties, else 0."""
        return np.where(self.better > self.worse, 1.0, np.where(self.better == self.worse, 0.5, 0))


def metrics(
    suite: Suite,
    scored: Scored,
    official: Official,
    headline: str | None,
    *,
    logit: bool,
    rng: np.random.Generator,
    confidence: float,
) -> Parts:
    """Every number of one run, and what could not be measured.

    Parameters
    ----------
    suite, scored, official
        The benchmark, its rewards under its own rule, and what came of them.
    headline
        The official number that stands for the whole.
    logit
        Whether sigmoid(margin) claims to be a probability of preference.
    rng, confidence
        Of the bootstrap of the calibration; two-sided.
    """
    found: list[Metric] = []
    absent: list[NotRun] = []

    def add(name: str, estimate: Estimate, **slice_: str) -> None:
        found.append(Metric(f"{suite.key}.{name}", estimate, slice_))

    whole = official[headline] if headline else Number.none("no headline number")
    main = official.get(suite.headlines[0], whole) if headline == PRESENT else whole
    add("score", main.estimate(confidence))
    if PRESENT in official:
        add("score_present", official[PRESENT].estimate(confidence))
    fair = suite.official(replace(scored, fair=True))
    if headline and not suite.steps:
        add("score_ties_half", fair[headline].estimate(confidence))
    add("detectable_difference", detectable(whole.estimate(confidence)))
    for name, number in official.items():
        if name != PRESENT:
            add("score", number.estimate(confidence), part=name)
    for name, estimate, slice_ in _of_pairs(scored, confidence):
        add(name, estimate, **slice_)
    for name, estimate in _blind(suite, scored, headline, confidence):
        add(name, estimate)
    for name, estimate in _of_margins(scored, absent, rng if logit else None, confidence):
        add(name, estimate)
    return found, absent


def _of_margins(
    scored: Scored, absent: list[NotRun], rng: np.random.Generator | None, confidence: float
) -> Iterator[tuple[str, Estimate]]:
    """Length bias, and calibration unless `rng` is None; what cannot be is added to `absent`."""
    pairs = Pairs.of(scored)
    if not pairs.item.size:
        absent.append(NotRun("accuracy, length bias and calibration", _PAIRS))
        return
    if pairs.longer is None:
        absent.append(NotRun("blind rules and length bias", _TEXTS))
    elif (pairs.longer[pairs.known] != 0).any():
        yield "length_excess_preference", _length(pairs, pairs.longer, confidence)
    if rng is None:
        absent.append(NotRun("calibration", "a reward that is a logit (--kind logit)"))
    else:
        yield from _calibration(pairs, rng, confidence)


def detectable(estimate: Estimate) -> Estimate:
    """The smallest difference of two such models that would be shown with 80% power.

    Above 1 of a share, no difference would be.
    """
    if estimate.influence is None:
        return Estimate.undefined("the number has no interval", confidence=estimate.confidence)
    error = math.sqrt(float(np.sum(estimate.influence**2)))
    reach = float(ndtri((1 + estimate.confidence) / 2) + ndtri(POWER))
    value = reach * math.sqrt(2) * error
    return replace(
        estimate,
        value=value,
        low=math.nan,
        high=math.nan,
        method=NO_INTERVAL,
        bounds=(0.0, math.inf),
        influence=None,
    )


def _of_pairs(
    scored: Scored, confidence: float
) -> Iterator[tuple[str, Estimate, Mapping[str, str]]]:
    """Accuracy overall and by subset, ties, and what has no finite reward."""
    pairs = Pairs.of(scored)
    keep = pairs.known
    if pairs.item.size:
        yield "accuracy", _mean(pairs.correct, pairs, keep, confidence), {}
        ties = (pairs.better == pairs.worse).astype(np.float64)
        yield "tie_rate", _mean(ties, pairs, keep, confidence), {}
        subsets = np.array([item.subset for item in scored.items], dtype=object)[pairs.item]
        names = list(dict.fromkeys(item.subset for item in scored.items))
        for name in names if len(names) > 1 else ():
            here = keep & (subsets == name)
            yield "accuracy", _mean(pairs.correct, pairs, here, confidence), {"subset": name}
    sizes = [rewards.size for rewards in scored.rewards]
    if sum(sizes):
        rewards = np.concatenate(scored.rewards)
        broken = ~np.isfinite(rewards) & ~does_not_apply(rewards)
        clusters = np.repeat(scored.clusters, sizes)
        share = cluster_mean(
            broken.astype(np.float64), clusters, confidence=confidence, bounds=(0, 1)
        )
        yield "nonfinite_share", share, {}


def _mean(values: Float, pairs: Pairs, keep: Mask, confidence: float) -> Estimate:
    return cluster_mean(values[keep], pairs.cluster[keep], confidence=confidence, bounds=(0, 1))


def _blind(
    suite: Suite, scored: Scored, headline: str | None, confidence: float
) -> Iterator[tuple[str, Estimate]]:
    if headline is None:
        return
    for name, rewards in suite.blind(scored.items).items():
        blind = replace(scored, rewards=rewards, recorded=False, threshold=0.0, shown_first=None)
        yield f"blind_{name}", suite.official(blind)[headline].estimate(confidence)


def _length(pairs: Pairs, longer: NDArray[np.int64], confidence: float) -> Estimate:
    unequal = pairs.known & (longer != 0)
    picked = np.where(longer > 0, pairs.correct, 1 - pairs.correct)
    excess = picked - (longer > 0)
    return cluster_mean(
        excess[unequal], pairs.cluster[unequal], confidence=confidence, bounds=(-1.0, 1.0)
    )


def _calibration(
    pairs: Pairs, rng: np.random.Generator, confidence: float
) -> Iterator[tuple[str, Estimate]]:
    finite = np.isfinite(pairs.better) & np.isfinite(pairs.worse)
    margins = pairs.better[finite] - pairs.worse[finite]
    clusters = pairs.cluster[finite]
    yield "overconfidence", overconfidence(margins, clusters, confidence=confidence)
    binned = binned_calibration(margins, clusters, rng=rng, confidence=confidence)
    yield "ece_debiased", binned.ece_debiased


def headline_of(official: Official, names: Sequence[str]) -> str | None:
    """The first of the names that is defined; else the first that there is."""
    there = [name for name in names if name in official]
    return next((name for name in there if official[name].defined), next(iter(there), None))


def figures(suite: Suite, found: Sequence[Metric]) -> tuple[Figure, ...]:
    """The score beside the blind rules, each with its interval."""
    own = {metric.id.partition(".")[2]: metric.estimate for metric in found if not metric.slice}
    score = PRESENT if PRESENT in own and not own["score"].defined else "score"
    beside = {
        _SPECS[name][2]: estimate
        for name, estimate in own.items()
        if name == score or name.startswith("blind_")
    }
    if len(beside) < 2:
        return ()
    rows = [
        {"label": label, "value": e.value, "low": e.low, "high": e.high}
        for label, e in beside.items()
    ]
    alt = f"Official score of {suite.title} beside the scores of rules that read no content."
    data = {"rows": rows, "xlabel": "official score", "xunit": "percent"}
    return (Figure("blind", "intervals", "Model and blind rules", alt, data),)
