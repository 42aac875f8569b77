"""Rewards from a server over HTTP: reward endpoints and language models as judges."""

from rmaudit.rewards.served.model import ServerOptions as ServerOptions
from rmaudit.rewards.served.model import load_served as load_served
