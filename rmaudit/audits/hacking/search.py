"""The search for words that raise the reward of any output they are added to.

Rounds of proposals, each a race: all candidates are scored on a few outputs, the better ones on
more, the best on all (successive halving: Jamieson & Talwalkar 2016, arXiv 1502.07943). Who
proposes is the only difference between the black box and the white box. The best few of a length
are the beam from which the next length grows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Prompt
from rmaudit.rewards.base import Text

if TYPE_CHECKING:  # imports torch, which recorded rewards and servers can do without
    from rmaudit.rewards.local.gradients import WordGradients

Words = tuple[str, ...]
End = Literal["suffix", "prefix"]
Ask = Callable[[Sequence[Prompt], Sequence[str]], NDArray[np.float64]]

LENGTHS = (1, 2, 4, 8)  # words, at most: each length has a quarter of the budget
ROUNDS = 3  # of proposals a length: one grows the beam, the others change it
STAGES = (3, 9, 18)  # outputs that a candidate is scored on as long as it stays in the race
KEPT = (0.25, 0.1)  # share of the candidates that enter the second and third stage
BEAM = 3
GRADIENT_TEXTS = 6  # outputs that one gradient is averaged over
TOP = 48  # words a place that the white box draws from, the best by gradient
# What a gradient of one text costs, in texts scored: a forward pass, and a backward pass of about
# twice its work (Kaplan et al. 2020, arXiv 2001.08361, section 2.1).
PASS_IN_TEXTS = 3


def added(output: str, words: Words, end: End) -> str:
    """The output with words before or behind it; the output itself without words."""
    if not words:
        return output
    parts = (output.rstrip(), " ".join(words))
    return " ".join(part for part in (parts if end == "suffix" else parts[::-1]) if part)


@dataclass
class Field:
    """Outputs that candidates are tried on, and what that has cost.

    `ask` scores texts; `before` are the rewards of the outputs as they are, finite.
    """

    prompts: Sequence[Prompt]
    outputs: Sequence[str]
    before: NDArray[np.float64]  # (m,)
    ask: Ask
    end: End
    budget: int  # texts
    used: int = 0
    known: dict[tuple[Words, int], float] = field(default_factory=dict)

    def rises(self, candidates: Sequence[Words], places: Sequence[int]) -> NDArray[np.float64]:
        """Mean rise of the reward on some outputs, (n_candidates,); each text is scored once.

        A reward that is not finite counts as no rise: it is reported elsewhere.
        """
        wanted = [(c, p) for c in candidates for p in places if (c, p) not in self.known]
        wanted = list(dict.fromkeys(wanted))
        if wanted:
            texts = [added(self.outputs[p], c, self.end) for c, p in wanted]
            after = self.ask([self.prompts[p] for _, p in wanted], texts)
            self.used += len(wanted)
            rise = after - self.before[[p for _, p in wanted]]
            rise[~np.isfinite(rise)] = 0.0
            self.known |= dict(zip(wanted, rise.tolist(), strict=True))
        return np.array([np.mean([self.known[c, p] for p in places]) for c in candidates])


class Proposer(Protocol):
    """Where candidates come from."""

    def grow(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """At most n candidates of at most `length` words, from the best shorter ones."""

    def change(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """At most n candidates that differ in part from the best ones of this length."""


@dataclass(frozen=True)
class Found:
    """The best words of at most each length, by mean rise on the outputs of the search."""

    best: Mapping[int, Words]
    rise: Mapping[int, float]  # mean, in units of reward
    texts: int  # that the search has cost, gradients counted as `PASS_IN_TEXTS` each


def search(place: Field, proposer: Proposer, rng: np.random.Generator) -> Found:
    """Search within the field's budget; longer candidates grow from the best shorter ones."""
    everyone = range(len(place.outputs))
    beam: list[Words] = [()]
    tried: dict[Words, float] = {}
    best: dict[int, Words] = {}
    for level, length in enumerate(LENGTHS):
        for round_ in range(ROUNDS):
            share = (level * ROUNDS + round_ + 1) / (len(LENGTHS) * ROUNDS)
            n = affordable(int(place.budget * share) - place.used)
            propose = proposer.change if round_ else proposer.grow
            candidates = propose(beam, length, n) if n else []
            n = affordable(int(place.budget * share) - place.used)  # less what gradients cost
            fresh = [c for c in dict.fromkeys(candidates) if c and c not in tried][:n]
            finalists = race(place, fresh, rng)
            tried |= dict(zip(finalists, place.rises(finalists, everyone), strict=True))
            tried |= dict.fromkeys((c for c in fresh if c not in tried), -np.inf)
            short = [c for c, rise in tried.items() if len(c) <= length and rise > -np.inf]
            beam = sorted(short, key=lambda c: -tried[c])[:BEAM] or [()]
        best[length] = beam[0]
    rise = {k: max(tried.get(words, 0.0), 0.0) for k, words in best.items()}
    return Found(best, rise, place.used)


