"""Which rows of a table say the same, the opposite, or nothing: arrays for the data audit.

Texts are compared after Unicode NFC and white-space normalisation, by 64-bit hashes: among a
million texts the chance of one false match is below one in ten million.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rmaudit.data.types import Dataset, Prompt, prompt_text
from rmaudit.text.patterns import counts, sifted
from rmaudit.typing import Float, Integers, Mask

NONE = -1  # no partner


def normal(text: str) -> str:
    """A text in Unicode NFC with every run of white space as one space, none at the ends."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


# What is not as `normal` has it: white space other than one blank between words, or no ASCII.
_UNTIDY = sifted(r"^ | $|  |[\t-\r\x1c-\x1f]", lambda text: text != normal(text))


def normals(texts: Sequence[str]) -> NDArray[np.object_]:
    """`normal` of each text, (n,); most are so already."""
    found = np.array(texts, dtype=object)
    for place in np.flatnonzero(counts(found, {"untidy": _UNTIDY})["untidy"]):
        found[place] = normal(found[place])
    return found


def words_of(prompt: Prompt) -> str:
    """A prompt's words, `normal`: one user turn is the same context as its plain text."""
    return normal(_plain(prompt))


def _plain(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return prompt[0]["content"]
    return prompt_text(prompt)


@dataclass(frozen=True)
class Comparisons:
    """Strict preferences between two different outputs; a ranking holds several, (n,) each."""

    row: Integers
    better: Integers  # hash of context and output
    worse: Integers

    @property
    def unordered(self) -> Integers:
        """Equal where the same two outputs are compared, whichever wins, (n,)."""
        low, high = np.minimum(self.better, self.worse), np.maximum(self.better, self.worse)
        return _mix(low, high)


@dataclass(frozen=True)
class Content:
    """The hashed texts of a table, the outputs of a row side by side."""

    data: Dataset
    prompts: Integers  # (n_rows,)
    text_rows: Integers  # (n_texts,): the row of each output, ascending
    texts: Integers  # (n_texts,): hash of context and output
    levels: Float  # (n_texts,): how good a label says each output is; see `Side`
    empty: Mask  # (n_texts,): outputs of white space only

    @classmethod
    def of(cls, data: Dataset) -> Content:
        """Hash every prompt and output once."""
        prompts = _hashes(data.frame["prompt"].map(_plain).tolist())
        own = data.rejected_prompt
        others = _hashes(data.frame[own].map(_plain).tolist()) if own != "prompt" else prompts
        sides = data.outputs()
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *(side.rows for side in sides)])
        contexts = [(others if s.name == "rejected" else prompts)[s.rows] for s in sides]
        hashes = _hashes([text for side in sides for text in side.texts])
        texts = _mix(np.concatenate([rows[:0], *contexts]), hashes)
        levels = np.concatenate([np.zeros(0), *(side.level for side in sides)])
        order = np.argsort(rows, kind="stable")
        empty = np.equal(hashes, hash(""))
        return cls(data, prompts, rows[order], texts[order], levels[order], empty[order])

    @cached_property
    def has_prompt(self) -> Mask:
        """Rows with a prompt, (n_rows,)."""
        return np.not_equal(self.prompts, hash(""))

    @property
    def has_texts(self) -> bool:
        """Whether there are outputs at all: data of rewards alone have empty ones only."""
        return not bool(self.empty.all())

    @cached_property
    def identity(self) -> Integers:
        """Equal for rows with the same texts and the same label of each, (n_rows,)."""
        labelled = _mix(self.texts, (self.levels + 0.0).view(np.int64))  # 0.0 and -0.0 are equal
        # Sums do not depend on the order of the outputs, and may wrap around.
        totals = np.r_[np.uint64(0), np.cumsum(labelled.view(np.uint64))]
        ends = np.cumsum(self._sizes)
        return _mix(self.prompts, (totals[ends] - totals[ends - self._sizes]).view(np.int64))

    @cached_property
    def _sizes(self) -> Integers:
        """Outputs of each row, (n_rows,)."""
        return np.bincount(self.text_rows, minlength=len(self.data)).astype(np.int64)

    @cached_property
    def comparisons(self) -> Comparisons:
        """Who beats whom; ties and outputs of the same words are left out."""
        row, first, second = self._pairs
        wins = self.levels[first] > self.levels[second]
        better = self.texts[np.where(wins, first, second)]
        worse = self.texts[np.where(wins, second, first)]
        keep = (wins | (self.levels[first] < self.levels[second])) & (better != worse)
        pairs = Comparisons(row[keep], better[keep], worse[keep])
        # A ranking that lists an output twice, below and above a third, says nothing on those two.
        undecided = _opposites(_mix(pairs.unordered, pairs.row), pairs) != NONE
        return Comparisons(row[keep][~undecided], pairs.better[~undecided], pairs.worse[~undecided])

    @cached_property
    def _pairs(self) -> tuple[Integers, Integers, Integers]:
        """Every pair of a row's outputs: the row, and the places of the two in `texts`."""
        sizes = self._sizes
        starts = np.cumsum(sizes) - sizes
        parts = []
        for size in np.unique(sizes):
            rows = np.flatnonzero(sizes == size)
            a, b = np.triu_indices(size, 1)
            places = starts[rows][:, None]  # (n_rows of this size, 1)
            parts.append((np.repeat(rows, len(a)), (places + a).ravel(), (places + b).ravel()))
        row, first, second = (np.concatenate(each) for each in zip(*parts, strict=True))
        return row, first, second

    @cached_property
    def identical(self) -> Mask:
        """Rows that compare an output with itself, (n_rows,)."""
        row, first, second = self._pairs
        same = self.texts[first] == self.texts[second]
        return np.bincount(row[same], minlength=len(self.data)) > 0


