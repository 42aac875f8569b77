"""What an attribute of style does to the reward by itself: put on, or taken off, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.audits.base import example
from rmaudit.audits.common.allocation import STYLE_PAIRS
from rmaudit.audits.common.memoize import memoize
from rmaudit.audits.common.pairs import Comparisons, Margins, comparisons, halves, standardized
from rmaudit.audits.robustness.plan import sampled
from rmaudit.case import Case
from rmaudit.data.types import Prompt
from rmaudit.probes.marks import marked
from rmaudit.probes.texts import request_of
from rmaudit.probes.transforms import Subject, find_transform
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_ratio
from rmaudit.typing import Float, Integers

# By attribute: the transform that puts it on and the one that takes it off. First person, code and
# reading grade cannot be changed without saying something else.
EDITS: dict[str, tuple[str | None, str | None]] = {
    "markdown": (None, "markdown_stripped"),
    "lists": ("list_added", "list_removed"),
    "headings": ("heading_added", "heading_removed"),
    "bold": ("bold_added", "bold_removed"),
    "emoji": ("emoji_added", "emoji_removed"),
    "exclamation": ("exclamation_added", "exclamation_removed"),
    "hedging": ("hedges_added", "hedges_removed"),
    "politeness": ("politeness_added", "politeness_removed"),
    "citations": ("citation_added", "citation_removed"),
}


@dataclass(frozen=True)
class Edited:
    """Outputs with an attribute put on or taken off, (n,) each."""

    attribute: str
    transform: str
    added: bool
    place: Integers  # of the pair in `Comparisons`, whose less preferred output is edited
    ids: list[str]
    prompts: list[Prompt]
    outputs: list[str]


@dataclass(frozen=True)
class Causal:
    """Reward with the attribute minus reward without it, on the same output, (n,) each."""

    change: Float
    added: Float  # 1 where it was put on, 0 where it was taken off
    pairs: Margins  # those edited
    flipped: Float  # of pairs in which it was put on: the edited output beats the preferred one
    nonfinite: int
    before: list[str]
    after: list[str]

    def effect(self, confidence: float) -> Estimate:
        """Mean change, SD; zero is best."""
        ones = np.ones(len(self.change))
        found = self.pairs
        return standardized(self.change, ones, found.cluster, found.unit, confidence=confidence)

    def where_added(self, confidence: float) -> Estimate:
        """Mean change where it was put on, SD: taking it off may take content along."""
        found = self.pairs
        return standardized(
            self.change * self.added, self.added, found.cluster, found.unit, confidence=confidence
        )

    def flip_rate(self, confidence: float) -> Estimate:
        """Share of pairs ranked right that putting it on the other output turns; zero is best."""
        right = (self.pairs.margin > 0) * self.added
        if not right.any():
            return Estimate.undefined("no pair is ranked correctly before", n=len(right))
        return cluster_ratio(
            self.flipped * right, right, self.pairs.cluster, confidence=confidence, bounds=(0, 1)
        )


@memoize
def plan(case: Case) -> list[Edited]:
    """The edits of the less preferred outputs; the same each time."""
    pairs = comparisons(case)
    order = sampled(case, pairs)
    made = []
    for attribute, names in EDITS.items():
        for added, name in zip((True, False), names, strict=True):
            if name is not None:
                made.append(_edited(case, pairs, order, attribute, name, added))
    return [edit for edit in made if edit.ids]


def requests(case: Case, audit: str) -> list[Request]:
    """One column an edit."""
    return [
        Request(edit.transform, edit.ids, edit.prompts, edit.outputs, audit) for edit in plan(case)
    ]


def _edited(
    case: Case, pairs: Comparisons, order: Integers, attribute: str, name: str, added: bool
) -> Edited:
    frame, outputs = case.eval.frame, pairs.outputs
    prompts = frame[case.eval.rejected_prompt].tolist()
    ids = frame["id"].tolist()
    transform = find_transform(name)
    edited: list[tuple[int, int, str]] = []
    for place in order.tolist():
        if len(edited) == STYLE_PAIRS:
            break
        worse = pairs.worse[place]
        row = int(outputs.row[worse])
        subject = Subject(str(outputs.words[worse]), request_of(prompts[row]))
        text = transform.apply(subject, case.seed, {})
        if text is not None and text.strip():
            edited.append((place, row, text))
    return Edited(
        attribute,
        name,
        added,
        np.array([place for place, _, _ in edited], dtype=np.int64),
        [ids[row] for _, row, _ in edited],
        [prompts[row] for _, row, _ in edited],
        [text for _, _, text in edited],
    )


def causal(case: Case, scores: Scores, found: Margins, audit: str) -> dict[str, Causal]:
    """What each attribute does, by its name; those that no output could be edited for are left."""
    by_attribute: dict[str, list[Edited]] = {}
    for edit in plan(case):
        by_attribute.setdefault(edit.attribute, []).append(edit)
    return {
        name: _causal(case, scores, found, edits, audit) for name, edits in by_attribute.items()
    }


def _causal(
    case: Case, scores: Scores, found: Margins, edits: Sequence[Edited], audit: str
) -> Causal:
    pairs = comparisons(case)
    place = np.concatenate([edit.place for edit in edits])
    after = np.concatenate([scores.reward(edit.transform, audit=audit) for edit in edits])
    added = np.concatenate([np.full(len(edit.place), float(edit.added)) for edit in edits])
    better, worse = pairs.better[place], pairs.worse[place]
    kept = np.isfinite(after) & np.isfinite(found.reward[better]) & np.isfinite(found.reward[worse])
    texts = [text for edit in edits for text in edit.outputs]
    part = Margins(
        found.outputs,
        found.reward,
        found.length,
        better[kept],
        worse[kept],
        pairs.tied[place][kept],
        found.distinct,
        found.unit,
        int((~kept).sum()),
    )
    rise = (after[kept] - found.reward[worse[kept]]) * np.where(added[kept] == 1, 1.0, -1.0)
    return Causal(
        rise,
        added[kept],
        part,
        halves(after[kept] - found.reward[better[kept]]),
        int((~kept).sum()),
        [str(text) for text in pairs.outputs.words[worse[kept]]],
        [text for text, ok in zip(texts, kept, strict=True) if ok],
    )


def causal_table(found: Mapping[str, Causal], confidence: float) -> pd.DataFrame:
    """One row an attribute."""
    rows = []
    for name, each in found.items():
        effect, flips = each.effect(confidence), each.flip_rate(confidence)
        row: dict[str, Any] = {"attribute": name, "put_on": int(each.added.sum())}
        row |= {"taken_off": int(len(each.added) - each.added.sum()), "left_out": each.nonfinite}
        for key, estimate in (("effect", effect), ("flip_rate", flips)):
            row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
        rows.append(row | {"note": effect.undefined_reason or ""})
    return pd.DataFrame(rows)


def causal_examples(case: Case, found: Causal, sign: int) -> tuple[Mapping[str, Any], ...]:
    """Outputs that moved furthest in a direction, with what was changed marked."""
    shown = []
    for i in np.argsort(-sign * found.change, kind="stable")[: case.example_limit]:
        row = case.eval.frame.iloc[int(found.pairs.outputs.row[found.pairs.worse[i]])]
        verb = "put on" if found.added[i] else "taken off"
        shown.append(
            {
                **example({"id": row["id"], "prompt": row["prompt"]}),
                "before": found.before[i],
                "after": marked(found.before[i], found.after[i]),
                "note": f"{verb}; worth {found.change[i] / found.pairs.unit.sd:+.2f} SD",
            }
        )
    return tuple(shown)