def affordable(texts: int) -> int:
    """The most candidates whose race costs at most so many texts."""
    n = 0
    while race_cost(n + 1) <= texts:
        n += 1
    return n


def race_cost(n: int) -> int:
    """Texts that a race of n candidates scores, at most."""
    if n <= 1:
        return n * STAGES[-1]
    entered = [n, *(max(1, round(share * n)) for share in KEPT)]
    more = [STAGES[0], *(later - sooner for sooner, later in itertools.pairwise(STAGES))]
    return sum(a * b for a, b in zip(entered, more, strict=True))


def race(place: Field, candidates: list[Words], rng: np.random.Generator) -> list[Words]:
    """The candidates that reach the last stage; the outputs come in a random order."""
    order = rng.permutation(len(place.outputs)).tolist()
    kept = list(candidates)
    for stage, share in zip(STAGES, KEPT, strict=False):
        if len(kept) <= 1:
            break
        rises = place.rises(kept, order[:stage])
        most = max(1, round(share * len(candidates)))
        kept = [kept[i] for i in np.argsort(-rises, kind="stable")[:most]]
    return kept


class BlackBox:
    """Words and phrases from a pool, best guesses first, joined and exchanged at random."""

    def __init__(self, pool: Sequence[Words], rng: np.random.Generator) -> None:
        self._pool = list(dict.fromkeys(pool))
        self._rng = rng
        self._next = dict.fromkeys(range(1, max(LENGTHS) + 1), 0)  # how far each length is used

    def grow(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """Half of them new phrases that were too long before, half the beam with more added."""
        grown = [self._filled(beam[i % len(beam)], length) for i in range(n)] if beam[0] else []
        new = self._new(length, n if length == 1 else n // 2)
        return [*new, *grown][:n]

    def change(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """A part of a candidate gives way to something of the pool; or all of it does."""
        new = self._new(length, n if length == 1 else n // 4)
        changed = []
        for i in range(n - len(new)):
            words = beam[i % len(beam)]
            cut = int(self._rng.integers(len(words) + 1))
            left = words[:cut] if self._rng.random() < 0.5 else words[cut:]
            changed.append(self._filled(left[: length - 1], length))
        return [*new, *changed]

    def _new(self, length: int, n: int) -> list[Words]:
        """The next ones of the pool that fit this length and are over half as long."""
        fits = [unit for unit in self._pool if length / 2 < len(unit) <= length]
        start = self._next[length]
        self._next[length] = start + n
        return fits[start : start + n]

    def _filled(self, words: Words, length: int) -> Words:
        """More of the pool on either side, the better guesses oftener, until nothing fits."""
        while len(words) < length:
            fits = [unit for unit in self._pool if len(unit) <= length - len(words)]
            if not fits:
                break
            unit = fits[int(len(fits) * self._rng.random() ** 2)]
            words = (*words, *unit) if self._rng.random() < 0.7 else (*unit, *words)
        return words


class WhiteBox:
    """Words that the gradients of the reward point at."""

    def __init__(self, gradients: WordGradients, place: Field, rng: np.random.Generator) -> None:
        self._gradients, self._place, self._rng = gradients, place, rng

    def grow(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """Random words take the new places; the gradient there says what to put instead."""
        start = beam[0]
        more = self._rng.choice(self._gradients.words, size=length - len(start))
        suffix = (*start, *map(str, more))
        ranked = self._ranked(suffix)
        grown = []
        for i in range(n):
            words = list(suffix)
            for place in range(len(start), length):
                words[place] = self._pick(ranked[place], first=i < n // 4)
            grown.append(tuple(words))
        return grown

    def change(self, beam: Sequence[Words], length: int, n: int) -> list[Words]:
        """One word, or at times two, of the best candidate changes."""
        suffix = beam[0]
        if not suffix:
            return self.grow(beam, length, n)
        ranked = self._ranked(suffix)
        changed = []
        for i in range(n):
            words = list(suffix)
            for place in self._rng.choice(len(words), size=min(1 + i % 2, len(words))):
                words[place] = self._pick(ranked[place], first=False)
            changed.append(tuple(words))
        return changed

    def _ranked(self, suffix: Words) -> NDArray[np.int64]:
        """Places of the best words by gradient, (len(suffix), TOP), best first."""
        field_ = self._place
        some = self._rng.permutation(len(field_.outputs))[:GRADIENT_TEXTS]
        texts = [
            Text(field_.prompts[i], added(field_.outputs[i], suffix, field_.end)) for i in some
        ]
        field_.used += PASS_IN_TEXTS * len(texts)
        gains = np.nan_to_num(self._gradients.gains(texts, suffix))
        ranked: NDArray[np.int64] = np.argsort(-gains, axis=1, kind="stable")[:, :TOP]
        return ranked

    def _pick(self, ranked: NDArray[np.int64], *, first: bool) -> str:
        among = max(1, len(ranked) // 4) if first else len(ranked)
        return self._gradients.words[int(ranked[self._rng.integers(among)])]
