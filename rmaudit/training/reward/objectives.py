"""Which loss each type of feedback has, and how well held-out examples are predicted.

==========  ==============================================  ======================================
preference  Bradley-Terry; margins, soft labels, smoothing  ranking by margin, at the best scale
ranking     Plackett-Luce                                   the same, of all pairs of a ranking
rating      squared error (Eq. 7), one head a rating        squared error of the first head
unpaired    logistic                                        logistic
==========  ==============================================  ======================================

Where critiques say what an output lacks, heads of their own learn it beside the scalar.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.data.types import DataType
from rmaudit.training.reward import losses
from rmaudit.training.reward.examples import Examples
from rmaudit.training.reward.heldout import HeldOut, evaluate_margins
from rmaudit.typing import Float

DIFFERENCES: tuple[DataType, ...] = ("preference", "ranking")  # a constant changes no loss
_COMPARED = 2000  # examples that are compared two by two, at most


def example_losses(kind: DataType, heads: Tensor, there: Tensor, target: Tensor) -> Tensor:
    """Loss of each example, (n,).

    Parameters
    ----------
    kind
        Type of the data.
    heads
        (n, k, n_heads) of the texts of each example.
    there
        Which texts exist, (n, k) bool.
    target
        See `Examples`.
    """
    rewards = heads[..., 0]  # (n, k)
    if kind == "preference":
        first = rewards[:, 0] - target[:, 1]  # less the margin that is known
        return losses.bradley_terry_soft(first, rewards[:, 1], target[:, 0])
    if kind == "ranking":
        return losses.plackett_luce(rewards, there, target[:, : rewards.shape[1]].long())
    if kind == "unpaired":
        return losses.binary(rewards[:, 0], target[:, 0])
    known = ~target.isnan()
    errors = losses.squared_error(heads[:, 0, : target.shape[1]], target.nan_to_num())
    return torch.where(known, errors, 0.0).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def critique_losses(heads: Tensor, there: Tensor, missing: Tensor) -> Tensor:
    """Loss of the attribute heads, the last ones, on the last text of each example, (n,)."""
    rows = torch.arange(len(heads), device=heads.device)
    worst = heads[rows, there.sum(dim=1) - 1]  # (n, n_heads)
    return losses.attributes(worst[:, -missing.shape[1] :], missing)


def evaluate(examples: Examples, rewards: Float, there: NDArray[np.bool_]) -> HeldOut:
    """How well rewards, (n, k), predict held-out examples; accuracy counts equal rewards as half.

    For ratings and labels the accuracy is that of all pairs of examples with different targets (of
    the first 2,000), within a prompt or not.
    """
    if examples.kind == "preference":
        return evaluate_margins(rewards[:, 0] - rewards[:, 1])
    if examples.kind == "ranking":
        return evaluate_margins(_ranked_margins(rewards, there, examples.target))
    target = examples.target[:, 0]
    targets = torch.as_tensor(rewards[:, :1, None])
    loss = float(
        example_losses(
            examples.kind, targets, torch.as_tensor(there), torch.as_tensor(target[:, None])
        ).mean()
    )
    if not np.isfinite(loss):
        return HeldOut()
    return HeldOut(loss, loss, _concordance(rewards[:_COMPARED, 0], target[:_COMPARED]))


def _ranked_margins(rewards: Float, there: NDArray[np.bool_], target: Float) -> Float:
    """Reward of the better less reward of the worse, of all pairs of each ranking, (n_pairs,)."""
    better, worse = np.triu_indices(rewards.shape[1], 1)
    start = target[:, : rewards.shape[1]]
    differ = there[:, worse] & (start[:, better] != start[:, worse])
    return np.asarray((rewards[:, better] - rewards[:, worse])[differ], dtype=np.float64)


def _concordance(rewards: Float, target: Float) -> float:
    """Share of pairs with different targets that rewards put in order; NaN if there are none."""
    above = target[:, None] > target[None, :]
    if not above.any():
        return float("nan")
    difference = (rewards[:, None] - rewards[None, :])[above]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())