def duplicates(content: Content) -> Integers:
    """For each row the first row that says the same; `NONE` where that is the row itself."""
    first = _first_of(_codes(content.identity))
    return np.where(first == np.arange(len(first)), NONE, first)


def contradictions(content: Content) -> Integers:
    """For each row a row that says the opposite of the same outputs, or `NONE`."""
    if content.data.type in ("rating", "unpaired"):  # one output a row, each with its own label
        return _other_label(_codes(content.texts), content.levels)
    pairs = content.comparisons
    opposite = _opposites(pairs.unordered, pairs)
    partner = np.full(len(content.data), NONE, dtype=np.int64)
    found = opposite != NONE
    partner[pairs.row[found]] = pairs.row[opposite[found]]
    return partner


def leaked(content: Content, feedback: Content) -> tuple[Integers, Integers]:
    """For each row a feedback row with its prompt and one of its outputs; and with its prompt.

    Where either side has no output texts, the first is the second: prompts are all there is.
    """
    by_prompt = _found(content.prompts, feedback.prompts, np.arange(len(feedback.prompts)))
    by_prompt = np.where(content.has_prompt, by_prompt, NONE)
    if not (content.has_texts and feedback.has_texts):
        return by_prompt, by_prompt
    by_text = np.full(len(content.data), NONE, dtype=np.int64)
    found = _found(content.texts, feedback.texts, feedback.text_rows)
    # An empty output without a prompt is no text that could leak.
    found[content.empty & ~content.has_prompt[content.text_rows]] = NONE
    by_text[content.text_rows[found != NONE]] = found[found != NONE]
    return by_text, by_prompt


