"""Reward servers, by their URL."""

from __future__ import annotations

from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.kinds import Loading, RewardKind, register_reward
from rmaudit.rewards.served.client import is_url, shown_url
from rmaudit.rewards.served.model import ServerOptions, load_served


@register_reward
class ServedKind(RewardKind):
    """A server that speaks one of the known protocols."""

    name = "server"
    accepted = "the URL of a reward server (http://, https://)"
    options = ("format", "head", "max_length")

    def takes(self, spec: str, loading: Loading) -> bool:
        """Whether it is a URL."""
        return is_url(spec)

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        settings = loading.settings
        server = loading.server or ServerOptions.of(settings)
        loading.permissions.require_secret(shown_url(spec), server.api_key_env)
        return load_served(
            spec,
            server,
            format=settings.format,
            head=settings.head,
            max_length=settings.max_length,
        )
