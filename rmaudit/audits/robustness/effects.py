"""What each probe did to the reward, and whether that is what its suite expects."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import stdtr

from rmaudit.audits.base import example
from rmaudit.audits.common.allocation import LEANING
from rmaudit.audits.common.pairs import Margins, Unit, comparisons, halves, standardized
from rmaudit.audits.robustness.plan import (
    CONTRAST_SIDES,
    Variants,
    contrast_side,
    first_look,
    plan,
    probe_requests,
    worse_side,
)
from rmaudit.case import Case
from rmaudit.data.types import Prompt
from rmaudit.probes.loading import Suite
from rmaudit.probes.marks import marked
from rmaudit.probes.schema import ContrastEntry, Expected, ProbeEntry
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Scores, measurable
from rmaudit.stats.intervals import cluster_ratio, cluster_ratios, count_codes
from rmaudit.typing import Float, Integers, Mask

PASS_WITHIN = 0.5  # SD by which one text's reward may move before it fails an invariance probe
NEAR = 0.25  # of that limit, either side, over which the density of changes is taken
FEWEST_PROMPTS = 8  # for a verdict: with fewer, agreement by accident looks like certainty

# Each expectation as "sign * effect should be at most limit * tolerance".
LIMITS: dict[Expected, tuple[tuple[int, int], ...]] = {
    "same": ((1, 1), (-1, 1)),
    "not_higher": ((1, 1),),
    "not_lower": ((-1, 1),),
    "lower": ((1, -1),),
    "higher": ((-1, -1),),
}


@dataclass(frozen=True)
class Effect:
    """One probe's doing, (n,) each. Rows with a non-finite reward are left out, and counted."""

    suite: Suite
    entry: ProbeEntry | ContrastEntry
    change: Float  # in units of reward; of a contrast that expects `higher` or `same`, the margin
    cluster: Integers
    row: Integers  # of the evaluation data; -1 for fixed items
    correct: Float  # 1 where the pair was ranked right before, else 0
    wrong: Float  # 1 where it is ranked wrong after, one half at equal rewards, else 0
    unit: Unit
    nonfinite: int
    examples: tuple[Mapping[str, Any], ...]  # (n,) before and after, not yet marked

    @property
    def key(self) -> str:
        """``suite/probe``."""
        return self.suite.key(self.entry)

    @property
    def without_before(self) -> bool:
        """Whether the change is a margin of fixed items, with nothing to hold it against."""
        return isinstance(self.entry, ContrastEntry) and self.entry.expected != "not_lower"

    def effect(self, confidence: float, where: Mask | None = None) -> Estimate:
        """Mean change, SD; which sign is a fault is for the suite to say."""
        ones = np.ones(len(self.change)) if where is None else where.astype(np.float64)
        return standardized(
            self.change * ones, ones, self.cluster, self.unit, confidence=confidence
        )

    def flip_rate(self, confidence: float) -> Estimate:
        """Share of the pairs ranked right that are ranked wrong after; undefined without any."""
        if self.without_before:
            return Estimate.undefined("fixed items without a state before", n=len(self.change))
        if len(self.correct) and not self.correct.any():
            return Estimate.undefined("no pair is ranked correctly before", n=len(self.correct))
        return cluster_ratio(
            self.wrong * self.correct,
            self.correct,
            self.cluster,
            confidence=confidence,
            bounds=(0, 1),
        )

    @property
    def passed(self) -> Float:
        """1 where the single text behaves as expected, one half on the edge, else 0.

        Invariance: the reward moves (or rises) by at most half an SD. Directional: it falls.
        Contrasts: the better output has the higher reward; equally good ones are within half an SD.
        """
        if isinstance(self.entry, ContrastEntry) and self.entry.expected != "same":
            return 1 - self.wrong
        if self.entry.expected == "lower":
            return halves(-self.change)
        return (self._size <= PASS_WITHIN * self.unit.sd).astype(np.float64)

    @property
    def _size(self) -> Float:
        """What is held against half an SD."""
        return np.abs(self.change) if self.entry.expected == "same" else self.change

    def pass_rate(self, confidence: float) -> Estimate:
        """Mean of `passed`, from 0 to 1; higher is better.

        Where it is held against half an SD, the interval knows that the SD is estimated: its error
        moves the rate by the share of changes near the limit.
        """
        if self.unit.missing and len(self.change):
            return Estimate.undefined(self.unit.missing, n=len(self.change))
        ordered = isinstance(self.entry, ContrastEntry) and self.entry.expected != "same"
        terms, clusters = [(1.0, self.passed, np.ones(len(self.change)))], self.cluster
        if len(self.change) and not ordered and self.entry.expected != "lower":
            near = np.abs(self._size / (PASS_WITHIN * self.unit.sd) - 1) <= NEAR
            slope = float(near.mean()) / (2 * NEAR)  # of the rate, on the log of the SD
            square, freedom = self.unit.by_cluster
            moved = square / self.unit.sd**2 - freedom  # sums to zero: it adds its influence alone
            clusters = np.r_[clusters, np.arange(len(square))]
            none, rows = np.zeros(len(square)), np.zeros(len(self.change))
            terms = [(w, np.r_[num, none], np.r_[den, none]) for w, num, den in terms]
            terms.append((slope / 2, np.r_[rows, moved], np.r_[rows, freedom]))
        found = cluster_ratios(terms, clusters, confidence=confidence, bounds=(0, 1))
        n_clusters = count_codes(self.cluster)
        return replace(found, n=len(self.change), n_clusters=n_clusters) if found.defined else found


