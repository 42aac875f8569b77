"""Evaluation rows that stand in the feedback with a word or two changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.draw import row_order
from rmaudit.audits.common.row_content import NONE
from rmaudit.audits.common.support import output_words
from rmaudit.data.types import Dataset
from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_ratios
from rmaudit.text.near import near_duplicates
from rmaudit.typing import Integers, Mask

MOST_TEXTS = 50_000  # of either data set; of more, whole rows are drawn at random


@dataclass(frozen=True)
class NearLeak:
    """Which evaluation rows are similar to feedback rows, and whether feedback rows are too."""

    rows: Integers  # evaluation rows that were compared
    partner: Integers  # feedback row of each, or NONE
    excess: Estimate  # share of them beyond that of feedback rows like others of the feedback


def near_leak(evaluation: Dataset, feedback: Dataset, exact: Mask, seed: int) -> NearLeak:
    """Rows whose prompt and response share most words and word pairs with a feedback row's.

    Texts made from templates are similar without any leak; then rows of the feedback are as
    similar to one another, and `excess` is what goes beyond that.
    """
    rng = np.random.default_rng(seed)
    texts, owner = _drawn(evaluation, "eval", seed)
    known, known_owner = _drawn(feedback, "feedback", seed)
    rows, partner = _by_row(near_duplicates(texts, known), owner, known_owner)
    partner = np.where(exact[rows], NONE, partner)
    # The feedback against itself: one half of its prompts against the other.
    codes = feedback.clusters
    order = rng.permutation(int(codes.max(initial=-1)) + 1)
    mine = (order < len(order) / 2)[codes[known_owner]]
    places = [np.flatnonzero(mine), np.flatnonzero(~mine)]
    parts = [[known[i] for i in place] for place in places]
    own_rows, own = _by_row(near_duplicates(*parts), known_owner[places[0]], known_owner[places[1]])
    here, there = (partner != NONE).astype(float), (own != NONE).astype(float)
    none_here, none_there = np.zeros(len(here)), np.zeros(len(there))
    offset = int(evaluation.clusters.max(initial=-1)) + 1
    excess = cluster_ratios(
        [
            (1.0, np.r_[here, none_there], np.r_[none_here + 1, none_there]),
            (-1.0, np.r_[none_here, there], np.r_[none_here, none_there + 1]),
        ],
        np.r_[evaluation.clusters[rows], offset + codes[own_rows]],
        bounds=(-1, 1),
    )
    return NearLeak(rows, partner, excess)


def _drawn(data: Dataset, name: str, seed: int) -> tuple[list[str], Integers]:
    texts, owner = output_words(data, name)
    if len(texts) > MOST_TEXTS:
        count = np.bincount(owner, minlength=len(data))
        order = row_order(data, seed)
        kept = np.zeros(len(data), dtype=bool)
        kept[order[: int(np.searchsorted(np.cumsum(count[order]), MOST_TEXTS))]] = True
        places = np.flatnonzero(kept[owner])
        texts, owner = [texts[i] for i in places], owner[places]
    return texts, owner


def _by_row(found: Integers, owner: Integers, known: Integers) -> tuple[Integers, Integers]:
    """The rows of some texts, and for each a row with a similar text, or `NONE`."""
    rows = np.unique(owner)
    partner = np.full(len(rows), NONE, dtype=np.int64)
    hits = np.flatnonzero(found >= 0)
    partner[np.searchsorted(rows, owner[hits])] = known[found[hits]]
    return rows, partner
