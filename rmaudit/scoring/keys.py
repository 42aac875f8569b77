"""What names a text in the store: a 16-byte hash of prompt, output, mode and what is read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Message, turn_extras
from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Row
from rmaudit.scoring.requests import Request

Keys = NDArray[np.uint64]
"""(n, 2): the two halves of each 16-byte hash, big-endian, so that rows sort as the bytes do."""


def text_keys(
    requests: Iterable[Request],
    columns: Mapping[str, Sequence[str]] | None = None,
    *,
    in_pairs: bool = False,
) -> Keys:
    """Keys of every text of the requests, in order, (n, 2).

    Equal exactly when prompt, output, mode and all that the reward reads are equal (up to
    collisions of a 128-bit hash). No tokenizer is involved, so an audit whose texts are all stored
    tokenises nothing.

    Parameters
    ----------
    requests
        With the rows that are read, if any are.
    columns
        By data set, the columns of its rows that the reward reads.
    in_pairs
        Whether the reward compares each response with another.
    """
    digests: list[bytes] = []
    for request in requests:
        mode = request.mode
        read = _read(request, (columns or {}).get(request.data, ()), in_pairs=in_pairs)
        for prompt, output, further in zip(request.prompts, request.outputs, read, strict=True):
            context = (
                f"text {len(prompt)}:{prompt}" if isinstance(prompt, str) else messages_key(prompt)
            )
            # Lone surrogates are texts too.
            text = f"{mode} {context}{further}{output}".encode("utf-8", "surrogatepass")
            digests.append(blake2b(text, digest_size=16).digest())
    return keys_from_bytes(b"".join(digests))


def _read(request: Request, columns: Sequence[str], *, in_pairs: bool) -> Iterator[str]:
    """What a reward reads of each text beside prompt and output; empty strings for nothing."""
    if in_pairs and request.others is None:
        raise RewardModelError(
            f"a reward of pairs cannot score single responses ({request.side!r} of "
            f"{request.audit or request.data})"
        )
    if not columns and not in_pairs:
        return iter([""] * len(request.outputs))
    rows = request.rows or [{}] * len(request.outputs)
    texts = {id(row): _row_key(row, columns) for row in rows}
    others = request.others if in_pairs and request.others is not None else None
    return (
        texts[id(row)] + ("" if others is None else f"other {len(others[i])}:{others[i]}")
        for i, row in enumerate(rows)
    )


def _row_key(row: Row, columns: Sequence[str]) -> str:
    values = {name: row[name] for name in columns if name in row}
    text = json.dumps(values, sort_keys=True, default=repr)
    return f"row {len(text)}:{text}"


def messages_key(messages: Sequence[Message]) -> str:
    """Lengths before the parts keep ("ab", "c") and ("a", "bc") apart; JSON would take longer."""
    turns = [f"{len(m['role'])}:{m['role']}{len(m['content'])}:{m['content']}" for m in messages]
    if any(len(m) > 2 for m in messages):  # tool calls and the like
        turns.append(json.dumps([turn_extras(m) for m in messages], sort_keys=True))
    return f"messages {len(turns)}:{''.join(turns)}"


def keys_from_bytes(data: bytes) -> Keys:
    """Keys from their bytes, 16 each."""
    return np.frombuffer(data, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def keys_to_bytes(keys: Keys) -> bytes:
    """The bytes of keys, 16 each."""
    return keys.astype(">u8").tobytes()


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct keys in ascending order, and where they came from."""

    keys: Keys  # (n_distinct, 2)
    first: NDArray[np.int64]  # (n_distinct,) position of the first text with this key
    inverse: NDArray[np.int64]  # (n,) which distinct key each text has


def distinct(keys: Keys) -> Distinct:
    """Each key once. Ascending order also makes the store's look-ups walk its tree once."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: the first text of a key leads its run
    ordered = keys[order]
    starts = np.ones(len(keys), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(starts) - 1
    return Distinct(ordered[starts], order[starts], inverse)
