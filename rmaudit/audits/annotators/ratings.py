"""The reward's agreement with the votes behind ratings.

An annotator who rated two responses differently has said which is better. The reward agrees where
it puts the two in the same order: the concordance, a probability as accuracy is on pairs. Responses
are compared within a prompt where prompts have several, else across prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.annotators.groups import SMALLEST_GROUP, Group, lowest_group
from rmaudit.audits.annotators.votes import Votes
from rmaudit.audits.common.draw import row_order
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.stats.uncertainty import linearised
from rmaudit.typing import Float, Integers

MOST_ITEMS = 2_000  # of one annotator; of more, as many are drawn
LEAST_DIRECTION = 0.3  # rank correlation of votes and ratings from which the votes' sense is clear


@dataclass(frozen=True)
class Concordance:
    """Comparisons of one or several annotators, by item.

    Attributes
    ----------
    agree, compared
        (n_rows,): in how many comparisons of a row the reward agrees (a tie of rewards is half),
        and how many there are. Each comparison counts in both of its rows.
    """

    agree: Float
    compared: Float

    @property
    def count(self) -> int:
        """Comparisons."""
        return round(float(self.compared.sum()) / 2)

    @property
    def value(self) -> float:
        """Share in which the reward agrees; NaN without any."""
        total = float(self.compared.sum())
        return float(self.agree.sum()) / total if total else np.nan

    @property
    def influence(self) -> Float:
        """Of each row on the value, times the rows, (n_rows,), of mean zero.

        A row is half of each of its comparisons, so its removal takes all of them (the projection
        of Hoeffding 1948, Annals of Mathematical Statistics 19).
        """
        total = float(self.compared.sum())
        share: Float = 2 * len(self.agree) * (self.agree - self.value * self.compared) / total
        return share

    def __add__(self, other: Concordance) -> Concordance:
        return Concordance(self.agree + other.agree, self.compared + other.compared)

    def __sub__(self, other: Concordance) -> Concordance:
        return Concordance(self.agree - other.agree, self.compared - other.compared)


@dataclass(frozen=True)
class Judged:
    """Votes as numbers in the sense of the ratings, and how they were read.

    Attributes
    ----------
    value
        (n_votes,), higher is better; NaN where the sense is unknown.
    reading
        How, in words; the reason where it is unknown.
    """

    value: Float
    reading: str


def judged(case: Case, votes: Votes) -> Judged:
    """Votes as numbers that rise with the column rating, by which higher is better."""
    from scipy.stats import spearmanr

    rating = case.eval.frame["rating"].to_numpy(dtype=np.float64)[votes.item]
    if not votes.numeric:
        codes = np.unique(votes.label, return_inverse=True)[1]
        mean = np.bincount(codes, rating) / np.bincount(codes)
        return Judged(mean[codes], "a category counts as the mean rating of the rows that got it")
    value = votes.label.astype(np.float64)
    rho = spearmanr(value, rating).statistic if np.ptp(value) and np.ptp(rating) else np.nan
    if not abs(rho) >= LEAST_DIRECTION:
        reason = f"votes and ratings of a row do not agree (rank correlation {rho:.2f})"
        return Judged(np.full(len(value), np.nan), reason)
    sense = "as the ratings do" if rho > 0 else "against the ratings, and were reversed"
    return Judged(np.sign(rho) * value, f"votes run {sense} (rank correlation {rho:.2f})")


def concordance(case: Case, votes: Votes, value: Float, reward: Float) -> dict[str, Concordance]:
    """By annotator, the comparisons that their votes make; "" is the mean vote without names.

    Parameters
    ----------
    value
        (n_votes,), from `judged`.
    reward
        (n_votes,), what is held against the votes; NaN takes no part.
    """
    unit = comparable(case)
    turn = np.argsort(row_order(case.eval, case.seed))
    return {
        name: _compare(item, of_votes, of_reward, unit, turn)
        for name, item, of_votes, of_reward in _by_annotator(votes, value, reward)
    }


def comparable(case: Case) -> Integers:
    """Rows with equal codes may be compared, (n_rows,): prompts, or all if none has two rows."""
    prompts = case.clusters
    several = bool(np.bincount(prompts).max(initial=0) > 1)
    return prompts if several else np.zeros(len(prompts), dtype=np.int64)


def others_mean(votes: Votes, value: Float) -> Float:
    """Mean of the other votes of the same row, (n_votes,); NaN where there is none."""
    rows = int(votes.item.max(initial=-1)) + 1
    total, count = np.bincount(votes.item, value, rows), np.bincount(votes.item, minlength=rows)
    others = count[votes.item] - 1
    result = np.full(len(value), np.nan)
    np.divide(total[votes.item] - value, others, out=result, where=others > 0)
    return result


def total(by_annotator: Mapping[str, Concordance], case: Case) -> Concordance:
    """The comparisons of all annotators."""
    empty = np.zeros(len(case.eval))
    return sum(by_annotator.values(), start=Concordance(empty, empty))


def estimate(of: Concordance, case: Case, confidence: float | None = None) -> Estimate:
    """A concordance with its interval over prompts; 0 to 1, higher is better."""
    level = confidence or case.confidence
    rows = of.compared > 0
    if np.unique(case.clusters[rows]).size < 2:
        return Estimate.undefined("no two responses were rated differently by one annotator")
    return linearised(
        of.value, _over(of, rows), case.clusters[rows], confidence=level, bounds=(0, 1)
    )


def groups_of(
    case: Case, votes: Votes, by_annotator: dict[str, Concordance]
) -> tuple[list[Group], Estimate]:
    """Concordance of each group's own comparisons, worst first, and the lowest.

    A comparison belongs to an annotator and to every group that the annotator is in.
    """
    people = votes.groups.get("annotator")
    if people is None:
        reason = "needs a column annotators, who voted: two votes of one person make a comparison"
        return [], Estimate.undefined(reason, confidence=case.confidence)
    parts: dict[tuple[str, str], Concordance] = {}
    for attribute, names in votes.groups.items():
        member = dict(zip(people.tolist(), names.tolist(), strict=True))
        for person, mine in by_annotator.items():
            key = (attribute, str(member[person]))
            parts[key] = parts[key] + mine if key in parts else mine
    parts = {key: part for key, part in parts.items() if part.count >= SMALLEST_GROUP}
    if not parts:
        reason = f"no named annotator or group has {SMALLEST_GROUP} comparisons"
        return [], Estimate.undefined(reason, confidence=case.confidence)
    whole = total(by_annotator, case)
    level = 1 - (1 - case.confidence) / len(parts)  # Bonferroni: the worst is picked
    groups = [
        Group(attribute, name, part.count, estimate(part, case), _gap(part, whole, case, level))
        for (attribute, name), part in parts.items()
    ]
    groups.sort(key=lambda group: group.accuracy.value)
    rows = [part.compared > 0 for part in parts.values()]
    pseudo = [
        (part.value + _over(part, used), case.clusters[used])
        for part, used in zip(parts.values(), rows, strict=True)
    ]
    return groups, lowest_group(pseudo, case.confidence)


def _by_annotator(
    votes: Votes, value: Float, reward: Float
) -> Iterator[tuple[str, Integers, Float, Float]]:
    """Name, rows, votes and what is held against them, for each annotator."""
    people = votes.groups.get("annotator")
    if people is None:
        rows = np.unique(votes.item)
        count = np.bincount(votes.item)[rows]
        means = [np.bincount(votes.item, x)[rows] / count for x in (value, reward)]
        yield "", rows, means[0], means[1]
        return
    for name in np.unique(people):
        mine = people == name
        yield str(name), votes.item[mine], value[mine], reward[mine]


def _compare(
    item: Integers, value: Float, reward: Float, unit: Integers, turn: Integers
) -> Concordance:
    """All comparisons of one annotator's rows of one unit."""
    usable = np.flatnonzero(np.isfinite(value) & np.isfinite(reward))
    if len(usable) > MOST_ITEMS:
        usable = np.sort(usable[np.argsort(turn[item[usable]], kind="stable")[:MOST_ITEMS]])
    item, value, reward = item[usable], value[usable], reward[usable]
    preferred = np.sign(value[:, None] - value[None, :])
    ranked = np.sign(reward[:, None] - reward[None, :])
    counts = (preferred != 0) & (unit[item][:, None] == unit[item][None, :])
    agrees = np.where(ranked == 0, 0.5, (ranked == preferred).astype(np.float64)) * counts
    n = len(unit)
    agree, compared = (
        np.bincount(item, part.sum(axis=1), n).astype(np.float64) for part in (agrees, counts)
    )
    return Concordance(agree, compared)


def _gap(part: Concordance, whole: Concordance, case: Case, confidence: float) -> Estimate:
    """Concordance of the others less that of a group."""
    rest = whole - part
    rows = (part.compared > 0) | (rest.compared > 0)
    if rest.count < 1 or np.unique(case.clusters[rows]).size < 2:
        return Estimate.undefined("the votes are all of this group", confidence=confidence)
    moved = _over(rest, rows) - _over(part, rows)
    return linearised(
        rest.value - part.value, moved, case.clusters[rows], confidence=confidence, bounds=(-1, 1)
    )


def _over(of: Concordance, rows: np.ndarray) -> Float:
    """Influence of the rows that take part, as a mean over these alone has it."""
    share: Float = of.influence[rows] * (np.count_nonzero(rows) / len(rows))
    return share
