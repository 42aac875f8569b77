"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test depends on the speed or the load of the machine, nor on the examples of the day.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("anywhere")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real preference data beside the checkout; tests skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real preference data (../shared/data) is not on this machine")
    return folder
