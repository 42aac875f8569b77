"""Audits of written-down rewards serve the tests of exports too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "comparison"))
