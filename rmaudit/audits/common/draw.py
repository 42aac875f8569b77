"""Random orders that depend on what is drawn, never on where it stands in a table.

Another order of the rows gives the same sample, and with it the same numbers. This module registers
no audit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from rmaudit.data.types import Dataset, prompt_key
from rmaudit.typing import Integers


def sample_order(texts: Sequence[str], seed: int) -> Integers:
    """A random order of texts, (n,), that depends on the texts and the seed, not on their order."""
    key = str(seed).encode()[:64]
    digests = [
        int.from_bytes(
            hashlib.blake2b(t.encode("utf-8", "surrogatepass"), digest_size=7, key=key).digest()
        )
        for t in texts
    ]
    return np.argsort(np.array(digests, dtype=np.int64), kind="stable").astype(np.int64)


def row_order(data: Dataset, seed: int) -> Integers:
    """A random order of a table's rows, (n_rows,), by their prompts and responses.

    Which of the responses is preferred decides nothing.
    """
    held: list[list[str]] = [[] for _ in range(len(data))]
    for side in data.outputs():
        for row, prompt, text in zip(side.rows.tolist(), side.prompts, side.texts, strict=True):
            held[row].append(f"{prompt_key(prompt)}\x00{text}")
    return sample_order(["\x00\x00".join(sorted(texts)) for texts in held], seed)


def one_row_per_prompt(data: Dataset, seed: int) -> Integers:
    """A row of each prompt (`Dataset.clusters`), (n_prompts,), in the order of `row_order`."""
    order = row_order(data, seed)
    _, first = np.unique(data.clusters[order], return_index=True)
    return order[np.sort(first)]
