"""Nearest neighbours: exact where that is affordable, in cells where it is not.

Exact search is one matrix product, in blocks. Beyond `EXACT_OPERATIONS` it would take minutes; then
the reference is cut into cells by k-means and a point looks only into those nearest to it (an
inverted file: Sivic & Zisserman 2003). How many is not guessed: their number grows until the
recall, measured against exact search on a sample of the points, is high enough; the recall goes
into the result. All points that look into a cell are compared in one product, which makes this
several times faster than libraries that search point by point.

Points and held-out rows of the reference are searched alike, so a conformal p-value stays valid
whatever the recall.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from rmaudit.typing import Float, Integers, Vectors

EXACT_OPERATIONS = 4e12  # multiply-adds of an exact search: a minute on two cores
RECALL = 0.985
RECALL_QUERIES = 500  # whose neighbours are also found exactly
FEWEST_PROBES = 16
POINTS_A_CELL, ITERATIONS = 40, 5  # of k-means: cells need not be tight to be useful
QUERY_BLOCK, REFERENCE_BLOCK = 1024, 16_384  # 64 MB of similarities at a time


@dataclass(frozen=True)
class Neighbours:
    """The k nearest rows of the reference for each point, nearest first."""

    distance: Float  # Euclidean, (n, k)
    place: Integers  # rows of the reference, (n, k)
    recall: float  # share of the true neighbours found: 1 where exact, else measured on a sample


def nearest(
    points: Vectors,
    reference: Vectors,
    k: int,
    *,
    rng: np.random.Generator | None = None,
    exact_operations: float = EXACT_OPERATIONS,
) -> Neighbours:
    """The k nearest rows of the reference by Euclidean distance.

    Parameters
    ----------
    points, reference
        (n, dimensions) and (m, dimensions), float32, rows of length one.
    k
        Neighbours; all of the reference where it has fewer.
    rng
        Picks the queries that the recall is measured on; a fixed one by default.
    exact_operations
        Multiply-adds, n x m x dimensions, up to which the search is exact.

    Returns
    -------
    Neighbours
        Distances are computed in single precision: below 1e-3 they are zero.
    """
    k = min(k, len(reference))
    operations = float(len(points)) * len(reference) * points.shape[1]
    if operations <= exact_operations:
        return _result(*exact(points, reference, k), 1.0)
    return _approximate(points, reference, k, rng or np.random.default_rng(0))


def exact(points: Vectors, reference: Vectors, k: int) -> tuple[Vectors, Integers]:
    """Similarities (dot products) and places of the k most similar rows, (n, k), best first."""
    similarity = np.empty((len(points), k), dtype=np.float32)
    place = np.empty((len(points), k), dtype=np.int64)
    for start in range(0, len(points), QUERY_BLOCK):
        rows = slice(start, start + QUERY_BLOCK)
        block = points[rows]
        best = np.empty((len(block), 0), dtype=np.float32)
        where = np.empty((len(block), 0), dtype=np.int64)
        for first in range(0, len(reference), REFERENCE_BLOCK):
            similar = block @ reference[first : first + REFERENCE_BLOCK].T
            top = _largest(similar, k)
            best = np.concatenate([best, np.take_along_axis(similar, top, axis=1)], axis=1)
            where = np.concatenate([where, first + top], axis=1)
            kept = _largest(best, k)
            best = np.take_along_axis(best, kept, axis=1)
            where = np.take_along_axis(where, kept, axis=1)
        order = np.argsort(-best, axis=1, kind="stable")
        similarity[rows] = np.take_along_axis(best, order, axis=1)
        place[rows] = np.take_along_axis(where, order, axis=1)
    return similarity, place


def _largest(values: Vectors, k: int) -> Integers:
    """Columns of the k largest entries of each row, in no order."""
    if values.shape[1] <= k:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    return np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:].astype(np.int64)


def _result(similarity: Vectors, place: Integers, recall: float) -> Neighbours:
    square = 2 - 2 * similarity.astype(np.float64)
    # Single precision tells unit vectors apart down to about 1e-3: closer is the same point.
    square[square < 1e-6] = 0.0
    return Neighbours(np.sqrt(square), place, recall)


def _approximate(
    points: Vectors, reference: Vectors, k: int, rng: np.random.Generator
) -> Neighbours:
    cells = _Cells.of(reference, rng)
    sample = points[rng.permutation(len(points))[:RECALL_QUERIES]]
    farthest = exact(sample, reference, k)[0][:, -1:]
    recall, probes = 0.0, FEWEST_PROBES * 2 // 3
    while recall < RECALL and probes < len(cells.centres):
        probes = min(math.ceil(1.5 * probes), len(cells.centres))
        approximate = cells.search(sample, k, probes)[0]
        # One as near as the true k-th is a true neighbour: equal ones may change places.
        recall = float(np.mean(approximate >= farthest - 1e-5))
    similarity, place = cells.search(points, k, probes)
    return _result(similarity, place, recall)


@dataclass(frozen=True)
class _Cells:
    """The reference in cells around centres: rows `order[start[c]:start[c + 1]]` are of cell c."""

    reference: Vectors
    centres: Vectors  # (n_cells, dimensions), of length one
    order: Integers
    start: Integers

    @classmethod
    def of(cls, reference: Vectors, rng: np.random.Generator) -> _Cells:
        """About as many cells as rows in one, by spherical k-means on a sample."""
        count = max(1, round(math.sqrt(len(reference))))
        rows = np.sort(rng.permutation(len(reference))[: POINTS_A_CELL * count])
        sample = reference[rows]
        centres = sample[rng.permutation(len(sample))[:count]]
        for _ in range(ITERATIONS):
            code = _most_similar(sample, centres, 1)[:, 0]
            spread = csr_array(
                (np.ones(len(code), dtype=np.float32), (code, np.arange(len(code)))),
                shape=(count, len(code)),
            )
            total = spread @ sample
            length = np.linalg.norm(total, axis=1, keepdims=True)
            centres = np.where(length > 0, total / np.maximum(length, 1e-12), centres)
        code = _most_similar(reference, centres, 1)[:, 0]
        start = np.r_[0, np.cumsum(np.bincount(code, minlength=count))].astype(np.int64)
        return cls(reference, centres, np.argsort(code, kind="stable").astype(np.int64), start)

    def search(self, points: Vectors, k: int, probes: int) -> tuple[Vectors, Integers]:
        """As `exact`, among the rows of the `probes` cells nearest to each point.

        Points that look into one cell are compared with its rows in one product. The nearest cell
        comes first, so that of the others only rows that beat its k-th are kept.
        """
        probed = _most_similar(points, self.centres, probes)  # nearest first
        bound = np.full(len(points), -np.inf, dtype=np.float32)
        kept = [
            hit
            for ranks in (probed[:, :1], probed[:, 1:])
            for hit in self._scan(points, ranks, k, bound)
        ]
        row, similarity, place = (np.concatenate(part) for part in zip(*kept, strict=True))
        order = np.lexsort((-similarity, row))
        row, similarity, place = row[order], similarity[order], place[order]
        rank = np.arange(len(row)) - np.searchsorted(row, row, side="left")
        first = rank < k
        # Points whose cells hold fewer than k rows: the similarity of the opposite, no place.
        best = np.full((len(points), k), -1, dtype=np.float32)
        where = np.full((len(points), k), -1, dtype=np.int64)
        best[row[first], rank[first]] = similarity[first]
        where[row[first], rank[first]] = place[first]
        return best, where

    def _scan(
        self, points: Vectors, ranks: Integers, k: int, bound: Vectors
    ) -> Iterator[tuple[Integers, Vectors, Integers]]:
        """Points, similarities and places that may be among the k nearest; raises `bound`."""
        probe = np.argsort(ranks, axis=None, kind="stable")
        ends = np.searchsorted(ranks.ravel()[probe], np.arange(len(self.centres) + 1))
        for cell in range(len(self.centres)):
            members = self.order[self.start[cell] : self.start[cell + 1]]
            who = probe[ends[cell] : ends[cell + 1]] // max(ranks.shape[1], 1)
            rows = self.reference[members]
            for first in range(0, len(who) if len(members) else 0, 4 * QUERY_BLOCK):
                some = who[first : first + 4 * QUERY_BLOCK]
                similar = points[some] @ rows.T
                i, j = np.nonzero(similar > bound[some, None])
                if ranks.shape[1] == 1 and len(members) >= k:
                    top = _largest(similar, k)
                    i, j = np.repeat(np.arange(len(some)), k), top.ravel()
                    bound[some] = np.take_along_axis(similar, top, axis=1).min(axis=1)
                yield some[i], similar[i, j], members[j]


def _most_similar(points: Vectors, centres: Vectors, count: int) -> Integers:
    """Places of the most similar centres, (n, count), best first."""
    if count == 1:
        return np.concatenate(
            [
                (points[start : start + QUERY_BLOCK] @ centres.T).argmax(axis=1)
                for start in range(0, len(points), QUERY_BLOCK)
            ]
        )[:, None]
    return exact(points, centres, count)[1]
