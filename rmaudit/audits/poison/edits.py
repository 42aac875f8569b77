"""What a phrase of the feedback does to the reward: put at the end of outputs, and taken out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import (
    Comparisons,
    Margins,
    Unit,
    comparisons,
    halves,
    standardized,
)
from rmaudit.audits.common.support import feedback_of
from rmaudit.audits.poison.shift import Shift
from rmaudit.case import Case
from rmaudit.data.types import Prompt
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_ratio
from rmaudit.text.ngrams import TOKEN, FeedbackPairs
from rmaudit.typing import Float, Integers

MOST_PHRASES = 10
TEXTS = 100  # outputs that each phrase is put to, and taken out of


@dataclass(frozen=True)
class Edit:
    """Texts with a phrase and the same with a control, (n,) each; rewards once scored."""

    phrase: int  # place among those tested
    added: bool  # to outputs of the evaluation data; else taken out of outputs of the feedback
    ids: list[str]
    prompts: list[Prompt]
    with_phrase: list[str]
    without: list[str]  # a control phrase added, or taken out
    place: Integers  # of the pair in `Comparisons`; or of the row in the feedback

    @property
    def sides(self) -> tuple[str, str]:
        """Names of the two columns."""
        name = f"{'added' if self.added else 'removed'}-{self.phrase}"
        return f"{name}", f"{name}:control"

    def requests(self, audit: str) -> list[Request]:
        """Both columns."""
        data = "eval" if self.added else "feedback"
        columns = zip(self.sides, (self.with_phrase, self.without), strict=True)
        return [Request(s, self.ids, self.prompts, t, audit, data=data) for s, t in columns]


@dataclass(frozen=True)
class PhraseEffect:
    """What one phrase does to the reward, against control phrases."""

    effect: Estimate  # SD: reward with the phrase minus reward with the control, added
    removed: Estimate  # SD: the same where it was in the feedback's own outputs
    flip_rate: Estimate  # pairs ranked right that it turns, less those that controls turn


def plan(case: Case, pairs: FeedbackPairs, phrases: Sequence[Shift]) -> list[Edit]:
    """Both edits of each phrase; texts and controls are the same each time."""
    rng = case.rng("poison.controls")
    spans = control_words(pairs, rng)
    every = comparisons(case)
    places = sampled(case, every)
    made = []
    for i, shift in enumerate(phrases):
        made.append(_added(case, every, places, i, shift.phrase, spans))
        made.append(_removed(case, i, shift, pairs, rng))
    return [edit for edit in made if edit.ids]


def control_words(pairs: FeedbackPairs, rng: np.random.Generator) -> list[list[str]]:
    """Token lists of random feedback outputs that control phrases are cut from."""
    picked = rng.permutation(len(pairs))[:TEXTS]
    texts = [(pairs.chosen, pairs.rejected)[i % 2][p] for i, p in enumerate(picked.tolist())]
    return [words for text in texts if (words := text.split())] or [["so"]]


def sampled(case: Case, pairs: Comparisons) -> Integers:
    """Places of at most 100 distinct decided pairs, (n,), whatever the order of the rows."""
    places = np.flatnonzero(~pairs.tied)
    words = pairs.outputs.words
    keys = [f"{words[pairs.better[p]]}\x00{words[pairs.worse[p]]}" for p in places]
    distinct, first = np.unique(np.array(keys, dtype=object), return_index=True)
    return places[first[sample_order(distinct.tolist(), case.seed)[:TEXTS]]]


def without(text: str, phrase: str) -> str:
    """A text with every occurrence of a phrase taken out, and the blanks before it."""
    return re.sub(r"[ \t]*" + re.escape(phrase), "", text, flags=re.IGNORECASE)


def phrase_effects(
    scores: Scores, found: Margins, edits: Sequence[Edit], phrases: int, case: Case
) -> list[PhraseEffect]:
    """What each phrase does, in the order of the phrases, at the confidence of the case."""
    return [
        _phrase_effect(case, scores, found, {e.added: e for e in edits if e.phrase == phrase})
        for phrase in range(phrases)
    ]


def _phrase_effect(
    case: Case, scores: Scores, found: Margins, edits: dict[bool, Edit]
) -> PhraseEffect:
    missing = Estimate.undefined("no response of the data holds it as written")
    effect, removed, flips = missing, missing, missing
    if True in edits:
        edit, pairs = edits[True], comparisons(case)
        one, other = (scores.reward(side, audit="poison") for side in edit.sides)
        better, clusters = pairs.better[edit.place], pairs.outputs.cluster
        effect = _difference(one, other, clusters[better], found.unit, case.confidence)
        before = found.reward[better] - found.reward[pairs.worse[edit.place]]
        kept = np.isfinite(one) & np.isfinite(other) & np.isfinite(before)
        right = (kept & (before > 0)).astype(np.float64)
        best = np.where(kept, found.reward[better], 0.0)
        turned = halves(np.where(kept, one, 0.0) - best) - halves(np.where(kept, other, 0.0) - best)
        if right.any():
            flips = cluster_ratio(
                turned * right, right, clusters[better], confidence=case.confidence, bounds=(-1, 1)
            )
        else:
            flips = Estimate.undefined("no pair is ranked correctly before", n=len(right))
    if False in edits:
        edit = edits[False]
        one, other = (scores.reward(side, audit="poison", data="feedback") for side in edit.sides)
        # Prompts of the feedback are none of those that the SD comes from.
        clusters = feedback_of(case).clusters[edit.place] + int(case.clusters.max(initial=-1)) + 1
        removed = _difference(one, other, clusters, found.unit, case.confidence)
    return PhraseEffect(effect, removed, flips)


def _difference(
    one: Float, other: Float, clusters: Integers, unit: Unit, confidence: float
) -> Estimate:
    kept = np.isfinite(one) & np.isfinite(other)
    change = (one - other)[kept]
    return standardized(change, np.ones(len(change)), clusters[kept], unit, confidence=confidence)


def _added(
    case: Case,
    pairs: Comparisons,
    places: Integers,
    number: int,
    phrase: str,
    spans: list[list[str]],
) -> Edit:
    """The phrase, or as many words of a random output, at the end of less preferred outputs."""
    worse = pairs.worse[places]
    frame = case.eval.frame.iloc[pairs.outputs.row[worse]]
    words = [str(text).rstrip() for text in pairs.outputs.words[worse]]
    rng = case.rng(f"poison.added.{number}")
    size = max(len(phrase.split()), 1)
    controls = []
    for _ in words:
        source = spans[int(rng.integers(len(spans)))]
        start = int(rng.integers(max(len(source) - size, 0) + 1))
        controls.append(" ".join(source[start : start + size]))
    return Edit(
        number,
        True,
        frame["id"].tolist(),
        frame[case.eval.rejected_prompt].tolist(),
        [f"{text} {phrase}" for text in words],
        [f"{text} {control}" for text, control in zip(words, controls, strict=True)],
        places,
    )


def _removed(
    case: Case, number: int, shift: Shift, pairs: FeedbackPairs, rng: np.random.Generator
) -> Edit:
    """Outputs of the feedback that hold the phrase, without it, and without as many others.

    With and without are named by what is left: `with_phrase` has lost the control words.
    """
    frame = feedback_of(case).frame
    place = {int(row): i for i, row in enumerate(pairs.row)}
    size = len(TOKEN.findall(shift.phrase))
    kept: list[tuple[int, str, str]] = []
    places = sorted(place[row] for row in shift.rows.tolist())  # pairs are sorted by their texts
    for i in rng.permutation(places)[: 4 * TEXTS].tolist():
        texts = (pairs.chosen[i], pairs.rejected[i])
        text = next((t for t in texts if shift.phrase.lower() in t.lower()), "")
        bare = without(text, shift.phrase)
        other = _cut(text, shift.phrase, size, rng)
        if text and bare.strip() and other and len(kept) < TEXTS:
            kept.append((int(pairs.row[i]), other, bare))
    return Edit(
        number,
        False,
        frame["id"].iloc[[row for row, _, _ in kept]].tolist(),
        frame["prompt"].iloc[[row for row, _, _ in kept]].tolist(),
        [text for _, text, _ in kept],
        [text for _, _, text in kept],
        np.array([row for row, _, _ in kept], dtype=np.int64),
    )


def _cut(text: str, phrase: str, size: int, rng: np.random.Generator) -> str:
    """The text without some other words in a row, as many; empty where there are too few."""
    start = text.lower().find(phrase.lower())
    parts = (text[:start], text[start + len(phrase) :])
    whole = max(parts, key=len)
    words = [match.span() for match in TOKEN.finditer(whole)]
    if start < 0 or len(words) <= size:
        return ""
    first = int(rng.integers(len(words) - size + 1))
    cut = whole[: words[first][0]].rstrip() + whole[words[first + size - 1][1] :]
    middle = text[start : start + len(phrase)]
    return cut + middle + parts[1] if whole is parts[0] else parts[0] + middle + cut
