"""Probe suites: declared changes of a text, or fixed contrasts, with what the reward should do.

Suites are data (`suite.yaml`, `items.jsonl`); the transforms they name are registered functions.
"""

from __future__ import annotations

from rmaudit.probes.loading import Suite, load_suites
from rmaudit.probes.schema import SuiteFile
from rmaudit.probes.transforms import Subject, transform

__all__ = ["Subject", "Suite", "SuiteFile", "load_suites", "transform"]
