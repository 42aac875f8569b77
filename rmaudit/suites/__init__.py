"""Published benchmarks: their schema, their own scoring rule, and what we measure beside it.

Modules of this room: `base` (what a suite declares), `entries` (published files as rows), `scored`
(rewards under a rule, and numbers with intervals), `measures` (what is reported beside the official
numbers), `run` (from a suite and a reward model to a result); one further file per suite.
"""

from rmaudit.suites.base import SUITES, Suite, register_suite
from rmaudit.suites.item import Item
from rmaudit.suites.measures import suite_specs
from rmaudit.suites.pairs import preferences
from rmaudit.suites.run import SuiteRun, run_suite

__all__ = [
    "SUITES",
    "Item",
    "Suite",
    "SuiteRun",
    "preferences",
    "register_suite",
    "run_suite",
    "suite_specs",
]
