"""Proxy rewards of the dose world: small networks trained on its comparisons, as an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from rmaudit.errors import UsageError
from rmaudit.typing import Float, Integers
from rmaudit.worlds.dose import text
from rmaudit.worlds.dose.world import N_SLOTS, DoseWorld, Pairs

Members = Literal["bootstrap", "seed", "base"]
"""How members differ: in their resample of the pairs (and their weights), in their first weights
alone, or in their size as well."""
WIDTHS = (32, 16, 64, 24, 48)  # hidden units of members on different bases
LEARNING_RATE, WEIGHT_DECAY, BATCH = 3e-3, 1e-3, 64
EPOCHS, FEWEST_STEPS, MOST_STEPS = 40, 150, 600


@dataclass(frozen=True)
class Proxies:
    """An ensemble trained on one set of comparisons.

    Attributes
    ----------
    tables : ndarray, (n_members, n_contexts, n_outputs)
        Each member's reward of every reply.
    averaged : ndarray or None, (n_contexts, n_outputs)
        The reward of the network whose weights are the members' mean (WARM, arXiv 2401.12187);
        None where the members have no first weights in common.
    """

    tables: Float
    averaged: Float | None = None

    def error_correlation(self, gold: Float) -> float:
        """Mean correlation of two members' errors, after each is scaled to the gold reward."""
        scaled = [standardized(table) - standardized(gold) for table in self.tables]
        rows = np.corrcoef([error.ravel() for error in scaled])
        others = rows[~np.eye(len(rows), dtype=bool)]
        return float(others.mean()) if others.size else float("nan")

    def effective_number(self, gold: Float) -> float:
        """Independent members worth as much: K / (1 + (K - 1) rho), from 1 to K for rho >= 0."""
        k = len(self.tables)
        return k / (1 + (k - 1) * self.error_correlation(gold)) if k > 1 else 1.0


def standardized(table: Float) -> Float:
    """A reward table centred and divided by its SD within each context."""
    centred = table - table.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-12))


def train_proxies(
    world: DoseWorld,
    pairs: Pairs,
    *,
    members: int = 4,
    differ: Members = "bootstrap",
    seed: int = 0,
    average: bool = True,
    width: int = WIDTHS[0],
) -> Proxies:
    """Train an ensemble under the Bradley-Terry loss.

    Parameters
    ----------
    world, pairs
        The world and its comparisons.
    members
        Networks, at least 1. The first is trained on the pairs as they are.
    differ
        See `Members`.
    seed
        Of weights, resamples and the order of the pairs.
    average
        Also train members from common first weights on bootstraps and average them.
    width
        Hidden units of each layer; with `differ` "base" members have sizes of their own.
    """
    if members < 1:
        raise UsageError(f"an ensemble has at least one member, not {members}")
    features = _features(world)
    nets = []
    for k in range(members):
        rows = None if k == 0 or differ == "seed" else _resample(len(pairs), seed, k)
        size = WIDTHS[k % len(WIDTHS)] if differ == "base" else width
        nets.append(_train(features, pairs, rows, size, seed, first=k, order=k))
    tables = np.stack([_table(net, world, features) for net in nets])
    if not average or members < 2:
        return Proxies(tables)
    # Weights can be averaged where members start alike (arXiv 2401.12187, Section 3).
    alike = [
        _train(features, pairs, _resample(len(pairs), seed, k), width, seed, first=0, order=k)
        for k in range(1, members + 1)
    ]
    return Proxies(tables, _table(_averaged(alike), world, features))


def _features(world: DoseWorld) -> tuple[torch.Tensor, torch.Tensor]:
    """Of replies, (n_outputs, n_slots), and of contexts as one-hot codes, (n_contexts, ...)."""
    codes = world.contexts
    sizes = (len(text.TOPICS), len(text.TONES), len(text.URGENCIES))
    one_hot = [
        np.eye(size)[codes[name]]
        for name, size in zip(("topic", "tone", "urgency"), sizes, strict=True)
    ]
    replies = world.doses / 1.5 - 0.4
    return (
        torch.tensor(replies, dtype=torch.float32),
        torch.tensor(np.concatenate(one_hot, axis=1), dtype=torch.float32),
    )


def _resample(n: int, seed: int, member: int) -> Integers:
    return np.random.default_rng([seed, 1, member]).integers(n, size=n)


def _network(inputs: int, width: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Linear(inputs, width), nn.ReLU()),
            *(nn.Linear(width, width), nn.ReLU()),
            # No bias: a comparison does not identify it.
            nn.Linear(width, 1, bias=False),
        )


def _train(
    features: tuple[torch.Tensor, torch.Tensor],
    pairs: Pairs,
    rows: Integers | None,
    width: int,
    seed: int,
    *,
    first: int,
    order: int,
) -> nn.Sequential:
    """One network; `first` names its first weights, `order` the order of its batches."""
    replies, contexts = features
    data = pairs if rows is None else pairs.take(rows)
    net = _network(N_SLOTS + contexts.shape[1], width, 1000 * seed + first)
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rng = np.random.default_rng([seed, 2, order])
    steps = max(FEWEST_STEPS, min(MOST_STEPS, EPOCHS * len(data) // BATCH))
    for _ in range(steps):
        batch = rng.integers(len(data), size=min(BATCH, len(data)))
        context = contexts[data.context[batch]]
        chosen, rejected = (
            net(torch.cat([replies[side[batch]], context], dim=1))[:, 0]
            for side in (data.chosen, data.rejected)
        )
        loss = nn.functional.softplus(rejected - chosen).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return net


def _averaged(nets: Sequence[nn.Sequential]) -> nn.Sequential:
    states = [net.state_dict() for net in nets]
    mean = {name: torch.stack([s[name] for s in states]).mean(dim=0) for name in states[0]}
    nets[0].load_state_dict(mean)
    return nets[0]


@torch.inference_mode()
def _table(
    net: nn.Sequential, world: DoseWorld, features: tuple[torch.Tensor, torch.Tensor]
) -> Float:
    """A network's reward of every reply in every context."""
    replies, contexts = features
    rows = []
    for context in contexts:
        both = torch.cat([replies, context.expand(len(replies), -1)], dim=1)
        rows.append(net(both)[:, 0].double().numpy())
    return np.stack(rows)
