"""Exact quantities of a finite world, by summing over every output of a context.

Policies and rewards are functions of a context's index that return one number per output,
(n_outputs,): log-probabilities for a policy. KL is in nats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from rmaudit.errors import UsageError
from rmaudit.typing import Float

Policy = Callable[[int], Float]
"""Context index -> log-probability of each output, (n_outputs,)."""
RewardTable = Callable[[int], Float]
"""Context index -> reward of each output, (n_outputs,)."""


@dataclass(frozen=True, slots=True)
class LiteralCoverage:
    """kappa and rho of a feedback set, by enumeration (arXiv 2404.08555, Section 5). All in 0..1.

    `kappa` = |C_HF| / |C| over contexts that deployment can show; `rho` = labelled outputs over all
    outputs, for contexts in C_HF. The `mass` versions weigh contexts by deployment and outputs by
    the policy: the population values of "found verbatim". NaN where nothing was labelled.
    """

    kappa: float
    rho: float
    kappa_mass: float
    rho_mass: float


def tilt(log_policy: Float, reward: Float, beta: float) -> Float:
    """The maximiser of E[r] - beta KL(pi || pi_pre) on one context.

    log pi(o) = log pi_pre(o) + r(o)/beta - log Z; Z depends on the context (Eq. 17 of
    arXiv 2404.08555 writes a proportionality sign).

    Parameters
    ----------
    log_policy, reward
        Log-probabilities of pi_pre and rewards, (n_outputs,).
    beta
        KL weight, > 0, in the unit of the reward per nat.

    Returns
    -------
    Log-probabilities, (n_outputs,), normalised.

    Raises
    ------
    UsageError
        If beta is not positive.
    """
    if not beta > 0:
        raise UsageError(f"beta must be positive, not {beta}")
    logits = log_policy + reward / beta
    return np.asarray(logits - logsumexp(logits), dtype=np.float64)


def best_of_n(log_policy: Float, reward: Float, n: float | Float) -> Float:
    """The distribution of the best of `n` draws by a reward, on one context.

    An output of rank `i` wins with probability ``F(i)^n - F(i-1)^n``, F the cumulative probability
    in order of reward; outputs with one reward share theirs in proportion to the policy.

    Parameters
    ----------
    log_policy, reward
        Log-probabilities of the policy that is drawn from, and rewards, (n_outputs,).
    n
        Draws, at least 1; any size, since nothing is sampled. A number, or several, (n_points,).

    Returns
    -------
    Log-probabilities, (n_outputs,) or (n_points, n_outputs); -inf where an output cannot win.

    Raises
    ------
    UsageError
        If n is under 1.
    """
    draws = np.asarray(n, dtype=np.float64)[..., None]
    if not (draws >= 1).all():
        raise UsageError(f"n must be at least 1, not {n}")
    values, rank = np.unique(reward, return_inverse=True)
    mass = np.bincount(rank, np.exp(log_policy), len(values))
    mass = mass / mass.sum()
    above = np.concatenate([np.cumsum(mass[::-1])[::-1][1:], [0.0]])  # probability of a higher rank
    with np.errstate(divide="ignore"):
        log_cumulative = np.log1p(-np.minimum(above, 1.0))  # of F, exact near 1
        below = np.concatenate([[-np.inf], log_cumulative[:-1]])
        won = np.exp(draws * log_cumulative) - np.exp(draws * below)
        share = np.log(np.maximum(won, 0.0)) - np.log(mass)
    return np.asarray(log_policy + share[..., rank], dtype=np.float64)


def expectation(log_policy: Float, values: Float) -> float:
    """Sum over outputs of pi(o) values(o)."""
    return float(np.exp(log_policy) @ values)


def kl_divergence(log_policy: Float, log_reference: Float) -> float:
    """KL(policy || reference) on one context, in nats, >= 0.

    Infinite where the policy goes where the reference never does; outputs of probability 0 under
    the policy add nothing.
    """
    probability = np.exp(log_policy)
    on = probability > 0
    return float(probability[on] @ (log_policy[on] - log_reference[on]))