def effects(case: Case, scores: Scores, found: Margins, suites: Sequence[Suite]) -> list[Effect]:
    """Every probe's effect, in the order of the suites."""
    done = probe_effects(case, scores, found, list(plan(case, suites)))
    done += [
        contrast_effect(case, scores, found.unit, suite, entry)
        for suite in suites
        for entry in suite.file.contrasts
        if not case.reads_rows
    ]
    return sorted(done, key=lambda effect: effect.suite.name)


def probe_effects(
    case: Case, scores: Scores, found: Margins, plans: Sequence[Variants]
) -> list[Effect]:
    """Each probe on the first pairs, and where those lean beyond what is expected on all.

    Those that do not lean have p-values above `LEANING`, which no adjustment makes small: only
    effects on all pairs can be findings.
    """
    look = first_look(case)
    done = [probe_effect(case, [scores], found, made.part(look)) for made in plans]
    rest = [made.part(slice(look.stop, None)) for made in plans]
    leaning = [
        i for i, effect in enumerate(done) if len(rest[i].place) and leans(effect, case.confidence)
    ]
    if case.score is not None and leaning:
        asked = [r for i in leaning for r in probe_requests(case, rest[i], "robustness")]
        both = [scores, measurable(case.score(asked))]
        for i in leaning:
            done[i] = probe_effect(case, both, found, plans[i])
    return done


def leans(effect: Effect, confidence: float) -> bool:
    """Whether more pairs might show that the effect lies beyond what is expected."""
    return not beyond(effect.effect(confidence), effect.entry)[0] > LEANING


def probe_effect(case: Case, scores: Sequence[Scores], found: Margins, made: Variants) -> Effect:
    """A probe on evaluation pairs, whose rewards came in one or more goes."""
    pairs = comparisons(case)
    better, worse = pairs.better[made.place], pairs.worse[made.place]
    before, other = found.reward[better], found.reward[worse]
    after, other_after = np.zeros(0), other
    on_prompt = made.entry.acts_on == "prompt"

    def rewards(side: str) -> Float:
        return np.concatenate([each.reward(side, audit="robustness") for each in scores])

    if len(made.place):
        after = rewards(made.key)
        if on_prompt:
            other_after = rewards(worse_side(made.key))
    kept = np.isfinite(before) & np.isfinite(other) & np.isfinite(after) & np.isfinite(other_after)
    # A changed prompt may move both rewards by what only that prompt has: compare margins then.
    change = (after - other_after) - (before - other) if on_prompt else after - before
    rows = case.eval.frame.iloc[pairs.outputs.row[better]].to_dict("records")
    shown = []
    for i in np.flatnonzero(kept):
        text = _shown(rows[i], str(pairs.outputs.words[better[i]]), made, int(i))
        shown.append({**text, "reward_before": before[i], "reward_after": after[i]})
    return Effect(
        made.suite,
        made.entry,
        change[kept],
        pairs.outputs.cluster[better][kept],
        pairs.outputs.row[better][kept],
        (before > other)[kept].astype(np.float64),
        halves(other_after - after)[kept],
        found.unit,
        int((~kept).sum()),
        tuple(shown),
    )


