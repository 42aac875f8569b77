"""rmaudit: measures a reward model where it will be exploited, says how sure it is, gates it.

The public names are resolved on first use, so that ``import rmaudit`` loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import Any

from rmaudit._version import __version__

_PUBLIC = {
    "audit": "rmaudit.api",
    "bench": "rmaudit.benchmark",
    "compare": "rmaudit.api",
    "gate": "rmaudit.api",
    "league": "rmaudit.comparison",
    "load": "rmaudit.api",
    "load_reward_model": "rmaudit.api",
    "score": "rmaudit.api",
    "Report": "rmaudit.report.document",
    "Audit": "rmaudit.audits.base",
    "AuditResult": "rmaudit.results",
    "Case": "rmaudit.case",
    "Dataset": "rmaudit.data",
    "Estimate": "rmaudit.results",
    "Figure": "rmaudit.results",
    "Finding": "rmaudit.results",
    "Metric": "rmaudit.results",
    "MetricSpec": "rmaudit.results",
    "Request": "rmaudit.scoring",
    "Scores": "rmaudit.scoring",
    "register_audit": "rmaudit.audits.base",
}

__all__ = ["__version__", "stats", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name == "stats":
        return importlib.import_module("rmaudit.stats")
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'rmaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
