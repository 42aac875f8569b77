"""First-error localisation, pay for the number of steps, and attacks on the aggregate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.draw import row_order
from rmaudit.audits.common.pairs import Unit, standardized
from rmaudit.audits.process.solutions import ATTACKS, Solution, half, separator, split
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Column, Request, Scores
from rmaudit.stats.bootstrap import cluster_bootstrap, cluster_sums
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Float, Integers

AUDIT = "process"
MOST = 100  # solutions with a wrong step, and without, that are edited


@dataclass(frozen=True)
class Localised:
    """How well the first reward at or below a threshold finds the first wrong step."""

    threshold: float
    f1: Estimate
    wrong: Estimate  # solutions with a wrong step: its exact place
    right: Estimate  # solutions without one: none is named
    over_guess: Estimate  # of `wrong`, less one over the number of steps
    predicted: Integers  # by solution; -1: none


@dataclass(frozen=True)
class Attacked:
    """What an edit of whole solutions does to their reward."""

    effect: Estimate  # SD
    success: Estimate  # wrong solutions that were refused and then pass
    passed: tuple[int, ...]  # which of those asked
    after: Float  # of those asked
    before: Float


def values_of(column: Column, reading: str | None) -> Float:
    """The reward, or one of its readings."""
    return column.reward if reading is None else column.components[reading]


def prefix_rewards(scores: Scores, reading: str | None) -> Float:
    """Of the evaluation data's rows, (n_rows,)."""
    return values_of(scores.column("output"), reading)


def localised(case: Case, found: Sequence[Solution], rewards: Float) -> Localised:
    """By the threshold with the highest F1 on one half of the prompts, on the other half.

    A solution with a step that has no reward takes no part: nothing was said of that step.
    """
    first_half = half(case, found)
    by_solution = [rewards[list(each.rows)] for each in found]
    known = np.array([bool(np.isfinite(each).all()) for each in by_solution])
    searched, report = first_half & known, ~first_half & known
    truth = np.array([each.first_wrong for each in found])
    candidates = np.unique(np.concatenate([r[np.isfinite(r)] for r in by_solution]))
    if candidates.size > 200:
        candidates = np.quantile(candidates, np.linspace(0, 1, 200))
    candidates = np.concatenate([[-np.inf], candidates])
    tried = [_f1(_named(by_solution, t)[searched], truth[searched]) for t in candidates]
    threshold = float(candidates[int(np.argmax(tried))])
    predicted = _named(by_solution, threshold)
    codes = case.clusters[[each.whole for each in found]]
    exact = (predicted == truth).astype(np.float64)
    is_wrong = truth >= 0
    guess = np.array([1 / len(each.rows) for each in found])

    def mean(which: np.ndarray, values: Float, low: float = 0.0) -> Estimate:
        kept = which & report
        bounds = (low, 1.0)
        return cluster_mean(values[kept], codes[kept], confidence=case.confidence, bounds=bounds)

    return Localised(
        threshold,
        _f1_estimate(case, exact[report], is_wrong[report], codes[report]),
        mean(is_wrong, exact),
        mean(~is_wrong, exact),
        mean(is_wrong, exact - guess, -1.0),
        predicted,
    )


def _named(by_solution: Sequence[Float], threshold: float) -> Integers:
    """The first step whose reward is at or below a threshold, by solution; -1 for none."""
    places = []
    for rewards in by_solution:
        low = np.flatnonzero(rewards <= threshold)
        places.append(int(low[0]) if low.size else -1)
    return np.array(places)


def _f1(predicted: Integers, truth: Integers) -> float:
    exact, wrong = predicted == truth, truth >= 0
    if not wrong.any() or wrong.all():
        return 0.0
    a, b = float(exact[wrong].mean()), float(exact[~wrong].mean())
    return 2 * a * b / (a + b) if a + b else 0.0


def _f1_estimate(case: Case, exact: Float, wrong: np.ndarray, codes: Integers) -> Estimate:
    """Harmonic mean of both accuracies, by bootstrap over prompts."""
    if not wrong.any() or wrong.all():
        reason = "needs solutions with a wrong step, and without one, in each half"
        return Estimate.undefined(reason, n=len(exact), confidence=case.confidence)
    codes = np.unique(codes, return_inverse=True)[1]
    parts = np.stack([exact * wrong, wrong * 1.0, exact * ~wrong, ~wrong * 1.0], axis=1)
    sums = cluster_sums(parts, codes)  # (n_prompts, 4)

    def statistic(weights: Float) -> Float:
        hits, of, kept, without = (weights @ sums).T
        with np.errstate(invalid="ignore", divide="ignore"):
            a, b = hits / of, kept / without
            return np.where(a + b > 0, 2 * a * b / (a + b), np.where(np.isfinite(a + b), 0, np.nan))

    return cluster_bootstrap(
        statistic,
        len(sums),
        n=len(exact),
        resamples=case.resamples,
        rng=case.rng("process.f1"),
        confidence=case.confidence,
    )


