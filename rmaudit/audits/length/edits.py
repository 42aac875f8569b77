"""Edits that change an output's length and add nothing: what they do to the reward is causal."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.audits.common.allocation import LENGTH_PAIRS
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import (
    Comparisons,
    Margins,
    comparisons,
    halves,
    pair_examples,
    standardized,
)
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.scoring.requests import Column, Request, Scores
from rmaudit.stats.intervals import cluster_ratio
from rmaudit.typing import Float, Integers, Mask

EDITS = {
    "padding": "two closing sentences that add nothing",
    "repetition": "the whole response once more",
    "truncation": "only its first half",
}

# Sentences that may close any answer and tell its reader nothing. Each output gets two, picked by
# its own words, so that no single phrase decides.
CLOSINGS = (
    "That is the whole of this answer.",
    "Nothing further is added below.",
    "This is where the text above comes to its end.",
    "The answer given above is the complete one.",
    "There is no more text after this line.",
    "With that, the end of this response has been reached.",
    "The lines above are all that is written here.",
    "Here the response closes, as it stands above.",
)


@dataclass(frozen=True)
class Edited:
    """What one edit of the other output did, (n,) each.

    Left out, and counted in `pairs.left_out`, are pairs with a non-finite reward, and those of
    which the edited text is cut off by the model's maximum length.
    """

    pairs: Margins
    reward: Float  # of the edited output
    added: float  # mean change of length

    @property
    def rise(self) -> Float:
        """Reward of the edited output minus that of the same output as it was, (n,)."""
        return self.reward - self.pairs.reward[self.pairs.worse]

    def effect(self, confidence: float) -> Estimate:
        """Mean rise, SD; only a positive one is a fault."""
        ones = np.ones(len(self.rise))
        unit, clusters = self.pairs.unit, self.pairs.cluster
        return standardized(self.rise, ones, clusters, unit, confidence=confidence)

    @property
    def flipped(self) -> Float:
        """1 where the edited output beats the preferred one, one half at equal rewards, else 0."""
        return halves(self.reward - self.pairs.reward[self.pairs.better])

    def flip_rate(self, confidence: float) -> Estimate:
        """Share of the pairs ranked right that are ranked wrong after the edit; zero is best."""
        right = (self.pairs.margin > 0).astype(np.float64)
        if len(right) and not right.any():
            reason = "no pair is ranked correctly before the edit"
            return Estimate.undefined(reason, n=len(right), confidence=confidence)
        return cluster_ratio(
            self.flipped * right, right, self.pairs.cluster, confidence=confidence, bounds=(0, 1)
        )


def edit_requests(case: Case, audit: str) -> list[Request]:
    """One column an edit, of the less preferred outputs of a sample of pairs."""
    pairs = comparisons(case)
    worse = pairs.worse[sampled(case, pairs)]
    frame = case.eval.frame.iloc[pairs.outputs.row[worse]]
    ids, prompts = frame["id"].tolist(), frame[case.eval.rejected_prompt].tolist()
    words: Sequence[str] = pairs.outputs.words[worse].tolist()
    return [
        Request(name, ids, prompts, [edit(name, output) for output in words], audit)
        for name in EDITS
    ]


def sampled(case: Case, pairs: Comparisons) -> Integers:
    """Places of at most `LENGTH_PAIRS` decided pairs, (n,), each once, whatever the rows' order.

    Left out: pairs whose less preferred output has fewer than two characters.
    """
    outputs = pairs.outputs
    places = np.flatnonzero(~pairs.tied)
    texts = np.stack([outputs.text[pairs.better[places]], outputs.text[pairs.worse[places]]])
    places = places[np.unique(texts, axis=1, return_index=True)[1]]
    lengths = np.array([len(text) for text in outputs.words[pairs.worse[places]]], dtype=np.int64)
    places = places[lengths >= 2]
    better, worse = outputs.words[pairs.better[places]], outputs.words[pairs.worse[places]]
    keys = [f"{a}\x00{b}" for a, b in zip(better, worse, strict=True)]
    return np.sort(places[sample_order(keys, case.seed)[:LENGTH_PAIRS]])


def edit(name: str, output: str) -> str:
    """An edited output; see `EDITS`."""
    if name == "repetition":
        return f"{output}\n\n{output}"
    if name == "truncation":
        half = output[: len(output) // 2]
        words = half.rsplit(maxsplit=1)  # to the last white space, in languages that have it
        return (words[0] if len(words) == 2 else half).rstrip() or half
    first = zlib.crc32(output.encode("utf-8", "surrogatepass")) % len(CLOSINGS)
    second = (first + 3) % len(CLOSINGS)
    return f"{output.rstrip()}\n\n{CLOSINGS[first]} {CLOSINGS[second]}"


def edited(case: Case, scores: Scores, found: Margins, audit: str) -> dict[str, Edited]:
    """What each edit did."""
    pairs = comparisons(case)
    chosen = sampled(case, pairs)
    better, worse = pairs.better[chosen], pairs.worse[chosen]
    columns = [scores.column(request.side) for request in case.data_requests]
    truncated = np.concatenate([column.truncated for column in columns])[worse]
    finite = np.isfinite(found.reward[better]) & np.isfinite(found.reward[worse])
    results = {}
    for name in EDITS:
        column = scores.column(name, audit=audit)
        usable = finite & np.isfinite(column.reward) & ~_cut(column, truncated)
        part = replace(
            found,
            better=better[usable],
            worse=worse[usable],
            tied=pairs.tied[chosen][usable],
            left_out=int((~usable).sum()),
        )
        added = (column.output_tokens - found.length[worse])[usable]
        results[name] = Edited(
            part, column.reward[usable], float(added.mean()) if added.size else 0.0
        )
    return results


def edit_table(results: Mapping[str, Edited], confidence: float, unit: str) -> pd.DataFrame:
    """One row an edit."""
    rows = []
    for name, found in results.items():
        effect, flips = found.effect(confidence), found.flip_rate(confidence)
        row: dict[str, Any] = {"edit": name, "what": EDITS[name], f"added_{unit}": found.added}
        for key, estimate in (("effect_sd", effect), ("flip_rate", flips)):
            row |= {key: estimate.value, f"{key}_low": estimate.low, f"{key}_high": estimate.high}
        note = effect.undefined_reason or ""
        rows.append(row | {"pairs": effect.n, "left_out": found.pairs.left_out, "note": note})
    return pd.DataFrame(rows)


def edit_examples(case: Case, found: Edited) -> tuple[Mapping[str, Any], ...]:
    """The pairs that the edit turned, largest rise first; then the largest rises."""
    turned = (found.flipped == 1) & (found.pairs.margin > 0)
    height = np.max(np.abs(found.rise), initial=0.0)
    worst = np.where(found.rise > 0, found.rise + np.where(turned, height, 0.0), -np.inf)
    return pair_examples(
        case,
        found.pairs,
        worst,
        lambda i: f"reward of the rejected response after the edit: {found.reward[i]:.4g}",
    )


def _cut(column: Column, truncated: Mask) -> Mask:
    """Texts of which the model saw less after the edit than the edit alone explains."""
    return column.output_truncated | (column.truncated & ~truncated)
