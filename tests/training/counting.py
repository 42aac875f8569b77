"""Rewards that count, apart from torch: the process of a function imports its module."""

from __future__ import annotations

from collections.abc import Sequence


def count_good(pairs: Sequence[tuple[object, str]]) -> list[float]:
    """How often an output says good: a reward model for `python:counting:count_good`."""
    return [float(output.split().count("good")) for _, output in pairs]


def length_of(pairs: Sequence[tuple[object, str]]) -> list[float]:
    """How many words an output has."""
    return [float(len(output.split())) for _, output in pairs]
