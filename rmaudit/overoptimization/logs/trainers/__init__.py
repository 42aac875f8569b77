"""What each trainer calls KL, reward and length, and in which unit: declared, not programmed.

A third party adds a trainer with a module that calls `register`, listed under the entry-point group
``rmaudit.trainers``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rmaudit.registry import Registry

KlUnit = Literal["sequence", "token", "sqrt sequence"]


@dataclass(frozen=True)
class Kl:
    """A key of the KL from the initial policy.

    `unit` is "sequence" (nats per sequence), "token" (a mean over tokens: times the length) or
    "sqrt sequence" (the square root of the KL of a sequence).
    """

    key: str
    unit: KlUnit


@dataclass(frozen=True)
class Trainer:
    """The keys of one trainer, the preferred first; ``train/``, ``eval/`` and the like left out.

    Attributes
    ----------
    title, source
        Its name, and what the keys were checked against.
    kl, proxy, gold
        Keys of the KL, of the reward that is optimised, and of a gold reward.
    length
        Keys of the mean response length in tokens; of a tuple the product (turns, and tokens per
        turn), whose later factors may be absent.
    components
        Patterns of a component reward's mean, its name as the group.
    spreads
        What takes the place of the end of a reward's key to give its SD: ("/mean", "/std").
    signature
        Keys (or their beginnings) that no other trainer writes.
    """

    title: str
    source: str
    kl: Sequence[Kl] = ()
    proxy: Sequence[str] = ()
    gold: Sequence[str] = ()
    length: Sequence[tuple[str, ...]] = ()
    components: Sequence[str] = ()
    spreads: Sequence[tuple[str, str]] = ()
    signature: Sequence[str] = ()


TRAINERS: Registry[Trainer] = Registry("trainer", __name__, "rmaudit.trainers")
"""Trainers by name."""


def register(name: str, trainer: Trainer) -> None:
    """Make the keys of a trainer known."""
    TRAINERS.add(name, trainer, trainer.source)
