"""Losses of reward training, one function each: nats or squared units an example, lower is better.

Rewards are scores R(c, o) of a model; every loss returns one value an example, to be averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

_NOTHING = -1e30  # a reward that adds nothing to a sum of exponentials; -inf has no gradient


def bradley_terry(chosen: Tensor, rejected: Tensor, margin: Tensor | float = 0.0) -> Tensor:
    """Negative log-likelihood of each preference under Bradley-Terry.

    -log sigmoid(R(c, chosen) - R(c, rejected) - margin), Eq. 11 of arXiv 2404.08555, in nats, >= 0;
    log 2 at a difference of `margin`. Written with `logsigmoid`, which neither overflows nor loses
    the small losses of large margins.

    Parameters
    ----------
    chosen, rejected
        Rewards, (n_pairs,).
    margin
        By how much the chosen output is known to be better, (n_pairs,), >= 0 (Llama 2, arXiv
        2307.09288, Eq. 2); 0 where only the order is known.

    Returns
    -------
    Losses, (n_pairs,).
    """
    return -logsigmoid(chosen - rejected - margin)


def bradley_terry_soft(first: Tensor, second: Tensor, probability: Tensor | float) -> Tensor:
    """Cross-entropy of Bradley-Terry with a label that is a share of votes.

    ``-p log sigmoid(d) - (1 - p) log sigmoid(-d)`` with d the difference of the rewards, in nats;
    least, and equal to the entropy of p, where sigmoid(d) = p.

    Parameters
    ----------
    first, second
        Rewards, (n_pairs,).
    probability
        Share of the votes that prefer the first, (n_pairs,), 0 to 1.

    Returns
    -------
    Losses, (n_pairs,).
    """
    difference = first - second
    return -probability * logsigmoid(difference) - (1 - probability) * logsigmoid(-difference)


def bradley_terry_smoothed(chosen: Tensor, rejected: Tensor, smoothing: float) -> Tensor:
    """Bradley-Terry where a share `smoothing` (0 to 0.5) of the labels is taken to be wrong.

    `bradley_terry_soft` at ``1 - smoothing``: no margin above ``log((1 - s)/s)`` is asked for.
    """
    return bradley_terry_soft(chosen, rejected, 1 - smoothing)


def centering(rewards: Tensor, there: Tensor) -> Tensor:
    """Squared sum of the rewards of each row, (n,): 0 where they lie around 0.

    A difference says nothing of the level; with a weight of 0.01 this fixes it and hardly changes
    the differences (Eisenstein et al. 2023, arXiv 2312.09244, Section 4.2).

    Parameters
    ----------
    rewards
        (n, k): the outputs of each row.
    there
        Which of them exist, (n, k) bool.
    """
    return torch.where(there, rewards, 0.0).sum(dim=1) ** 2


def squared_error(reward: Tensor, rating: Tensor) -> Tensor:
    """(R(c, o) - rating)**2, Eq. 7 of arXiv 2404.08555: ratings as a regression, (n,)."""
    return (reward - rating) ** 2


def binary(reward: Tensor, label: Tensor) -> Tensor:
    """Logistic loss of good (1) and bad (0) outputs, nats, (n,): -log sigmoid(+-R(c, o)).

    Labels between 0 and 1 are shares of votes. The reward is then a log-odds, with a zero that
    means something, unlike that of Bradley-Terry.
    """
    return -label * logsigmoid(reward) - (1 - label) * logsigmoid(-reward)


def plackett_luce(
    ranked: Tensor, there: Tensor | None = None, first: Tensor | None = None
) -> Tensor:
    r"""Negative log-likelihood of each ranking under Plackett-Luce, nats.

    :math:`-\sum_k \log \frac{e^{R_k}}{\sum_{j \ge k} e^{R_j}}`: the best is chosen among all, the
    second among the rest, ... (Plackett 1975). Two outputs give Bradley-Terry. Invariant to a
    constant a prompt.

    Parameters
    ----------
    ranked
        Rewards of the outputs of each prompt, from the best to the worst, (n, k).
    there
        Which of them exist, (n, k) bool, the first of each row; all by default.
    first
        For each place the first place of those tied with it, (n, k) int64; no ties by default.
        Tied outputs are each chosen among all of them and the rest (Breslow 1974).

    Returns
    -------
    Losses, (n,); 0 for a single output.
    """
    there = torch.ones_like(ranked, dtype=torch.bool) if there is None else there
    rewards = ranked.masked_fill(~there, _NOTHING)
    # log sum over what is left, from the worst up: (n, k). Rows start with an output that exists.
    left = torch.logcumsumexp(rewards.flip(1), dim=1).flip(1)
    if first is not None:
        left = left.gather(1, first)
    return torch.where(there, left - ranked, 0.0).sum(dim=1)


def attributes(heads: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Logistic loss of attributes that a critique names or does not, mean over the known, (n,).

    Parameters
    ----------
    heads
        One logit an attribute, (n, n_attributes).
    target
        1 where the attribute holds, 0 where not, (n, n_attributes).
    known
        Where the feedback says which, (n, n_attributes) bool; everywhere by default.

    Returns
    -------
    Losses, nats, (n,); 0 where nothing is known.
    """
    known = torch.ones_like(heads, dtype=torch.bool) if known is None else known
    losses = torch.where(known, binary(heads, target), 0.0)
    return losses.sum(dim=1) / known.sum(dim=1).clamp(min=1)
