"""Reward models from feedback: losses, loop, checkpoints. torch is loaded on use."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmaudit.training.reward.train import train_reward_model as train_reward_model

_HOME = {"train_reward_model": "train"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
