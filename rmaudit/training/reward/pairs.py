"""Which rows are trained on: the usable ones, split into training and held-out prompts."""

from __future__ import annotations

import numpy as np

from rmaudit.data.types import Dataset
from rmaudit.errors import DataError
from rmaudit.training.reward.examples import TRAINABLE
from rmaudit.typing import Integers


def usable(data: Dataset) -> Dataset:
    """The rows to train on: all but labelled ties and rankings of one output.

    Raises
    ------
    DataError
        If the data holds no feedback, or nothing but ties.
    """
    where = data.source.path
    if data.type not in TRAINABLE:
        raise DataError(
            f"{where}: reward training needs preference data (prompt, chosen, rejected) or another "
            f"feedback (ranking, rating, unpaired), this is {data.type} data"
        )
    data = data.take(~data.tied)
    if data.type == "ranking":
        data = data.take(np.array([len(set(r)) > 1 for r in data.frame["ranking"]], dtype=bool))
    if not len(data):
        raise DataError(f"{where}: no pair to train on; every row is a labelled tie or set aside")
    return data


def split(data: Dataset, share: float, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Positions to train on and to hold out; no prompt (or group) is in both.

    Raises
    ------
    DataError
        If something is to be held out and there are fewer than two prompts.
    """
    clusters = data.clusters
    n_clusters = int(clusters.max()) + 1
    if share == 0:
        return np.arange(len(data)), np.array([], dtype=np.int64)
    if n_clusters < 2:
        raise DataError(
            f"{data.source.path}: all rows share one prompt, so none can be held out; add prompts "
            "or set held_out_share to 0"
        )
    n_held_out = min(max(1, round(share * n_clusters)), n_clusters - 1)
    held_out = np.isin(clusters, rng.permutation(n_clusters)[:n_held_out])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def bootstrapped(data: Dataset, positions: Integers, rng: np.random.Generator) -> Integers:
    """As many prompts as there are among some positions, drawn with replacement: their positions.

    A prompt's rows stay together: rows of one prompt say less than rows of many.
    """
    clusters = data.clusters[positions]
    order = np.argsort(clusters, kind="stable")
    groups = np.split(positions[order], np.flatnonzero(np.diff(clusters[order])) + 1)
    drawn = rng.integers(len(groups), size=len(groups))
    return np.concatenate([groups[k] for k in drawn])
