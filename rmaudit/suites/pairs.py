"""From a suite's items to rows that any audit runs on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rmaudit.data.types import Dataset, Source
from rmaudit.errors import UsageError
from rmaudit.suites.base import SUITES
from rmaudit.suites.entries import read_entries
from rmaudit.suites.item import Item
from rmaudit.suites.run import items_of


def preferences(spec: str, limit: int | None = None) -> Dataset:
    """A suite's pairs as preference data: what ``--eval suite:NAME:FILE`` reads.

    Each pair of a better and a worse response is a row; rows of one item share its group, and the
    suite's subset is a column. Of an item in several styles each style is paired with its own: the
    audits cross them by the column ``style``. Recorded rewards become ``chosen_reward`` and
    ``rejected_reward``.

    Raises
    ------
    UsageError
        If the suite is unknown or has no pairs of texts.
    """
    _, _, rest = spec.partition(":")
    name, colon, data = rest.partition(":")
    if not colon or not data:
        raise UsageError(f"{spec}: say suite:NAME:FILE, such as suite:rm-bench:total_dataset.json")
    suite = SUITES[name]()
    entries, source = read_entries(data, limit)
    items = items_of(suite, entries, source)
    rows = [row for item in items for row in _pair_rows(item)]
    if not rows:
        raise UsageError(
            f"{data}: {suite.title} has no pairs of texts here that an audit could run on"
        )
    frame = pd.DataFrame(rows)
    frame["row"] = np.arange(1, len(frame) + 1)
    used = Source(source.path, source.sha256, len(frame), len(frame), 0)
    return Dataset("preference", frame, used)


def _pair_rows(item: Item) -> list[dict[str, Any]]:
    if not item.responses:
        return []
    styles = item.facts.get("styles")
    rows = []
    for k, (i, j) in enumerate(item.pairs):
        if styles and styles[i] != styles[j]:
            continue
        row: dict[str, Any] = {
            "id": item.id if len(item.pairs) == 1 else f"{item.id}/{k}",
            "prompt": item.prompt,
            "chosen": item.responses[i],
            "rejected": item.responses[j],
            "tie": False,
            "group": item.cluster,
            "subset": item.subset,
        }
        if styles:
            row["style"] = styles[i]
        if item.rewards is not None:
            row["chosen_reward"], row["rejected_reward"] = item.rewards[i], item.rewards[j]
        rows.append(row)
    return rows
