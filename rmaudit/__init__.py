"""rmaudit: measures a reward model where it will be exploited."""

from rmaudit._version import __version__

__all__ = ["__version__"]
