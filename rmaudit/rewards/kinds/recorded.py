"""Rewards that the data already carries."""

from __future__ import annotations

from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.kinds import Loading, RewardKind, register_reward
from rmaudit.rewards.recorded import Recorded


@register_reward
class RecordedKind(RewardKind):
    """The reward columns, or one model of a column ``scores``."""

    name = "recorded"
    accepted = "recorded, or recorded:NAME for one model of a column scores"
    options = ()

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        return Recorded(spec.partition(":")[2] or None, components=loading.settings.components)
