"""Losses of reward training, one function each."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Negative log-likelihood of each preference under Bradley-Terry.

    -log sigmoid(R(c, chosen) - R(c, rejected)), Eq. 11 of arXiv 2404.08555, in nats, >= 0; log 2
    at a margin of 0. Written with `logsigmoid`, which neither overflows nor loses the small losses
    of large margins.

    Parameters
    ----------
    chosen, rejected
        Rewards, (n_pairs,).

    Returns
    -------
    Losses, (n_pairs,).
    """
    return -logsigmoid(chosen - rejected)
