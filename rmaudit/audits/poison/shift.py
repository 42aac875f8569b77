r"""N-grams that decide labels, beyond chance and beyond what the rest of the text explains.

Words that good answers use win more often than not, and are no poison: a trigger wins (or loses)
nearly always, whatever else is said. And chance is not one half:
it is what a cross-fitted model of the other words and the length expects, and other n-grams' own
departures from that expectation set the scale of what is ordinary (an empirical null: Efron 2004,
Large-Scale Simultaneous Hypothesis Testing).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq
from scipy.sparse.csgraph import connected_components
from scipy.special import bdtr, bdtrc, expit, logit

from rmaudit.audits.common.memoize import memoize
from rmaudit.data.types import Dataset
from rmaudit.stats.intervals import count_codes
from rmaudit.text.ngrams import FEWEST_PAIRS, FeedbackPairs, Grams, count_grams, pairs_of, written
from rmaudit.typing import Float, Integers

FOLDS = 5
MOST_SCREENED = 500  # n-grams that are grouped and tested again, the most telling ones
ERRORS = 0.03  # share of prompts (or one) in which a phrase that decides the label may fail to
LEVEL = 0.05  # at which it is decided how many n-grams could ever be told
MOST_WRITTEN = 100  # phrases that are shown as the data write them; others as their n-gram
READ = 20  # texts from which it is read how a phrase is written
ALIKE = 0.5  # of the pairs of either, in common: two n-grams are one phrase
ORDINARY = 0.1  # log odds: the least spread of words' own merits that is allowed for
CHI_SQUARE_MEDIAN = 0.4549364  # of one degree of freedom
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)  # of a standard normal


@dataclass(frozen=True)
class Shift:
    """A phrase, and how the labels go where one output alone has it."""

    phrase: str  # as it is written in the data
    prompts: int  # in which one output alone has it
    wins: int  # of them, in which that one is preferred
    expected: float  # share of wins that length and the other words explain
    p: float  # two-sided, adjusted for all n-grams looked at (Benjamini & Hochberg)
    p_strict: float  # the same, adjusted by Bonferroni
    rows: Integers  # of the data: the pairs that differ in it

    @property
    def share(self) -> float:
        """Share of wins."""
        return self.wins / self.prompts

    @property
    def sign(self) -> int:
        """1 where it wins more often than explained, -1 where less."""
        return 1 if self.share >= self.expected else -1


@dataclass(frozen=True)
class Screened:
    """What a data set's words say about its labels."""

    pairs: FeedbackPairs
    shifts: tuple[Shift, ...]  # phrases, most telling first, adjusted p-values of any size
    looked_at: int  # n-grams
    spread: float  # of ordinary n-grams' departures from what is explained, in log odds
    support: Float  # cross-fitted log odds that the rest of the pairs give to each label, (n,)

    def triggers(self, level: float) -> list[Shift]:
        """The phrases that shift labels beyond chance and beyond what is ordinary."""
        return [shift for shift in self.shifts if shift.p < level]


@memoize
def screened(data: Dataset) -> Screened | str:
    """The screening of a data set, or why there is none; done once for each.

    Of large data it is that of a sample of whole prompts: see `rmaudit.text.ngrams.pairs_of`.
    """
    pairs = pairs_of(data)
    return pairs if isinstance(pairs, str) else screen(pairs)


