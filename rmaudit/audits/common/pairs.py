"""The comparisons in the evaluation data, and their margins: what several audits measure on.

Pairs are pairs; rankings, ratings and labels become all pairs of outputs of one prompt of which one
is preferred. This module registers no audit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import example
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.memoize import memoize
from rmaudit.case import Case
from rmaudit.data.codes import text_codes
from rmaudit.data.types import prompt_key
from rmaudit.order import natural
from rmaudit.results import Estimate
from rmaudit.rewards.base import does_not_apply
from rmaudit.scoring.requests import Scores
from rmaudit.stats.intervals import cluster_ratios, count_codes
from rmaudit.typing import Float, Integers, Mask

LABELLED = ("preference", "ranking", "rating", "unpaired")
LARGEST = 1e100  # of a reward; squares and differences of larger ones may overflow
MOST_OUTPUTS = 50  # of one prompt, beyond which a sample is compared: pairs grow with the square
MOST_SLICES = 100  # of one column, the largest


def lacks_labels(case: Case) -> str | None:
    """Why an audit that needs to know the better response cannot run; None where it can."""
    if case.eval.type in LABELLED:
        return None
    return f"needs pairs, rankings, ratings or labels in --eval, not {case.eval.type}"


def lacks_pairs(case: Case) -> str | None:
    """Why an audit that needs a chosen and a rejected response a row cannot run, if it cannot."""
    if case.eval.type == "preference":
        return None
    return f"needs pairs (chosen and rejected) in --eval, not {case.eval.type}"


@dataclass(frozen=True)
class Outputs:
    """Every output of the evaluation data, (m,) each, side by side as in `Case.data_requests`."""

    row: Integers  # place in the evaluation data
    prompt: Integers  # codes; rewards mean something only inside a prompt
    cluster: Integers  # the unit of resampling: `Case.clusters`
    text: Integers  # codes of (prompt, output): equal where nothing differs
    words: NDArray[np.object_]  # the output itself

    def distinct(self, among: Mask) -> Integers:
        """The first place of each different output of a prompt, of those `among` (m,)."""
        places = np.flatnonzero(among)
        return places[np.unique(self.text[places], return_index=True)[1]]

    def unit(self, reward: Float, distinct: Integers) -> Unit:
        """The unit of a reward, (m,), that is finite at the distinct places."""
        codes = np.unique(self.prompt[distinct], return_inverse=True)[1]
        counts = np.bincount(codes)
        square = deviations(reward[distinct], codes) ** 2
        return Unit(square, 1 - 1 / counts[codes], self.cluster[distinct])


@dataclass(frozen=True)
class Comparisons:
    """Which output is preferred to which: places in `outputs`, (n,) each. No rewards yet."""

    outputs: Outputs
    better: Integers
    worse: Integers
    tied: Mask  # labelled "no preference"; then better and worse mean nothing


@dataclass(frozen=True)
class Unit:
    """The pooled within-prompt SD of the reward, with what its sampling error needs.

    Each distinct output of a prompt counts once, however many pairs it is in.
    """

    square: Float  # squared deviation from the prompt's mean, (k,)
    freedom: Float  # degrees of freedom, summing to outputs - prompts, (k,)
    cluster: Integers

    @cached_property
    def sd(self) -> float:
        """In units of reward; 0 for a constant reward, NaN where no prompt has two outputs."""
        freedom = float(self.freedom.sum())
        return math.sqrt(float(self.square.sum()) / freedom) if freedom > 0 else math.nan

    @cached_property
    def by_cluster(self) -> tuple[Float, Float]:
        """Squares and freedom summed by cluster code."""
        square, freedom = (np.bincount(self.cluster, each) for each in (self.square, self.freedom))
        return square.astype(np.float64), freedom.astype(np.float64)

    @property
    def missing(self) -> str | None:
        """Why nothing can be given in SDs, where nothing can."""
        if math.isnan(self.sd):
            return "no prompt has two different responses with finite rewards"
        return None if self.sd > 0 else "the reward is the same for all responses of a prompt"


@dataclass(frozen=True)
class Margins:
    """Comparisons of which both rewards are finite, (n,) each."""

    outputs: Outputs
    reward: Float  # (m,), one per output; may be non-finite for outputs in no pair kept
    length: Integers  # (m,), in the unit of `Scores.length_unit`
    better: Integers
    worse: Integers
    tied: Mask
    distinct: Integers  # each distinct output with a finite reward once: places in `outputs`
    unit: Unit  # of the whole evaluation data, also after `take` and `on_rows`
    left_out: int  # comparisons without two finite rewards
    not_applicable: int = 0  # of these, those to which the reward does not apply

    def __len__(self) -> int:
        return len(self.better)

    @property
    def left_out_by_reason(self) -> dict[str, int]:
        """How many comparisons are left out, by why; the second only where there are any."""
        counts = {"left out: non-finite reward": self.left_out - self.not_applicable}
        if self.not_applicable:
            counts["left out: the reward does not apply"] = self.not_applicable
        return counts

    @cached_property
    def margin(self) -> Float:
        """Reward of the preferred output minus the other's, in the model's unit."""
        return self.reward[self.better] - self.reward[self.worse]

    @cached_property
    def correct(self) -> Float:
        """1 where the preferred output has the higher reward, one half at equal rewards, else 0."""
        return halves(self.margin)

    @property
    def cluster(self) -> Integers:
        """Codes of the unit of resampling."""
        return self.outputs.cluster[self.better]

    @property
    def row(self) -> Integers:
        """Places in the evaluation data: of the preferred output, where they differ."""
        return self.outputs.row[self.better]

    @cached_property
    def decided(self) -> Margins:
        """Without labelled ties."""
        return self.take(~self.tied)

    def take(self, keep: Mask) -> Margins:
        """Some comparisons, all outputs."""
        return replace(self, better=self.better[keep], worse=self.worse[keep], tied=self.tied[keep])

    def on_rows(self, rows: Mask) -> Margins:
        """The comparisons and outputs of some evaluation rows."""
        part = self.take(rows[self.row])
        return replace(part, distinct=self.distinct[rows[self.outputs.row[self.distinct]]])


def halves(difference: NDArray[Any]) -> Float:
    """1 where positive, one half at zero, else 0."""
    return np.where(difference == 0, 0.5, difference > 0)


def deviations(values: Float, codes: Integers) -> Float:
    """Values less their mean over the code, (n,); 0 where only rounding is left."""
    means = np.bincount(codes, values) / np.maximum(np.bincount(codes), 1)
    deviation = np.asarray(values - means[codes], dtype=np.float64)
    deviation[np.abs(deviation) <= 1e-12 * np.abs(values)] = 0.0
    return deviation


def comparisons(case: Case) -> Comparisons:
    """The pairs of the evaluation data, made from its labels alone.

    Ranking: all outputs of a row; equal ranks are labelled ties. Rating: all outputs of a prompt;
    equal ratings are labelled ties. Unpaired: each positive against each negative output of a
    prompt. Two equal texts are not compared there. Of a prompt with over 50 outputs, 50 drawn at
    random are.
    """
    outputs = every_output(case)
    if case.eval.type == "preference":
        n = len(case.eval)
        return Comparisons(outputs, np.arange(n), np.arange(n, 2 * n), case.eval.tied)
    level = label_level(case)
    context = outputs.row if case.eval.type == "ranking" else outputs.prompt
    first, second = _within(context, outputs.words, case.seed)
    differ = outputs.text[first] != outputs.text[second]
    if case.eval.type == "unpaired":
        differ &= level[first] != level[second]
    first, second = first[differ], second[differ]
    swap = level[first] < level[second]
    better, worse = np.where(swap, second, first), np.where(swap, first, second)
    return Comparisons(outputs, better, worse, level[first] == level[second])


def label_level(case: Case) -> Float:
    """How good each output of rankings, ratings or labels is said to be, (m,); higher is better."""
    levels = [side.level for side in case.eval.outputs()]
    return np.concatenate([np.zeros(0), *levels])


@memoize
def every_output(case: Case) -> Outputs:
    """All outputs of the evaluation data."""
    frame = case.eval.frame
    if "group" in frame:
        prompts = text_codes(prompt_key(prompt) for prompt in frame["prompt"])[0]
    else:
        prompts = case.clusters
    parts = [side.rows for side in case.eval.outputs()]
    row = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
    words = np.array([o for r in case.data_requests for o in r.outputs], dtype=object)
    codes = text_codes(words.tolist())[0]
    # Rows whose outputs are all empty hold rewards without texts, which are not one and the same.
    filled = np.bincount(row, words != "", len(frame)) > 0
    unknown = ~filled[row]
    codes[unknown] = int(codes.max(initial=0)) + 1 + np.arange(unknown.sum())
    text = prompts[row] * (int(codes.max(initial=0)) + 1) + codes
    return Outputs(row, prompts[row], case.clusters[row], text, words)


def margins(case: Case, scores: Scores) -> Margins:
    """The comparisons of the evaluation data with their rewards; non-finite ones are counted."""
    pairs = comparisons(case)
    columns = [scores.column(request.side) for request in case.data_requests]
    reward = np.concatenate([np.zeros(0), *(c.reward for c in columns)])
    length = np.concatenate([np.zeros(0, dtype=np.int64), *(c.output_tokens for c in columns)])
    finite = np.abs(reward) < LARGEST  # false for NaN too
    known = finite[pairs.better] & finite[pairs.worse]
    distinct = pairs.outputs.distinct(finite)
    inapplicable = does_not_apply(reward)
    inapplicable = inapplicable[pairs.better] | inapplicable[pairs.worse]
    return Margins(
        pairs.outputs,
        reward,
        length,
        pairs.better[known],
        pairs.worse[known],
        pairs.tied[known],
        distinct,
        pairs.outputs.unit(reward, distinct),
        int((~known).sum()),
        int(inapplicable.sum()),
    )


def standardized(
    numerator: Float,
    denominator: Float,
    clusters: Integers,
    unit: Unit,
    *,
    confidence: float = 0.95,
) -> Estimate:
    r"""Estimate ``sum(numerator) / sum(denominator)`` of rewards, in reward SDs, by prompt.

    Parameters
    ----------
    numerator, denominator, clusters
        (n,), finite; the numerator in units of reward, no denominator below zero.
    unit
        The SD of the evaluation data.

    Returns
    -------
    Estimate
        Unchanged by a change of the reward's scale, or of its level per prompt. Undefined without
        an SD, without rows or with one prompt.

    Notes
    -----
    The SD :math:`s` is estimated from the same prompts, so the interval linearises the quotient:
    :math:`d(R/s) = dR / s - R\,dV / (2 s^3)` with :math:`V = s^2`, itself a ratio of prompt totals.
    An interval that took the SD for known would be too wide where margins make up the SD, and too
    narrow for precise effects.
    """
    used = np.asarray(denominator) != 0
    n, n_clusters = int(used.sum()), count_codes(clusters[used])
    if n and unit.missing:
        return Estimate.undefined(unit.missing, n=n, n_clusters=n_clusters, confidence=confidence)
    if not n:
        return Estimate.undefined("no rows", confidence=confidence)
    ratio, sd = float(numerator.sum()) / float(denominator.sum()), unit.sd
    square, freedom = unit.by_cluster
    codes = np.arange(max(len(square), int(clusters.max()) + 1))
    own, per = (np.bincount(clusters, each, len(codes)) for each in (numerator, denominator))
    square, freedom = (np.pad(each, (0, len(codes) - len(each))) for each in (square, freedom))
    found = cluster_ratios(
        [(1 / sd, own, per), (-ratio / (2 * sd**3), square, freedom)], codes, confidence=confidence
    )
    # The second term is there for its influence only: its value is -ratio / (2 sd).
    return replace(shifted(found, ratio / (2 * sd)), n=n, n_clusters=n_clusters)


def shifted(estimate: Estimate, by: float) -> Estimate:
    """The estimate plus a constant."""
    return replace(
        estimate, value=estimate.value + by, low=estimate.low + by, high=estimate.high + by
    )


def near_end(estimate: Estimate) -> float:
    """Distance from zero to the interval; 0 where it holds zero, or is undefined."""
    return max(estimate.low, -estimate.high, 0.0) if estimate.defined else 0.0


def optional(value: float) -> float | None:
    """A plain number for figures; None where undefined."""
    return float(value) if math.isfinite(value) else None


def slices(case: Case, column: str) -> tuple[dict[str, Mask], int]:
    """Masks of the evaluation rows by value of a column, and how many small values are left out."""
    if column not in case.eval.frame:
        return {}, 0
    codes, names = pd.factorize(case.eval.frame[column].astype("str"))
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    largest = np.argsort(-sizes, kind="stable")[:MOST_SLICES]
    named = sorted(((str(names[i]), int(i)) for i in largest), key=lambda pair: natural(pair[0]))
    return {name: codes == code for name, code in named}, len(names) - len(largest)


def pair_examples(
    case: Case, found: Margins, worst: Float, note: Callable[[int], str] | None = None
) -> tuple[Mapping[str, Any], ...]:
    """Real rows for a finding: those with the largest `worst`, (n,), that are above -infinity."""
    shown = []
    for i in np.argsort(-worst, kind="stable")[: case.example_limit].tolist():
        if worst[i] == -np.inf:
            break
        better, worse = int(found.better[i]), int(found.worse[i])
        row = case.eval.frame.iloc[int(found.row[i])]
        shown.append(
            example(
                {
                    "id": row["id"],
                    "prompt": row["prompt"],
                    "chosen": found.outputs.words[better],
                    "rejected": found.outputs.words[worse],
                },
                reward_chosen=found.reward[better],
                reward_rejected=found.reward[worse],
                note="" if note is None else note(i),
            )
        )
    return tuple(shown)


def _within(context: Integers, words: NDArray[np.object_], seed: int) -> tuple[Integers, Integers]:
    """All pairs of places with one context; of large contexts, of a sample of their places."""
    large = np.bincount(context).max(initial=0) > MOST_OUTPUTS
    order = sample_order(words.tolist(), seed) if large else np.arange(len(context))
    order = order[np.argsort(context[order], kind="stable")]
    _, starts, counts = np.unique(context[order], return_index=True, return_counts=True)
    firsts, seconds = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for size in np.unique(counts[counts > 1]):
        kept = min(int(size), MOST_OUTPUTS)
        members = np.sort(order[starts[counts == size][:, None] + np.arange(kept)], axis=1)
        first, second = np.triu_indices(kept, k=1)
        firsts.append(members[:, first].ravel())
        seconds.append(members[:, second].ravel())
    return np.concatenate(firsts), np.concatenate(seconds)
