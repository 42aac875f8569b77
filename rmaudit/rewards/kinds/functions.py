"""Reward functions, named by module and name."""

from __future__ import annotations

from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.functions.function import load_python
from rmaudit.rewards.kinds import Loading, RewardKind, register_reward


@register_reward
class FunctionKind(RewardKind):
    """A callable in one of the signatures that trainers use."""

    name = "python"
    accepted = "python:module:callable"
    options = ()

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        loading.permissions.require_code(spec)
        settings = loading.settings
        return load_python(spec, time_limit=settings.timeout, reference=settings.reference_column)