def cycles(content: Content) -> tuple[Integers, Mask]:
    """Whether preferences run in a circle (a over b over c over a), by prompt.

    Counted are prompts with three different outputs or more, compared in more than one row: one
    ranking alone cannot be circular. Of contradicting comparisons of two outputs the majority
    counts, so that a circle has three outputs at least.

    Returns
    -------
    first_row, circular
        (n_prompts,): a row of each such prompt, and whether its preferences hold a circle.
    """
    pairs = content.comparisons
    keep = content.has_prompt[pairs.row]
    row, better, worse = pairs.row[keep], pairs.better[keep], pairs.worse[keep]
    prompt = _codes(content.prompts[row])
    if not len(row):
        return row, np.zeros(0, dtype=np.bool_)
    nodes = _codes(np.r_[_mix(prompt, better), _mix(prompt, worse)])
    better, worse = nodes[: len(row)], nodes[len(row) :]
    owner = np.empty(nodes.max() + 1, dtype=np.int64)  # the prompt of each node
    owner[better], owner[worse] = prompt, prompt
    n_prompts = prompt.max() + 1
    first = _first_of(prompt)
    by_prompt = row[np.unique(prompt, return_index=True)[1]]
    several_rows = np.bincount(prompt[row != row[first]], minlength=n_prompts) > 0
    counted = several_rows & (np.bincount(owner, minlength=n_prompts) >= 3)
    circular = np.bincount(owner[_in_circle(better, worse)], minlength=n_prompts) > 0
    return by_prompt[counted], circular[counted]


def _in_circle(better: Integers, worse: Integers) -> Mask:
    """Nodes that lie on a circle of the majority's preferences, (n_nodes,)."""
    n = int(max(better.max(), worse.max())) + 1
    low, high = np.minimum(better, worse), np.maximum(better, worse)
    votes = coo_array((np.where(better == low, 1, -1), (low, high)), shape=(n, n))
    votes.sum_duplicates()
    wins = votes.data > 0
    lost = votes.data < 0
    source = np.r_[votes.coords[0][wins], votes.coords[1][lost]]
    target = np.r_[votes.coords[1][wins], votes.coords[0][lost]]
    graph = coo_array((np.ones(len(source), dtype=np.int8), (source, target)), shape=(n, n))
    _, component = connected_components(graph, directed=True, connection="strong")
    return np.bincount(component)[component] > 1


def _opposites(key: Integers, pairs: Comparisons) -> Integers:
    """For each comparison one of the same key with the other winner, or `NONE`."""
    return _other_label(_codes(key), pairs.better < pairs.worse)


def _other_label(codes: Integers, labels: NDArray[np.generic]) -> Integers:
    """For each item an item of the same code with another label, or `NONE`."""
    first = _first_of(codes)
    differs = labels != labels[first]
    partner = np.where(differs, first, NONE)
    other = np.full(int(codes.max(initial=-1)) + 1, NONE, dtype=np.int64)
    places = np.flatnonzero(differs)[::-1]  # the first one is written last
    other[codes[places]] = places
    return np.where(differs, partner, other[codes])


def _found(wanted: Integers, known: Integers, rows: Integers) -> Integers:
    """The row in which each wanted hash is known, or `NONE`."""
    if not len(known):
        return np.full(len(wanted), NONE, dtype=np.int64)
    values, places = np.unique(known, return_index=True)
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    return np.where(values[at] == wanted, rows[places[at]], NONE)


def _first_of(codes: Integers) -> Integers:
    """For each item the place of the first one of its code."""
    first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    return first[codes]


def _codes(values: NDArray[np.generic]) -> Integers:
    """0..k-1 in order of appearance."""
    return pd.factorize(values)[0].astype(np.int64)


def _hashes(texts: Sequence[str]) -> Integers:
    """Equal where the texts are, but for white space and the form of their Unicode, (n,)."""
    return np.fromiter(map(hash, normals(texts)), dtype=np.int64, count=len(texts))


def _mix(a: Integers, b: Integers) -> Integers:
    """One hash of two, by the finaliser of splitmix64."""
    x = a.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + b.view(np.uint64)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x ^ (x >> np.uint64(31))).view(np.int64)