def asked(case: Case, found: Sequence[Solution]) -> list[int]:
    """Which solutions are edited: at most `MOST` with a wrong step and as many without."""
    turn = np.argsort(row_order(case.eval, case.seed))
    order = np.argsort(turn[[each.whole for each in found]]).tolist()
    wrong = [k for k in order if found[k].first_wrong >= 0][:MOST]
    return wrong + [k for k in order if found[k].first_wrong < 0][:MOST]


def requests(case: Case, found: Sequence[Solution]) -> list[Request]:
    """One column an edit."""
    frame, between = case.eval.frame, separator(case)
    rows = [found[k].whole for k in asked(case, found)]
    ids, prompts = frame["id"].tolist(), frame["prompt"].tolist()
    return [
        Request(
            name,
            [ids[row] for row in rows],
            [prompts[row] for row in rows],
            edited(case, found, name, between),
            AUDIT,
        )
        for name in ATTACKS
    ]


def edited(case: Case, found: Sequence[Solution], name: str, between: str) -> list[str]:
    """The edited solutions, in the order of `asked`."""
    return [between.join(ATTACKS[name](found[k].steps)) for k in asked(case, found)]


def attacked(
    case: Case,
    found: Sequence[Solution],
    scores: Scores,
    reading: str | None,
    threshold: float,
) -> dict[str, Attacked]:
    """By edit: the change of reward, and wrong solutions that were refused and then pass."""
    places = asked(case, found)
    rewards = prefix_rewards(scores, reading)
    whole = np.array([rewards[found[k].whole] for k in places])
    unit = unit_of(case, found, rewards)
    codes = case.clusters[[found[k].whole for k in places]]
    wrong = np.array([found[k].first_wrong >= 0 for k in places])
    done = {}
    for name in ATTACKS:
        after = values_of(scores.column(name, audit=AUDIT), reading)
        there = np.isfinite(whole) & np.isfinite(after)
        refused = there & wrong & (whole <= threshold)
        passes = refused & (after > threshold)
        done[name] = Attacked(
            _in_units((after - whole)[there], np.ones(int(there.sum())), codes[there], unit, case),
            cluster_mean(
                passes[refused].astype(np.float64),
                codes[refused],
                confidence=case.confidence,
                bounds=(0, 1),
            ),
            tuple(np.flatnonzero(passes).tolist()),
            after,
            whole,
        )
    return done


def pay_per_step(
    case: Case, found: Sequence[Solution], scores: Scores, reading: str | None
) -> Estimate:
    """Change of reward per added step, where each step of a correct solution is split; SD."""
    places = asked(case, found)
    rewards = prefix_rewards(scores, reading)
    whole = np.array([rewards[found[k].whole] for k in places])
    after = values_of(scores.column("split", audit=AUDIT), reading)
    added = np.array([len(split(found[k].steps)) - len(found[k].steps) for k in places])
    kept = np.isfinite(whole) & np.isfinite(after) & (added > 0)
    kept &= np.array([found[k].first_wrong < 0 for k in places])
    codes = case.clusters[[found[k].whole for k in places]]
    return _in_units(
        (after - whole)[kept],
        added[kept].astype(np.float64),
        codes[kept],
        unit_of(case, found, rewards),
        case,
    )


def unit_of(case: Case, found: Sequence[Solution], rewards: Float) -> Unit:
    """The SD of the rewards of whole solutions, over all prompts, with its sampling error."""
    whole = np.array([each.whole for each in found], dtype=np.int64)
    whole = whole[np.isfinite(rewards[whole])]
    square = (rewards[whole] - rewards[whole].mean()) ** 2 if whole.size else np.zeros(0)
    return Unit(square, np.ones(whole.size), case.clusters[whole])


def _in_units(change: Float, per: Float, codes: Integers, unit: Unit, case: Case) -> Estimate:
    """A ratio of sums in SDs; the interval knows that the SD is estimated."""
    if len(change) and unit.missing:
        reason = "the reward is the same for all whole solutions"
        return Estimate.undefined(reason, n=len(change), confidence=case.confidence)
    return standardized(change, per, codes, unit, confidence=case.confidence)
