"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# No test depends on the speed or the load of the machine, nor on the examples of the day.
settings.register_profile(
    "anywhere", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
settings.load_profile("anywhere")


# Collecting imports a million objects that live to the end. The garbage collector need not go
# through them again and again: it is off while they are made, and leaves them out afterwards.
gc.disable()


# Files with tests of ten seconds and more. They begin first: at the end they would leave a worker
# without work while another is at its last.
LONG = (
    "test_notebooks.py",
    "test_scoring_ray.py",
    "test_documents.py",
    "test_training_parallel.py",
    "test_faults.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real preference data beside the checkout; tests skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real preference data (../shared/data) is not on this machine")
    return folder


@pytest.fixture(scope="session", autouse=True)
def figures_are_drawn_once() -> Iterator[None]:
    """Reports of the same figures draw them once a session.

    A drawing depends on nothing but the figure and its style, which the tests of plots hold.
    """
    from rmaudit.report import page

    with pytest.MonkeyPatch.context() as patch:
        for name in ("to_svg", "to_pdf"):
            patch.setattr(page, name, _once(getattr(page, name)))
        yield


def _once(draw: Callable[..., Any]) -> Callable[..., Any]:
    drawn: dict[str, Any] = {}

    def draw_once(*arguments: Any) -> Any:
        key = json.dumps(arguments, default=repr)
        if key not in drawn:
            if len(drawn) >= 500:
                drawn.clear()
            drawn[key] = draw(*arguments)
        return drawn[key]

    return draw_once
