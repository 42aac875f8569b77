"""A small base for the planted preferences."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import WORDS

from rmaudit.training.tiny import tiny_base


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [*WORDS, "good bad number ?", *map(str, range(30))]
    return tiny_base(tmp_path_factory.mktemp("base"), texts, layers=1, width=32, max_length=64)
