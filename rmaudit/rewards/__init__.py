"""Where a reward comes from: transformers, a callable, a server, recorded values, ensembles."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmaudit.rewards.base import Encoded, Mode, RewardModel, Signal, Text
    from rmaudit.rewards.loading import load_reward_model
    from rmaudit.rewards.served.model import ServerOptions

# On use: a worker that runs a reward function imports this package, and nothing of a model.
_PUBLIC = {
    "Encoded": "rmaudit.rewards.base",
    "Mode": "rmaudit.rewards.base",
    "RewardModel": "rmaudit.rewards.base",
    "ServerOptions": "rmaudit.rewards.served.model",
    "Signal": "rmaudit.rewards.base",
    "Text": "rmaudit.rewards.base",
    "load_reward_model": "rmaudit.rewards.loading",
}

__all__ = [
    "Encoded",
    "Mode",
    "RewardModel",
    "ServerOptions",
    "Signal",
    "Text",
    "load_reward_model",
]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
