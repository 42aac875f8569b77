"""Rewards of policy samples as matrices, (rows, samples per row)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.rows import NO_SLICE
from rmaudit.data.types import Dataset
from rmaudit.rewards.ensemble import Aggregate, aggregate_rewards
from rmaudit.typing import Float

RECORDED = ("proxy_rewards", "rewards")
POLICY = "policy"  # the column that says which policy a row's outputs come from
AGGREGATES: tuple[Aggregate, ...] = ("mean", "wco", "uwo")
UNCERTAINTY_WEIGHT = 0.5  # of uwo, on members in SDs


def policies(samples: Dataset) -> NDArray[np.object_]:
    """The policy of each row, (n_rows,); rows that name none are of one policy, "(none)"."""
    return samples.frame[POLICY].fillna(NO_SLICE).map(str).to_numpy(dtype=object)


def first_policy(samples: Dataset) -> NDArray[np.bool_]:
    """Rows of the policy that comes first, (n_rows,); all without a column ``policy``."""
    if POLICY not in samples.frame:
        return np.ones(len(samples), dtype=np.bool_)
    names = policies(samples)
    return np.asarray(names == names[0], dtype=np.bool_)


def matrix(rows: Sequence[Sequence[float] | None]) -> Float:
    """Lists of different length as (n, longest), NaN where a row has no such entry."""
    lists = [[] if row is None else list(row) for row in rows]
    longest = max((len(row) for row in lists), default=0)
    out = np.full((len(lists), longest), np.nan)
    for i, row in enumerate(lists):
        out[i, : len(row)] = [np.nan if value is None else value for value in row]
    return out


def scored_matrix(samples: Dataset, reward: Callable[[str], Float]) -> Float:
    """Columns ``output_0``, ... as one matrix; a column holds the rows that have such an output."""
    counts = np.array([len(row) for row in samples.frame["outputs"]], dtype=np.int64)
    out = np.full((len(counts), int(counts.max(initial=0))), np.nan)
    for j in range(out.shape[1]):
        out[counts > j, j] = reward(f"output_{j}")
    return out


def widened(values: Float, width: int) -> Float:
    """The same with NaN columns up to a width."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1])), constant_values=np.nan)


def recorded(samples: Dataset) -> str | None:
    """The column of recorded rewards, if there is one."""
    return next((name for name in RECORDED if samples.columns(name)), None)


def has_texts(samples: Dataset) -> bool:
    """Whether any sample has a text."""
    return samples.columns("outputs") and any(t for row in samples.frame["outputs"] for t in row)


def aggregates(members: Float) -> dict[str, Float]:
    """Mean, worst case and uncertainty-weighted reward of members in SDs, (K, rows, size) each.

    Members are divided by their pooled within-prompt SD and centred by prompt, so that none counts
    for more because of its unit (Coste et al. 2023, Section 3).
    """
    centred = members - _mean_of(members)
    freedom = np.isfinite(members).sum(axis=2) - 1  # (K, rows)
    square = np.nansum(centred**2, axis=(1, 2))
    sd = np.sqrt(square / np.maximum(np.maximum(freedom, 0).sum(axis=1), 1))
    scaled = centred / np.where(sd > 0, sd, 1.0)[:, None, None]
    flat = scaled.reshape(len(members), -1)
    return {
        how: aggregate_rewards(flat, how, UNCERTAINTY_WEIGHT).reshape(members.shape[1:])
        for how in AGGREGATES
    }


def _mean_of(members: Float) -> Float:
    there = np.isfinite(members)
    total = np.where(there, members, 0.0).sum(axis=2, keepdims=True)
    mean: Float = total / np.maximum(there.sum(axis=2, keepdims=True), 1)
    return mean
