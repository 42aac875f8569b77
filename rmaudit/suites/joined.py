"""Results that others published, joined with the benchmark's texts by the ids of its rows.

Most result files hold no texts. With the benchmark's own file beside them the blind rules, length
bias and the clusters by prompt are there as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rmaudit.data.types import Source
from rmaudit.errors import DataError
from rmaudit.suites.base import Suite
from rmaudit.suites.item import Item


def joined(
    suite: Suite,
    items: Sequence[Item],
    results: Sequence[Item],
    source: Source,
    found: Source,
    *,
    part: bool = False,
) -> list[Item]:
    """The items of a benchmark with the rewards or verdicts of a file of results.

    Parameters
    ----------
    suite
        The benchmark of both.
    items, source
        Of its own file, with texts.
    results, found
        Of the file of results; its items in any order.
    part
        Whether only a part of the benchmark is read, so that results may be left over.

    Raises
    ------
    DataError
        If a row has no result, a result no row, or a result another number of rewards than the
        row has responses: the official number is one over all rows, each once.
    """
    by_id = {result.id: result for result in results}
    lacking = [item.id for item in items if item.id not in by_id]
    own = {item.id for item in items}
    left = [] if part else [result.id for result in results if result.id not in own]
    where = f"{found.path}: holds {len(results):,} results for {len(items):,} rows of {source.path}"
    if lacking:
        raise DataError(f"{where}: {len(lacking):,} without a result, first {lacking[0]}")
    if left:
        again = " (a repeated id)" if "#" in left[0] else ""
        raise DataError(f"{where}: {len(left):,} of no row, first {left[0]}{again}")
    return [_joined(suite, item, by_id[item.id], found) for item in items]


def _joined(suite: Suite, item: Item, result: Item, found: Source) -> Item:
    if result.rewards is not None and item.responses and len(result.rewards) != item.size:
        raise DataError(
            f"{found.path}: {item.id}: {len(result.rewards)} rewards for {item.size} responses"
        )
    if result.rewards is None and not suite.verdicts(result):
        raise DataError(
            f"{found.path}: {item.id}: no recorded rewards: results hold {suite.recorded}"
        )
    return replace(item, rewards=result.rewards, facts={**item.facts, **result.facts})
