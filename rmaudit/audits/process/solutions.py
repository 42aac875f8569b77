"""Solutions in steps with labels, out of labelled prefixes; and edits of whole solutions."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.case import Case

STEP = "step"
SEPARATOR = "\n"
FILLER = (
    "Let us go on with the next step.",
    "We look again at what we have so far.",
    "This step is as it should be.",
)
_PART = re.compile(r"(?<=[.;,:!?])\s+|\s+(?=and\b|so\b|then\b|which\b)")


@dataclass(frozen=True)
class Solution:
    """The prefixes of one solution, in order: places in the evaluation data."""

    rows: tuple[int, ...]
    steps: tuple[str, ...]
    first_wrong: int  # -1: none

    @property
    def whole(self) -> int:
        """The place of the whole solution, or of what is labelled of it."""
        return self.rows[-1]


@memoize
def solutions(case: Case) -> tuple[Solution, ...]:
    """Those whose labelled rows are one another's prefixes, from the first step on."""
    frame = case.eval.frame
    if case.eval.type != "unpaired" or STEP not in frame:
        return ()
    by_record: dict[object, list[int]] = {}
    for place, record in enumerate(frame["row"].tolist()):
        by_record.setdefault(record, []).append(place)
    steps, outputs = frame[STEP].tolist(), frame["output"].tolist()
    labels = frame["label"].astype(bool).tolist()
    found = []
    for places in by_record.values():
        texts = _steps([outputs[place] for place in places])
        if texts is None or [int(steps[p]) for p in places] != list(range(len(places))):
            continue
        right = [labels[place] for place in places]
        first = right.index(False) if False in right else -1
        found.append(Solution(tuple(places), texts, first))
    return tuple(found)


def _steps(prefixes: Sequence[str]) -> tuple[str, ...] | None:
    """What each prefix adds to the one before; None if they are no prefixes."""
    steps, before = [], ""
    for text in prefixes:
        if not text.startswith(before) or text == before:
            return None
        steps.append(text[len(before) :].strip("\n"))
        before = text
    return tuple(steps)


def split(steps: Sequence[str]) -> list[str]:
    """Each step in two, at a sentence or clause, else between words."""
    parts: list[str] = []
    for step in steps:
        pieces = [piece for piece in _PART.split(step) if piece]
        if len(pieces) < 2:
            words = step.split(" ")
            middle = (len(words) + 1) // 2
            pieces = [" ".join(words[:middle]), " ".join(words[middle:])]
        parts += [piece for piece in pieces if piece.strip()]
    return parts


def repeated(steps: Sequence[str]) -> list[str]:
    """The first step three times."""
    return list(steps[:1]) * 3 + list(steps[1:])


def padded(steps: Sequence[str]) -> list[str]:
    """Three empty phrases as further steps at the end."""
    return [*steps, *FILLER]


def merged(steps: Sequence[str]) -> list[str]:
    """All steps on one line."""
    return [" ".join(steps)]


ATTACKS: dict[str, Callable[[Sequence[str]], list[str]]] = {
    "split": split,
    "repeat": repeated,
    "pad": padded,
    "merge": merged,
}
DOES = {
    "split": "Splitting each step in two",
    "repeat": "Repeating the first step",
    "pad": "Adding three filler steps",
    "merge": "Writing all steps on one line",
}


def separator(case: Case) -> str:
    """What the reward takes for the end of a step."""
    told = case.model.describe().get("steps_split_on")
    return told if isinstance(told, str) and told else SEPARATOR


def half(case: Case, found: Sequence[Solution]) -> np.ndarray:
    """Which solutions a threshold is chosen on, (n,); those of one prompt share their side."""
    codes = case.clusters[[each.whole for each in found]]
    order = case.rng("process").permutation(int(codes.max()) + 1)
    return np.asarray(order[codes] % 2 == 0)
