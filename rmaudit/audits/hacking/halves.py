"""Two halves of the prompts: what is found on the one is reported on the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from rmaudit.audits.common.allocation import ATTACK_PAIRS
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import Comparisons, Margins, comparisons
from rmaudit.case import Case
from rmaudit.data.types import Prompt, prompt_key
from rmaudit.scoring.requests import Request
from rmaudit.typing import Float, Integers, Mask

FEWEST_PROMPTS = 10  # in each half


@dataclass(frozen=True)
class PromptHalves:
    """Decided pairs of two disjoint sets of prompts: places in `pairs`, each pair once."""

    pairs: Comparisons
    discovery: Integers
    report: Integers  # at most `ATTACK_PAIRS`, of as many prompts as can be

    @property
    def missing(self) -> str | None:
        """Why nothing can be searched for, where nothing can."""
        cluster = self.pairs.outputs.cluster[self.pairs.better]
        fewest = min(np.unique(cluster[part]).size for part in (self.discovery, self.report))
        if fewest < FEWEST_PROMPTS:
            return f"needs pairs of {2 * FEWEST_PROMPTS} prompts or more in --eval"
        return None


def half_of(case: Case) -> Mask:
    """Which evaluation rows are in the half that is searched, (n_rows,)."""
    first: dict[int, str] = {}
    for code, prompt in zip(case.clusters.tolist(), case.eval.frame["prompt"], strict=True):
        key = prompt_key(prompt)
        first[code] = min(first.get(code, key), key)
    if not any(first.values()):  # rows without prompts are told apart by their ids alone
        ids = case.eval.frame["id"].tolist()
        first = dict(zip(case.clusters.tolist(), ids, strict=True))
    codes = np.array(list(first))
    order = codes[sample_order(list(first.values()), case.seed)]
    return np.isin(case.clusters, order[: len(order) // 2])


def split(case: Case) -> PromptHalves:
    """Both halves, from the labels alone."""
    pairs = comparisons(case)
    places = np.flatnonzero(~pairs.tied)
    outputs = pairs.outputs
    texts = np.stack([outputs.text[pairs.better[places]], outputs.text[pairs.worse[places]]])
    once = np.unique(texts, axis=1, return_index=True)[1]
    places = np.sort(places[once[texts[0, once] != texts[1, once]]])
    here = half_of(case)[outputs.row[pairs.better[places]]]
    return PromptHalves(pairs, places[here], spread(case, pairs, places[~here], ATTACK_PAIRS))


def spread(case: Case, pairs: Comparisons, places: Integers, n: int) -> Integers:
    """At most n of some places, of as many prompts as can be; the rows' order decides nothing."""
    words, cluster = pairs.outputs.words, pairs.outputs.cluster[pairs.better[places]]
    prompts = case.eval.frame["prompt"].iloc[pairs.outputs.row[pairs.better[places]]]
    both = zip(prompts, words[pairs.better[places]], words[pairs.worse[places]], strict=True)
    keys = [f"{prompt_key(prompt)}\x00{better}\x00{worse}" for prompt, better, worse in both]
    order = sample_order(keys, case.seed)
    # A prompt's second pair comes after the first pair of every prompt.
    turn = pd.Series(cluster[order]).groupby(cluster[order]).cumcount().to_numpy()
    return places[order[np.argsort(turn, kind="stable")][:n]]


@dataclass(frozen=True)
class Answers:
    """What came back for some texts, (n,) each."""

    reward: Float
    cut: Mask  # the model saw less of the text than there is


class RewardCalls:
    """Rewards of further texts; each distinct text is asked for once."""

    def __init__(self, case: Case, audit: str) -> None:
        self._case, self._audit = case, audit
        self._known: dict[tuple[str, str], tuple[float, bool]] = {}

    @property
    def texts(self) -> int:
        """Distinct texts so far."""
        return len(self._known)

    def __call__(self, prompts: Sequence[Prompt], outputs: Sequence[str]) -> Answers:
        """Rewards in the order of the texts."""
        keys = [(prompt_key(p), o) for p, o in zip(prompts, outputs, strict=True)]
        wanted = {k: p for k, p in zip(keys, prompts, strict=True) if k not in self._known}
        if wanted:
            if self._case.score is None:
                raise ValueError("a search needs a case that can score further texts")
            side = f"search {len(self._known)}"
            ids = [side] * len(wanted)
            texts = [output for _, output in wanted]
            request = Request(side, ids, list(wanted.values()), texts, self._audit)
            column = self._case.score([request]).by_request[request.key]
            cut = column.truncated | column.output_truncated
            values = zip(column.reward.tolist(), cut.tolist(), strict=True)
            self._known |= dict(zip(wanted, values, strict=True))
        return Answers(
            np.array([self._known[key][0] for key in keys], dtype=np.float64),
            np.array([self._known[key][1] for key in keys], dtype=np.bool_),
        )

    def rewards(self, prompts: Sequence[Prompt], outputs: Sequence[str]) -> Float:
        """The rewards alone."""
        return self(prompts, outputs).reward


@dataclass(frozen=True)
class SearchGround:
    """What attacks are searched and tried on: the halves with their rewards, and who to ask."""

    case: Case
    halves: PromptHalves
    found: Margins
    truncated: Mask  # outputs whose prompt the model's maximum length cuts as it is, (m,)
    ask: RewardCalls

    def reported(self) -> tuple[Margins, Mask]:
        """The pairs of the report half, and which of `halves.report` have finite rewards."""
        return self._finite(self.halves.report)

    def discovered(self, n: int | None = None) -> Margins:
        """The pairs of the discovery half; at most n of them, of as many prompts as can be."""
        part, kept = self._finite(self.halves.discovery)
        if n is None:
            return part
        places = self.halves.discovery[kept]
        return self._finite(spread(self.case, self.halves.pairs, places, n))[0]

    def prompts(self, part: Margins, side: Literal["better", "worse"]) -> list[Prompt]:
        """The prompts of one side's outputs."""
        data = self.case.eval
        places = part.better if side == "better" else part.worse
        column = data.frame["prompt" if side == "better" else data.rejected_prompt]
        prompts: list[Prompt] = column.iloc[part.outputs.row[places]].tolist()
        return prompts

    def _finite(self, places: Integers) -> tuple[Margins, Mask]:
        better, worse = self.halves.pairs.better[places], self.halves.pairs.worse[places]
        kept = np.isfinite(self.found.reward[better]) & np.isfinite(self.found.reward[worse])
        tied, lost = self.halves.pairs.tied[places][kept], int((~kept).sum())
        part = replace(self.found, better=better[kept], worse=worse[kept], tied=tied, left_out=lost)
        return part, kept


def words_of(part: Margins, side: Literal["better", "worse"]) -> list[str]:
    """One side's outputs."""
    words: list[str] = part.outputs.words[getattr(part, side)].tolist()
    return words
