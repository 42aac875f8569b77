"""Nearest neighbours: exact against the slow definition, cells against exact search."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from rmaudit.support.neighbours import RECALL, exact, nearest


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def topics(n: int, rng: np.random.Generator, centres: NDArray[np.float64]) -> NDArray[np.float32]:
    """Points near centres, spread in few directions, as texts are."""
    spread = rng.normal(size=(n, 6)) @ np.random.default_rng(9).normal(size=(6, centres.shape[1]))
    return unit(centres[rng.integers(0, len(centres), n)] + 0.15 * spread)


@pytest.mark.parametrize(("n", "m", "k"), [(7, 40, 3), (3, 2, 5), (1, 1, 1), (0, 5, 2)])
def test_exact_search_is_that_of_the_slow_definition(n: int, m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    points, reference = unit(rng.normal(size=(n, 8))), unit(rng.normal(size=(m, 8)))
    found = nearest(points, reference, k)
    assert found.recall == 1
    assert found.place.shape == (n, min(k, m))
    for i in range(n):
        apart = [float(np.linalg.norm(points[i] - row)) for row in reference]
        order = np.argsort(apart)[:k]
        assert found.place[i].tolist() == order.tolist()
        assert found.distance[i] == pytest.approx(np.array(apart)[order], abs=1e-3)


def test_blocks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    points, reference = unit(rng.normal(size=(50, 8))), unit(rng.normal(size=(70, 8)))
    whole = nearest(points, reference, 5)
    monkeypatch.setattr("rmaudit.support.neighbours.QUERY_BLOCK", 7)
    monkeypatch.setattr("rmaudit.support.neighbours.REFERENCE_BLOCK", 11)
    assert np.array_equal(nearest(points, reference, 5).place, whole.place)


def test_cells_find_what_exact_search_finds() -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(60, 24))
    points, reference = topics(1200, rng, centres), topics(9000, rng, centres)
    found = nearest(points, reference, 5, exact_operations=0)
    assert found.recall >= RECALL
    true = exact(points, reference, 5)[1]
    share = np.mean([len(set(a) & set(b)) / 5 for a, b in zip(found.place, true, strict=True)])
    # Measured on 500 of the 1,200 points: within four of its standard errors.
    assert share >= found.recall - 4 * np.sqrt(0.015 * 0.985 / 2500)
    assert (np.diff(found.distance, axis=1) >= 0).all()
    exactly = nearest(points, reference, 5)
    same = (found.place == exactly.place).all(axis=1)
    assert found.distance[same] == pytest.approx(exactly.distance[same], abs=1e-3)


def test_a_hard_reference_is_searched_whole() -> None:
    # Without structure no cell is nearer than another: only all of them reach the recall.
    rng = np.random.default_rng(3)
    points, reference = unit(rng.normal(size=(40, 200))), unit(rng.normal(size=(2000, 200)))
    found = nearest(points, reference, 3, exact_operations=0)
    assert found.recall >= RECALL
    true = exact(points, reference, 3)[1]
    shared = [len(set(a) & set(b)) / 3 for a, b in zip(found.place, true, strict=True)]
    assert np.mean(shared) >= RECALL


def test_equal_rows_and_empty_cells() -> None:
    reference = np.repeat(np.eye(3, dtype=np.float32), [500, 2, 1], axis=0)
    found = nearest(np.eye(3, dtype=np.float32), reference, 4, exact_operations=0)
    assert found.distance[0] == pytest.approx([0, 0, 0, 0])
    assert found.distance[2] == pytest.approx([0, np.sqrt(2), np.sqrt(2), np.sqrt(2)], abs=1e-3)