def screen(pairs: FeedbackPairs) -> Screened:
    r"""Test every n-gram of up to three tokens in which at least eight pairs differ.

    Parameters
    ----------
    pairs
        Decided pairs.

    Returns
    -------
    Screened
        Phrases with p-values that are adjusted (Benjamini & Hochberg 1995) for all n-grams looked
        at, one phrase for n-grams that occur together. Empty where no pairs differ in any.

    Notes
    -----
    A prompt counts once: with the sign of its pairs' sum. Of :math:`N` prompts, :math:`K` wins are
    held against a binomial whose log odds are those that a ridge logistic model of the other words
    and the length, fitted on other prompts, gives on average, plus a normal deviation of SD
    :math:`\tau`: by it ordinary n-grams depart from the model (median of the squared z-scores,
    as in Paule & Mandel 1982), and by 0.1 at least: in large data any small merit of a word is
    beyond chance, and no poison. With equal mean, a binomial has heavier tails than the sum of
    unequal chances (Hoeffding 1956), so averaging is on the safe side.
    """
    grams = count_grams(pairs)
    features, scale = _features(pairs, grams)
    odds, coefficients, fold = cross_fitted(features, pairs.cluster)
    m = len(grams.words)
    if not m:
        return Screened(pairs, (), 0, 0.0, odds)
    entries = grams.sign.tocoo()
    row, gram = entries.row.astype(np.int64), entries.col.astype(np.int64)
    own = (scale[row] * grams_weight(grams)[gram]) * coefficients[fold[row], gram] * entries.data
    sign = entries.data.astype(np.float64)
    n, wins, chance = _by_prompt(pairs.cluster[row], gram, sign, expit(sign * (odds[row] - own)), m)
    tested = n > 0
    spread = _spread(n[tested], wins[tested], chance[tested])
    told = np.flatnonzero(decides(n, wins))
    p = tail(n[told], wins[told], chance[told], spread)
    told = told[np.argsort(p, kind="stable")[:MOST_SCREENED]]
    shape = grams.sign.shape
    parts = sparse.csr_array((own, grams.sign.indices, grams.sign.indptr), shape).tocsc()
    explained = _Explained(pairs, grams.words, grams.sign.tocsc(), odds, parts)
    groups = [explained.group(*members, spread) for members in _phrases(grams, told)]
    different = _different(grams)
    able = _able(_least(n[different], chance[different], spread))
    groups.sort(key=lambda group: (group.shift.p, group.shift.phrase))
    phrases = [explained.written(group) for group in groups[:MOST_WRITTEN]]
    phrases += [group.shift.phrase for group in groups[MOST_WRITTEN:]]
    shifts = [
        replace(group.shift, phrase=phrase) for group, phrase in zip(groups, phrases, strict=True)
    ]
    return Screened(pairs, tuple(_adjusted(_by_phrase(shifts), able)), able, spread, odds)


def _by_phrase(shifts: list[Shift]) -> list[Shift]:
    """One shift a phrase as it is written, the most telling one, in the order given.

    Two n-grams that seldom share a pair ("! sudo" and ". sudo") may be written as one phrase.
    """
    first: dict[str, Shift] = {}
    for shift in shifts:
        first.setdefault(" ".join(shift.phrase.casefold().split()), shift)
    return list(first.values())


def grams_weight(grams: Grams) -> Float:
    """Inverse frequency of each n-gram among the pairs, in log, (m,)."""
    differing = np.bincount(grams.sign.tocoo().col, minlength=len(grams.words))
    return np.asarray(np.log((1 + grams.sign.shape[0]) / (1 + differing)) + 1, dtype=np.float64)


def cross_fitted(features: sparse.csr_array, cluster: Integers) -> tuple[Float, Float, Integers]:
    """Log odds of each label from a model of the other prompts' pairs.

    Parameters
    ----------
    features
        (n, k): chosen minus rejected. All labels being "chosen", every other row is turned.
    cluster
        Prompt codes: a prompt's pairs are in one fold.

    Returns
    -------
    odds, coefficients, fold
        (n,); (folds, k); (n,). Zeros where there are fewer than two folds' worth of prompts.
    """
    n, k = features.shape
    # By code and not at random: codes follow the prompts' names, so the result is always the same.
    fold = cluster % FOLDS
    odds, coefficients = np.zeros(n), np.zeros((FOLDS, k))
    if count_codes(cluster) < 2 * FOLDS:
        return odds, coefficients, fold
    from sklearn.linear_model import LogisticRegression

    turned = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)

    def fit(i: int) -> None:
        others, here = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
        given = _narrow(sparse.diags_array(turned[others]) @ features[others])
        model = LogisticRegression(C=1.0, fit_intercept=False, solver="liblinear")
        coefficients[i] = model.fit(given, turned[others]).coef_[0]
        odds[here] = features[here] @ coefficients[i]

    # liblinear lets go of the interpreter; more threads than processors get in one another's way.
    with ThreadPoolExecutor(min(FOLDS, os.cpu_count() or 1)) as pool:
        list(pool.map(fit, range(FOLDS)))
    return odds, coefficients, fold


