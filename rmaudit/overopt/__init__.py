"""What `rmaudit overopt` does: curves of samples, of logs and of a world, and their figures."""

from rmaudit.overopt.from_logs import from_logs
from rmaudit.overopt.from_samples import from_samples
from rmaudit.overopt.paper import VENUES, save_figures
from rmaudit.overopt.result import Overopt

__all__ = ["VENUES", "Overopt", "from_logs", "from_samples", "save_figures"]
