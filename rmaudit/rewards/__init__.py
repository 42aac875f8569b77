"""Where a reward comes from: transformers, a callable, a server, recorded values, ensembles."""

from rmaudit.rewards.base import Encoded, Mode, RewardModel, Text
from rmaudit.rewards.loading import load_reward_model
from rmaudit.rewards.served.model import ServerOptions

__all__ = ["Encoded", "Mode", "RewardModel", "ServerOptions", "Text", "load_reward_model"]