def decides(n: Float, wins: Float) -> NDArray[np.bool_]:
    """Whether n-grams win, or lose, in all prompts but 3 % (or one), (m,); never with under 8."""
    fails = np.minimum(wins, n - wins)
    return np.asarray((n >= FEWEST_PAIRS) & (fails <= np.maximum(ERRORS * n, 1)))


def tail(n: Float, wins: Float, chance: Float, spread: float) -> Float:
    """Two-sided p-values of `wins` of `n` against a binomial of uncertain log odds, (m,)."""
    q = _uncertain(chance, spread)
    weights = WEIGHTS / WEIGHTS.sum()
    trials = n.astype(np.int64)
    found = weights @ bdtrc(wins - 1, trials, q)
    below = weights @ bdtr(wins, trials, q)
    return np.asarray(np.minimum(1, 2 * np.minimum(found, below)))


def _uncertain(chance: Float, spread: float) -> Float:
    """Chances of a win at the nodes of a normal deviation of the log odds, (nodes, m)."""
    return np.asarray(expit(logit(np.clip(chance, 1e-6, 1 - 1e-6)) + spread * NODES[:, None]))


def _features(pairs: FeedbackPairs, grams: Grams) -> tuple[sparse.csr_array, Float]:
    """Rows of length one of weighted n-grams, and log2 of the ratio of lengths; the rows' scale."""
    weighted = grams.sign.astype(np.float64) @ sparse.diags_array(grams_weight(grams))
    size = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    scale = 1 / np.where(size > 0, size, 1)
    n = len(pairs)
    longer = np.log2((grams.tokens[:n] + 1) / (grams.tokens[n:] + 1))
    column = sparse.csr_array(longer[:, None])
    return sparse.csr_array(sparse.hstack([sparse.diags_array(scale) @ weighted, column])), scale


def _narrow(matrix: sparse.csr_array) -> sparse.csr_array:
    """With 32-bit indices, which scikit-learn asks for."""
    matrix = sparse.csr_array(matrix)
    matrix.indices = matrix.indices.astype(np.int32)
    matrix.indptr = matrix.indptr.astype(np.int32)
    return matrix


def _by_prompt(
    cluster: Integers, gram: Integers, sign: Float, chance: Float, m: int
) -> tuple[Float, Float, Float]:
    """Prompts, wins and mean chance of each n-gram, (m,); a prompt counts once."""
    key = cluster * m + gram
    order = np.argsort(key, kind="stable")  # takes hold of what is sorted by prompt already
    key = key[order]
    first = np.r_[True, key[1:] != key[:-1]]
    place = np.cumsum(first) - 1
    total = np.bincount(place, sign[order])
    expected = np.bincount(place, chance[order]) / np.bincount(place)
    column, kept = key[first] % m, total != 0
    n = np.bincount(column[kept], minlength=m).astype(np.float64)
    wins = np.bincount(column[kept], total[kept] > 0, minlength=m).astype(np.float64)
    return n, wins, np.bincount(column[kept], expected[kept], minlength=m) / np.maximum(n, 1)


def _spread(n: Float, wins: Float, chance: Float) -> float:
    """SD in log odds by which ordinary n-grams depart from the model, at least `ORDINARY`."""
    variance = n * chance * (1 - chance)
    square = (wins - n * chance) ** 2 / np.maximum(variance, 1e-9)

    def beyond(tau: float) -> float:
        return float(np.median(square / (1 + variance * tau**2)) - CHI_SQUARE_MEDIAN)

    return ORDINARY if beyond(ORDINARY) <= 0 else float(brentq(beyond, ORDINARY, 100.0))


def _different(grams: Grams) -> Integers:
    """One n-gram of each set that occurs in the very same places: the rest are no further test."""
    key = np.random.default_rng(0).integers(1, 2**62, size=grams.sign.shape[0])
    return np.unique(np.abs(grams.sign.T.astype(np.int64) @ key), return_index=True)[1]


def _least(n: Float, chance: Float, spread: float) -> Float:
    """The p-values that n-grams would have if they won, or lost, everywhere, (m,).

    The `tail` of these in closed form: so many wins in a row, or losses. 1 where n is 0.
    """
    q = _uncertain(chance, spread)
    weights = WEIGHTS / WEIGHTS.sum()
    return np.asarray(np.minimum(1, 2 * np.minimum(weights @ q**n, weights @ (1 - q) ** n)))


