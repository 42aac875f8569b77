"""Over-optimisation: curves of samples, logs and worlds, fits, safe budgets, paper figures."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmaudit.overoptimization.log_curves import from_logs as from_logs
    from rmaudit.overoptimization.paper import VENUES as VENUES
    from rmaudit.overoptimization.paper import save_figures as save_figures
    from rmaudit.overoptimization.result import Overopt as Overopt
    from rmaudit.overoptimization.sample_curves import from_samples as from_samples

_HOME = {
    "VENUES": "paper",
    "Overopt": "result",
    "from_logs": "log_curves",
    "from_samples": "sample_curves",
    "save_figures": "paper",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    thing = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = thing  # a module of the same name would stand in its place
    return thing
