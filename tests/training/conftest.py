"""A small base for the planted preferences."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import TEXTS

from rmaudit.training.tiny import tiny_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"), TEXTS, layers=1, width=32, max_length=64)