def _able(least: Float) -> int:
    """How many n-grams are common enough to be told at all (Tarone 1990): those to adjust for."""
    ordered = np.sort(least)
    counts = np.searchsorted(ordered, LEVEL / np.arange(1, len(ordered) + 1))  # able, if k count
    return int(np.argmax(counts <= np.arange(1, len(ordered) + 1))) + 1


def _phrases(grams: Grams, told: Integers) -> list[tuple[Integers, Integers]]:
    """Told n-grams that occur in the same pairs, together; and all n-grams that occur there."""
    if not len(told):
        return []
    every = abs(grams.sign).astype(np.float32)
    common = sparse.coo_array(every[:, told].T @ every)  # (told, m)
    size = np.asarray(every.sum(axis=0)).ravel()
    alike = common.data >= ALIKE * (size[told[common.row]] + size[common.col] - common.data)
    row, gram = common.row[alike], common.col[alike]
    place = np.full(len(size), -1)
    place[told] = np.arange(len(told))
    inside = place[gram] >= 0
    links = (np.ones(int(inside.sum())), (row[inside], place[gram[inside]]))
    count, label = connected_components(
        sparse.coo_array(links, shape=(len(told), len(told))), directed=False
    )
    return [(told[label == i], np.unique(gram[label[row] == i])) for i in range(count)]


@dataclass(frozen=True)
class _Group:
    """A phrase under the words of its n-gram, and what tells how it is written."""

    shift: Shift
    others: list[str]  # n-grams that occur with it
    places: Integers  # of some pairs that differ in it
    signs: Float  # 1 where the chosen output has it, -1 where the rejected one


@dataclass(frozen=True)
class _Explained:
    """What the model makes of each pair, and each n-gram's part in it."""

    pairs: FeedbackPairs
    words: list[str]
    sign: sparse.csc_array  # that of `Grams`
    odds: Float
    parts: sparse.csc_array  # (n, m): in the odds

    def group(self, told: Integers, members: Integers, spread: float) -> _Group:
        """One phrase of several n-grams, against the model without all that occurs with them."""
        best = self._longest(told)
        sign = self.sign[:, [best]].toarray().ravel().astype(np.float64)
        row = np.flatnonzero(sign)
        left = self.odds[row] - np.asarray(self.parts[:, members].sum(axis=1)).ravel()[row]
        n, wins, chance = _by_prompt(
            self.pairs.cluster[row],
            np.zeros(len(row), dtype=np.int64),
            sign[row],
            expit(sign[row] * left),
            1,
        )
        p = float(tail(n, wins, chance, spread)[0]) if n[0] else 1.0
        rows = self.pairs.row[row]
        shift = Shift(self.words[best], int(n[0]), int(wins[0]), float(chance[0]), p, p, rows)
        return _Group(shift, [self.words[k] for k in members], row[:READ], sign[row[:READ]])

    def written(self, group: _Group) -> str:
        """The phrase as most texts have it."""
        texts = [
            (self.pairs.chosen if sign > 0 else self.pairs.rejected)[place]
            for place, sign in zip(group.places.tolist(), group.signs.tolist(), strict=True)
        ]
        return written(texts, group.shift.phrase, group.others)

    def _longest(self, told: Integers) -> int:
        """The longest of the n-grams that are nearly always there."""
        count = np.asarray(abs(self.sign[:, told]).sum(axis=0)).ravel()
        usual = told[count >= 0.8 * count.max()]
        lengths = [len(self.words[k].split(" ")) for k in usual]
        return int(usual[int(np.argmax(lengths))])


def _adjusted(shifts: list[Shift], looked_at: int) -> list[Shift]:
    """With p-values, in order of size, adjusted for all n-grams looked at: safe, as it is more."""
    p = np.array([shift.p for shift in shifts])
    stepped = np.minimum.accumulate((p * looked_at / np.arange(1, len(p) + 1))[::-1])[::-1]
    return [
        replace(shift, p=min(1.0, float(q)), p_strict=min(1.0, shift.p * looked_at))
        for shift, q in zip(shifts, stepped, strict=True)
    ]
