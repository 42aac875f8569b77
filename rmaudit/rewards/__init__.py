"""Where a reward comes from: transformers, a Python callable, recorded values, ensembles."""

from rmaudit.rewards.base import Encoded, Mode, RewardModel, Text
from rmaudit.rewards.loading import load_reward_model

__all__ = ["Encoded", "Mode", "RewardModel", "Text", "load_reward_model"]