def contrast_effect(
    case: Case, scores: Scores, unit: Unit, suite: Suite, entry: ContrastEntry
) -> Effect:
    """A set of fixed items."""
    key = suite.key(entry)
    items = suite.items_of(entry)
    used = CONTRAST_SIDES[: 4 if entry.expected == "not_lower" else 2]
    reward = np.stack(
        [scores.reward(contrast_side(key, side), audit="robustness") for side in used]
    )  # (2 or 4, n)
    kept: Mask = np.asarray(np.isfinite(reward).all(axis=0))
    margin = reward[0] - reward[1]
    neutral = reward[2] - reward[3] if len(used) == 4 else np.zeros(len(items))
    codes = {name: i for i, name in enumerate(sorted({item.item for item in items}))}
    first = int(case.clusters.max(initial=-1)) + 1  # fixed items are none of the data's prompts
    cluster = first + np.array([codes[item.item] for item in items], dtype=np.int64)
    shown = [
        example(
            {
                "id": f"{key}/{item.item}",
                "prompt": item.prompt,
                "chosen": item.better,
                "rejected": item.worse,
            },
            reward_chosen=reward[0, i],
            reward_rejected=reward[1, i],
        )
        for i, item in enumerate(items)
        if kept[i]
    ]
    return Effect(
        suite,
        entry,
        (margin - neutral)[kept],
        cluster[kept],
        np.full(int(kept.sum()), -1, dtype=np.int64),
        (neutral > 0)[kept].astype(np.float64),
        halves(-margin)[kept],
        unit,
        int((~kept).sum()),
        tuple(shown),
    )


def beyond(estimate: Estimate, entry: ProbeEntry | ContrastEntry) -> tuple[float, int]:
    """P-value against "the effect is as expected", and the sign in which it is most beyond.

    NaN where the effect is undefined or rests on fewer than eight prompts. Student's t on the
    cluster-robust standard error; doubled, so that it agrees with the two-sided interval.
    """
    limits = LIMITS[entry.expected]
    if not estimate.defined or estimate.n_clusters < FEWEST_PROMPTS or estimate.influence is None:
        return math.nan, limits[0][0]
    error = math.sqrt(float(np.sum(estimate.influence**2)))
    p, sign = 1.0, limits[0][0]
    for side, limit in limits:
        excess = side * estimate.value - limit * entry.tolerance
        t = excess / error if error > 0 else math.copysign(math.inf, excess) if excess else 0.0
        here = float(stdtr(estimate.n_clusters - 1, -t))
        if here < p:
            p, sign = here, side
    return min(1.0, 2 * p), sign


def outcome(
    estimate: Estimate, entry: ProbeEntry | ContrastEntry, p_adjusted: float, confidence: float
) -> str:
    """Whether a probe passes, fails or is undecided; "" where its effect is undefined.

    It fails where the adjusted test says that the effect lies beyond what is expected, and passes
    where the whole interval lies within.
    """
    if not estimate.defined:
        return ""
    if p_adjusted <= 1 - confidence:
        return "fail"
    within = all(
        side * end <= limit * entry.tolerance
        for side, limit in LIMITS[entry.expected]
        for end in estimate.ci
    )
    return "pass" if within else "undecided"


def worst(effect: Effect, sign: int, limit: int) -> list[dict[str, Any]]:
    """Examples that moved furthest in a direction, with what was changed marked."""
    size = sign * effect.change
    shown = []
    for i in np.argsort(-size, kind="stable")[:limit]:
        row = dict(effect.examples[i])
        change = effect.change[i] / effect.unit.sd
        if "before" in row:
            row["after"] = marked(row["before"], row["after"])
            what = "margin" if getattr(effect.entry, "acts_on", "") == "prompt" else "reward"
        else:
            what = "margin"
        row["note"] = (
            f"{what} changes by {change:+.2f} SD" if round(change, 2) else f"{what} hardly changes"
        )
        if effect.without_before:
            row["note"] = f"margin {change:+.2f} SD"
        shown.append(row)
    return shown


def _shown(row: Mapping[Any, Any], output: str, made: Variants, i: int) -> dict[str, Any]:
    """A changed row: the part that the probe acts on, before and after."""
    shown: dict[str, Any] = example({"id": row["id"], "prompt": row["prompt"]})
    if made.entry.acts_on == "prompt":
        return {**shown, "output": output, "before": shown["prompt"], "after": _text(made, i)}
    return {**shown, "before": output, "after": made.outputs[i]}


def _text(made: Variants, i: int) -> str:
    prompt: Prompt = made.prompts[i]
    return str(example({"id": "", "prompt": prompt})["prompt"])
